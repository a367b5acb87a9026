# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tokenizer of InternVL-14B (InternVL-C and InternVL-G): Llama pieces, the prefix and the end token of a text.

The original code uses `LlamaTokenizer` with four rules that its code applies and its files do not hold: a text
is `summarize:` and itself, it ends with the end token, padding has id 0, 80 tokens are the most. Here the tokenizer
knows them.

Source: the model card of InternVL-14B-224px; `clip_benchmark` of the original repository.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import BatchEncoding
from transformers.tokenization_utils_base import TruncationStrategy

from ..threads import lock_of
from .loading import LlamaTokenizer
from .sentencepiece_model import PrependScheme, SentencePieceModel, pipeline, template_ends

TEXT_PREFIX = "summarize:"
CAPTION_PROMPT = "English caption:"
MAX_LENGTH = 80  # tokens of a text, bos and end token among them

# What the original code sets whatever their files say. Given to `from_pretrained`, it is the caller's wish.
_RULES = ("add_bos_token", "add_eos_token", "model_max_length", "padding_side", "split_special_tokens")


class InternVLDualEncoderTokenizer(LlamaTokenizer):
    """Texts and prompts of InternVL-14B as ids; those of the original `LlamaTokenizer(..., add_eos_token=True)`.

    Called on texts, it returns what `get_text_features` takes: `<s> summarize:text </s>`, padded on the right with
    id 0 where padding is asked for. A text that brings the prefix along does not get it twice, so the model card's
    snippet, which writes it by hand, runs as it is. With `add_eos_token=False` texts are prompts to go on from, and
    nothing is put in front of them. Text is untrusted: `</s>` in a text is four characters, not the end token.

    Reads the original files (`tokenizer.model`, `tokenizer_config.json`) and its own (`tokenizer.json`).

    Args:
        vocab: piece to id; padding is the piece of id 0.
        merges: pairs of pieces, the first to be merged first.
        add_dummy_prefix: whether text starts with a space, as `tokenizer.model` says. There is no default, since a
            wrong one changes every id sequence.
        leftmost_ties: whether pieces share scores, so that text is encoded by the sentencepiece library; None asks
            `tokenizer.model`, if there is one.
        add_bos_token, add_eos_token: start and end texts with `bos_token` and `eos_token`; `None` keeps what
            `tokenizer.json` says, else True.
        legacy: how text is decoded next to special tokens, as in transformers' `LlamaTokenizer`.
        model_max_length: tokens that a text may have at most.
        kwargs: passed to transformers' `LlamaTokenizer`.

    Raises:
        ValueError: `vocab`, `merges` or `add_dummy_prefix` is missing.
    """

    padding_side = "right"
    add_eos_token: bool

    def __init__(
        self,
        vocab: dict[str, int] | None = None,
        merges: list[tuple[str, str]] | None = None,
        *,
        add_dummy_prefix: bool | None = None,
        leftmost_ties: bool | None = None,
        add_bos_token: bool | None = None,
        add_eos_token: bool | None = None,
        legacy: bool = True,
        model_max_length: int = MAX_LENGTH,
        split_special_tokens: bool = True,
        **kwargs: Any,
    ):
        if vocab is None or merges is None or add_dummy_prefix is None:
            raise ValueError(
                "InternVLDualEncoderTokenizer needs vocab, merges and add_dummy_prefix. Load it with from_pretrained "
                "from a folder with tokenizer.model, or with the tokenizer.json and tokenizer_config.json it saved."
            )
        bos, eos = template_ends(kwargs.pop("post_processor", None)) or (True, True)
        super().__init__(
            vocab=vocab,
            merges=merges,
            legacy=legacy,
            **{
                **kwargs,
                "add_dummy_prefix": add_dummy_prefix,
                "add_bos_token": bos if add_bos_token is None else add_bos_token,
                "add_eos_token": eos if add_eos_token is None else add_eos_token,
                "model_max_length": model_max_length,
                "pad_token": next(piece for piece, index in vocab.items() if index == 0),
                "split_special_tokens": split_special_tokens,
            },
        )
        self.add_dummy_prefix = add_dummy_prefix
        self.init_kwargs["legacy"] = legacy
        self._split_by_library(leftmost_ties)
        backend = self._tokenizer
        backend.normalizer, backend.pre_tokenizer, backend.decoder = pipeline(self._prepend_scheme())

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *inputs: Any, **kwargs: Any) -> Any:
        """As transformers'. What the original code sets after loading is set, except where `kwargs` say otherwise.

        Raises:
            ValueError: `padding_side` is neither `"left"` nor `"right"`.
        """
        side = kwargs.get("padding_side", cls.padding_side)
        if side not in ("left", "right"):
            raise ValueError(f'`padding_side` must be "left" or "right", got {side!r}.')
        tokenizer = super().from_pretrained(pretrained_model_name_or_path, *inputs, **kwargs)
        for name in _RULES:
            if name in kwargs:
                setattr(tokenizer, name, kwargs[name])
        return tokenizer

    @classmethod
    def convert_to_native_format(cls, trust_remote_code: bool = False, **kwargs: Any) -> dict[str, Any]:
        """The arguments of `__init__` from the files of a folder: our own, or the original `tokenizer.model`."""
        vocab_file = kwargs.get("vocab_file")
        if vocab_file is None or "add_dummy_prefix" in kwargs:
            return super().convert_to_native_format(trust_remote_code=trust_remote_code, **kwargs)
        model = SentencePieceModel.from_file(vocab_file)
        fields = {name: value for name, value in kwargs.items() if name not in (*_RULES, "tokenizer_file")}
        # The released files name a token of its own for padding, which the original code never pads with.
        if (padding := str(fields.pop("pad_token", None) or "")) and padding not in model.vocab:
            fields["extra_special_tokens"] = [*(fields.get("extra_special_tokens") or []), padding]
        fields["legacy"] = fields.get("legacy") is not False  # missing means True
        return fields | {
            "vocab": model.vocab,
            "merges": model.merges,
            "leftmost_ties": model.ties,
            "add_dummy_prefix": model.add_dummy_prefix,
        }

    def _prepend_scheme(self) -> PrependScheme:
        return "always" if self.add_dummy_prefix else "never"

    def __call__(
        self, text: Any = None, *args: Any, prefix: str | None = None, add_eos_token: bool | None = None, **kwargs: Any
    ) -> BatchEncoding:
        """Encode texts.

        Args:
            text: a text or several.
            prefix: put in front of every text; `""` gives the bare text. None: `summarize:`, save where a text brings
                it along, and in front of a prompt, that is without end token, nothing.
            add_eos_token: end with the end token. None: the tokenizer's own setting, which is True.
            args, kwargs: as of every tokenizer of transformers.

        Returns:
            `input_ids` and `attention_mask`, `(texts, length)` or `(length,)`; 1 in the mask marks real tokens,
            whatever their id. Offsets, if asked for, count from the start of the prefix.

        Raises:
            ValueError: no text, something else than a text, pairs of texts, or a text of more than 80 tokens
                (`max_length`, if given) without `truncation=True`, which shortens it and keeps the end token.
        """
        return super().__call__(text, *args, prefix=prefix, add_eos_token=add_eos_token, **kwargs)

    def _get_padding_truncation_strategies(self, padding: Any = False, truncation: Any = None, **kwargs: Any) -> Any:
        # transformers truncates for a bare `max_length`, too; here it is a limit.
        return super()._get_padding_truncation_strategies(padding=padding, truncation=truncation or False, **kwargs)

    def _encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        prefix: str | None = None,
        add_eos_token: bool | None = None,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        return_tensors: Any = None,
        **options: Any,
    ) -> BatchEncoding:
        texts = _checked([text] if isinstance(text, str) else text)
        if text_pair is not None or options.get("is_split_into_words"):
            raise ValueError("InternVL-14B encodes texts one by one, whole: give strings, no pairs and no word lists.")
        with lock_of(self):  # not in the middle of another thread's call without it
            ends = self.add_eos_token if add_eos_token is None else add_eos_token
        whole = [_prefixed(entry, prefix, ends) for entry in texts]
        with lock_of(self), self._ending(ends):
            batch = super()._encode_plus(
                whole[0] if isinstance(text, str) and return_tensors is None else whole,
                truncation_strategy=truncation_strategy,
                max_length=max_length,
                **options,
            )
        if truncation_strategy == TruncationStrategy.DO_NOT_TRUNCATE:
            _refuse_long(whole, batch, max_length or self.model_max_length)
        return batch.convert_to_tensors(return_tensors)

    @contextmanager
    def _ending(self, ends: bool) -> Iterator[None]:
        """The backend with or without the end token, for one call."""
        usual = self.add_eos_token
        if ends != usual:
            self.add_eos_token = ends
        try:
            yield
        finally:
            if ends != usual:
                self.add_eos_token = usual


def _checked(texts: Any) -> Sequence[str]:
    """The texts, if they are some.

    Raises:
        ValueError: there is none, or one that is no string.
    """
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"Expected a text or a list of texts, got {type(texts).__name__}.")
    if not texts:
        raise ValueError("Expected at least one text, got an empty list.")
    for position, entry in enumerate(texts):
        if not isinstance(entry, str):
            raise ValueError(f"Expected texts, but text {position} is of type {type(entry).__name__}: {entry!r}.")
    return texts


def _prefixed(text: str, prefix: str | None, ends: bool) -> str:
    """A text with its prefix; what that is if the caller does not say depends on whether the text ends."""
    if prefix is not None:
        return prefix + text
    return TEXT_PREFIX + text if ends and not text.startswith(TEXT_PREFIX) else text


def _refuse_long(texts: Sequence[str], batch: BatchEncoding, limit: int) -> None:
    """Stop at a text that has more tokens than the limit.

    Raises:
        ValueError: there is one.
    """
    for position, (text, encoding) in enumerate(zip(texts, batch.encodings or (), strict=False)):
        count = sum(encoding.attention_mask)
        if count > limit:
            shown = text if len(text) <= 60 else text[:57] + "..."
            raise ValueError(
                f"Text {position} has {count} tokens with prefix, bos and end token, at most {limit} are allowed: "
                f"{shown!r}. Shorten it, or pass `truncation=True` to shorten it; the end token is kept."
            )


__all__ = ["CAPTION_PROMPT", "MAX_LENGTH", "TEXT_PREFIX", "InternVLDualEncoderTokenizer"]
