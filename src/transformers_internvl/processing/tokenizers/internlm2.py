# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The InternLM2 tokenizer on the `tokenizers` backend: ids and text of the original sentencepiece tokenizer.

A released folder holds `tokenizer.model`, and the chat tokens sit on spare pieces of it: `<|im_start|>` is piece
`[UNUSED_TOKEN_146]`. So one id has two spellings, and the second one behaves as a piece, not as a special token: no
dummy prefix follows it. A `tokenizers` vocabulary has one spelling an id, and the rare text with the other one is
encoded by a backend made for it (`_with_spare_pieces`).
"""

import copy
import json
from typing import Any

from tokenizers import Tokenizer, normalizers, processors
from tokenizers.models import BPE
from transformers import BatchEncoding

from .sentencepiece_model import SentencePieceModel, decode_pieces, pipeline, template_ends
from .slow import SlowDecodingTokenizer

PRIVATE_USE = range(0xE000, 0xF900)  # characters without a meaning, to stand for a spare piece inside one call


class InternLM2Tokenizer(SlowDecodingTokenizer):
    """Byte-fallback BPE of InternLM2 and InternLM2.5, as the original `tokenization_internlm2.py` computes it.

    Loads the released layout (`tokenizer.model`, `tokenizer_config.json`, …) and its own (`tokenizer.json`). What it
    saves also loads as a plain `PreTrainedTokenizerFast`, with equal ids for every text that does not spell a spare
    piece such as `[UNUSED_TOKEN_146]`.

    Args:
        vocab: piece to id, the added tokens within the vocabulary under their own names.
        merges: pairs of pieces, the first to be merged first.
        add_dummy_prefix: whether every stretch of text starts with a space, as `tokenizer.model` says. There is no
            default, since a wrong one changes every id sequence.
        spare_pieces: spelling to id of the pieces that are matched whole.
        leftmost_ties: whether pieces share scores, so that text is encoded by the sentencepiece library; None asks
            `tokenizer.model`, if there is one.
        add_bos_token: start every sequence with `bos_token`; `None` keeps what `tokenizer.json` says, else True.
        add_eos_token: end every sequence with `eos_token`; `None` keeps what `tokenizer.json` says, else False.
        bos_token, eos_token, unk_token, pad_token: the named tokens.
        kwargs: passed to `TokenizersBackend`.

    Raises:
        ValueError: `add_dummy_prefix` is missing, or an added token did not get the id that its file names.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model", "tokenizer_file": "tokenizer.json"}
    model_input_names = ["input_ids", "attention_mask"]
    padding_side = "right"
    model = BPE

    def __init__(
        self,
        vocab: dict[str, int] | None = None,
        merges: list[tuple[str, str]] | None = None,
        *,
        add_dummy_prefix: bool | None = None,
        spare_pieces: dict[str, int] | None = None,
        leftmost_ties: bool | None = None,
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        bos_token: Any = "<s>",
        eos_token: Any = "</s>",
        unk_token: Any = "<unk>",
        pad_token: Any = "</s>",
        **kwargs: Any,
    ):
        if vocab is None or merges is None or add_dummy_prefix is None:
            raise ValueError(
                "InternLM2Tokenizer needs vocab, merges and add_dummy_prefix. Load it with from_pretrained from a "
                "folder with tokenizer.model, or with the tokenizer.json and tokenizer_config.json that it saved."
            )
        self._tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges, fuse_unk=True, byte_fallback=True))
        stages = pipeline("always" if add_dummy_prefix else "never")
        self._tokenizer.normalizer, self._tokenizer.pre_tokenizer, self._tokenizer.decoder = stages
        saved_bos, saved_eos = template_ends(kwargs.pop("post_processor", None)) or (True, False)
        super().__init__(
            add_dummy_prefix=add_dummy_prefix,
            spare_pieces=spare_pieces or {},
            add_bos_token=saved_bos if add_bos_token is None else add_bos_token,
            add_eos_token=saved_eos if add_eos_token is None else add_eos_token,
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            **kwargs,
        )
        self.add_dummy_prefix = add_dummy_prefix
        self.spare_pieces = dict(spare_pieces or {})
        self._split_by_library(leftmost_ties)
        self._check_added_tokens(kwargs.get("added_tokens_decoder", {}))

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """The arguments of `__init__` from the files of a folder; `tokenizer.model` is preferred to a foreign json."""
        vocab_file = kwargs.get("vocab_file")
        if vocab_file is None or "add_dummy_prefix" in kwargs:
            return super().convert_to_native_format(trust_remote_code=trust_remote_code, **kwargs)
        model = SentencePieceModel.from_file(vocab_file)
        names = {index: str(token) for index, token in kwargs.get("added_tokens_decoder", {}).items()}
        kwargs.pop("tokenizer_file", None)
        return kwargs | {
            "vocab": {names.get(index, piece): index for piece, index in model.vocab.items()},
            "merges": model.merges,
            "leftmost_ties": model.ties,
            "add_dummy_prefix": model.add_dummy_prefix,
            "spare_pieces": model.user_defined,
        }

    def _check_added_tokens(self, expected: dict[int, Any]) -> None:
        wrong = [
            f"{token} has id {self.convert_tokens_to_ids(str(token))} instead of {index}"
            for index, token in expected.items()
            if self.convert_tokens_to_ids(str(token)) != index
        ]
        if wrong:
            raise ValueError(
                f"The added tokens do not follow the {self.vocab_size} pieces without a gap: {'; '.join(wrong)}. "
                "Do tokenizer.model and tokenizer_config.json come from the same checkpoint?"
            )

    def update_post_processor(self) -> None:
        """Set the template that puts `bos_token` and `eos_token` around a sequence or a pair, once, not per part."""
        bos = [str(self.bos_token)] if self._add_bos_token else []
        eos = [str(self.eos_token)] if self._add_eos_token else []
        self._tokenizer.post_processor = processors.TemplateProcessing(
            single=[*bos, "$A", *eos],
            pair=[*bos, "$A", "$B:1", *[f"{token}:1" for token in eos]],
            special_tokens=[(token, self.convert_tokens_to_ids(token)) for token in dict.fromkeys(bos + eos)],
        )

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        split_special = kwargs.get("split_special_tokens")
        plain = self.split_special_tokens if split_special is None else split_special
        spelled = [] if plain or kwargs.get("sanitize_control_tokens") else self._spare_pieces_in(text, text_pair)
        if not spelled:
            return super()._encode_plus(text, text_pair, **kwargs)
        extended = copy.copy(self)
        extended._tokenizer = self._with_spare_pieces(spelled, text, text_pair)
        return super(InternLM2Tokenizer, extended)._encode_plus(text, text_pair, **kwargs)

    def _spare_pieces_in(self, *texts: Any) -> list[str]:
        joined = "\n".join(_strings(texts))
        return [piece for piece in self.spare_pieces if piece in joined]

    def _with_spare_pieces(self, spelled: list[str], *texts: Any) -> Tokenizer:
        """A backend that turns each spelling into a character of its own, known to the vocabulary as the piece."""
        used = set().union(*_strings(texts))
        free = (chr(code) for code in PRIVATE_USE if chr(code) not in used)
        stand_ins = dict(zip(spelled, free, strict=False))
        state = json.loads(self._tokenizer.to_str())
        state["model"]["vocab"] |= {stand_in: self.spare_pieces[piece] for piece, stand_in in stand_ins.items()}
        backend = Tokenizer.from_str(json.dumps(state))
        rules = [normalizers.Replace(piece, stand_in) for piece, stand_in in stand_ins.items()]
        backend.normalizer = normalizers.Sequence([*rules, backend.normalizer])
        return backend

    def _decode_run(self, pieces: list[str]) -> str:
        return decode_pieces(pieces, strip_prefix=self.add_dummy_prefix)


def _strings(value: Any) -> list[str]:
    """Every string in a text, a pair, a batch or a batch of word lists."""
    if isinstance(value, str):
        return [value]
    return [string for item in value or () for string in _strings(item)]
