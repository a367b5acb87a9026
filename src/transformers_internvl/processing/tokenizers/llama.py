# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tokenizer of Vicuna, Yi and Phi-3: transformers' class, with the ids and the text of its slow predecessor.

The present `LlamaTokenizer` differs from the slow one of 4.37, which the original code used: it ranks the merges of
`tokenizer.model` by id, not by score; leaves the dummy prefix out where a stretch of text already starts with a space,
and before a token at the start; takes a missing `legacy` or `add_bos_token` for False; and decodes a run of
bytes to U+FFFD alone if one of them is wrong.
"""

import json
import logging
import os
from typing import Any

import transformers
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from transformers import BatchEncoding
from transformers.tokenization_utils_base import PaddingStrategy

from ..threads import lock_of
from .leading_prefix import begins_with_unlisted, pad_rows, prefixing
from .sentencepiece_model import SPACE, PrependScheme, SentencePieceModel, decode_pieces, pipeline
from .slow import SlowDecodingTokenizer
from .upstream import keep_legacy

_LOGGER = logging.getLogger(__name__)
_RETURNED = ("token_type_ids", "attention_mask", "special_tokens_mask", "offsets_mapping", "length")


class LlamaTokenizer(SlowDecodingTokenizer, transformers.LlamaTokenizer):
    """Transformers' `LlamaTokenizer` with the ids and the text of the slow class of transformers 4.37.

    It has the name of transformers' class because what it saves loads as that class without this package.
    """

    @classmethod
    def from_upstream(cls, tokenizer: transformers.LlamaTokenizer, *, legacy: bool) -> "LlamaTokenizer":
        """Turn a tokenizer that transformers loaded into one of this class, in place.

        Args:
            tokenizer: as transformers loaded it.
            legacy: the field of `tokenizer_config.json`; missing means True. True: the dummy prefix stands before
                every stretch of text between special tokens. False: before the text only.

        Raises:
            ValueError: ids come from the `tokenizer.model`, which is missing, or of a kind that is not supported.
        """
        # The class adds behaviour and no state; loading a second time would double the time of converting the model.
        tokenizer.__class__ = cls
        keep_legacy(tokenizer, legacy)
        path: str = getattr(tokenizer, "vocab_file", None) or ""
        model = SentencePieceModel.from_file(path) if os.path.isfile(path) else None
        tokenizer._take_merges(model)
        converted = model is not None and not os.path.isfile(os.path.join(os.path.dirname(path), "tokenizer.json"))
        if converted and "add_bos_token" not in tokenizer.init_kwargs:
            tokenizer.add_bos_token = True  # the slow class's default; transformers 5 takes a missing field for False
        backend = tokenizer.backend_tokenizer
        scheme = tokenizer._prepend_scheme()
        if scheme == "always" and model is not None and not model.add_dummy_prefix:
            scheme = "never"
        backend.normalizer, backend.pre_tokenizer, backend.decoder = pipeline(scheme)
        return tokenizer

    def _take_merges(self, model: SentencePieceModel | None) -> None:
        """Rank merges by the scores of `tokenizer.model`, whatever transformers made of it, or another program."""
        backend = self.backend_tokenizer
        vocabulary = backend.get_vocab(with_added_tokens=False)
        ties = self.init_kwargs.get("leftmost_ties", False)
        if model is not None and vocabulary == model.vocab:  # else tokenizer.json holds more, and counts
            backend.model = BPE(vocab=vocabulary, merges=model.merges, fuse_unk=True, byte_fallback=True)
            ties = model.ties
        elif _ranked_without_scores(backend, vocabulary):
            _LOGGER.warning(
                "tokenizer.json ranks merges by id, as transformers 5 does when it converts a tokenizer.model: runs "
                "of spaces, as in code, may get other ids than the model was trained on. Copy the tokenizer.model of "
                "the original checkpoint to where tokenizer.json is; it is then used."
            )
        if ties:
            self._split_by_library(ties)

    def _prepend_scheme(self) -> PrependScheme:
        if self.init_kwargs.get("add_prefix_space") is False:
            return "never"
        return "always" if self.legacy else "first"

    # The prefix in front of a token that begins a text, see `leading_prefix.py` ------------------------------------

    def _encode_plus(self, text: Any, text_pair: Any = None, **kwargs: Any) -> BatchEncoding:
        plain = self.legacy or kwargs.get("is_split_into_words") or kwargs.get("sanitize_control_tokens")
        if plain or self._prepend_scheme() != "first" or not isinstance(text, (str, list, tuple)):
            return super()._encode_plus(text, text_pair, **kwargs)
        entries = _pairs(text, text_pair)
        added = self._tokens_found(kwargs.get("split_special_tokens"))
        listed = self.all_special_tokens
        sides = [tuple(begins_with_unlisted(part, added, listed) for part in entry) for entry in entries]
        if not any(map(any, sides)):
            return super()._encode_plus(text, text_pair, **kwargs)
        strategy = kwargs.pop("padding_strategy", PaddingStrategy.DO_NOT_PAD)
        side, multiple = kwargs.pop("padding_side", None), kwargs.pop("pad_to_multiple_of", None)
        return_tensors = kwargs.pop("return_tensors", None)
        with lock_of(self):
            parts = [
                self._encode_one(*entry, prefixed, **kwargs) for entry, prefixed in zip(entries, sides, strict=True)
            ]
        rows = [row for part in parts for row in part.encodings]
        pad_rows(
            rows,
            strategy,
            max_length=kwargs.get("max_length"),
            multiple=multiple,
            direction=side or self.padding_side,
            pad_id=self.pad_token_id,
            pad_type_id=self.pad_token_type_id,
            pad_token=self.pad_token,
        )
        wanted = {f"return_{name}": kwargs.get(f"return_{name}") for name in _RETURNED}
        columns = [self._convert_encoding(row, **wanted)[0] for row in rows]
        data: dict[str, Any] = {name: [column[name][0] for column in columns] for name in columns[0]}
        if kwargs.get("return_overflowing_tokens"):
            data["overflow_to_sample_mapping"] = [at for at, part in enumerate(parts) for _ in part.encodings]
        elif isinstance(text, str) and return_tensors is None:
            data = {name: column[0] for name, column in data.items()}
        return BatchEncoding(data, rows, tensor_type=return_tensors)

    def _encode_one(
        self, text: Any, pair: Any, sides: tuple[bool, ...], *, add_special_tokens: bool = True, **kwargs: Any
    ) -> BatchEncoding:
        """One text or pair, as a batch without padding, with the prefix in front of its `sides`."""
        batch = ([text], None if pair is None else [pair])
        if not any(sides):
            return super()._encode_plus(*batch, add_special_tokens=add_special_tokens, **kwargs)
        with prefixing(self._tokenizer, sides, add_special_tokens):
            return super()._encode_plus(*batch, add_special_tokens=True, **kwargs)

    def _tokens_found(self, split_special: bool | None) -> list[AddedToken]:
        """The added tokens that are found in texts."""
        split_special = self.split_special_tokens if split_special is None else split_special
        return [token for token in self.added_tokens_decoder.values() if not (split_special and token.special)]

    def _add_tokens(self, new_tokens: list[str | AddedToken], special_tokens: bool = False) -> int:
        # As the slow class, which lists special tokens that are added to a loaded tokenizer.
        count = super()._add_tokens(new_tokens, special_tokens=special_tokens)
        special = [token for token in new_tokens if special_tokens or getattr(token, "special", False)]
        listed = self.all_special_tokens
        self._extra_special_tokens += [token for token in special if str(token) not in listed]
        return count

    # Decoding -----------------------------------------------------------------------------------------------------

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of `tokens`, without the space that was put in front of it."""
        if not tokens or not tokens[0].startswith(SPACE):
            return super().convert_tokens_to_string(tokens)
        first, rest = tokens[0].removeprefix(SPACE), tokens[1:]
        if SPACE not in first or self._tokenizer.token_to_id(first) is not None:
            return super().convert_tokens_to_string([first, *rest])
        # What is left is no piece of the vocabulary: the slow class writes it as it is.
        return first + super().convert_tokens_to_string(["x", *rest])[1:]

    def _decode_run(self, pieces: list[str]) -> str:
        return decode_pieces(pieces, strip_prefix=self.legacy)

    def _space_before_special(self, position: int) -> bool:
        return self.legacy and position > 0


def _pairs(text: Any, text_pair: Any) -> list[tuple[Any, Any]]:
    """Texts of a call, each with its second text or None."""
    if isinstance(text, str):
        return [(text, text_pair)]
    if text_pair is not None:
        return list(zip(text, text_pair, strict=True))
    return [tuple(entry) if isinstance(entry, (list, tuple)) else (entry, None) for entry in text]


def _ranked_without_scores(backend: Tokenizer, vocabulary: dict[str, int]) -> bool:
    """Whether merges come from transformers 5 without the scores of pieces, and pieces of spaces are among them.

    Such merges are in the order of the ids of what they make, and those of one piece in the order of their left
    parts; made with scores, they are in the reverse of the latter.
    """
    if SPACE * 2 not in vocabulary:
        return False
    merges = [tuple(merge) for merge in json.loads(backend.to_str())["model"]["merges"]]
    keys = [(vocabulary[left + right], len(left)) for left, right in merges]
    spaces = [index for index, _ in keys if index == vocabulary[SPACE * 2]]
    return keys == sorted(keys) and len(set(keys)) > len({index for index, _ in keys}) and spaces != []
