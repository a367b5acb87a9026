# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Workarounds for faults of transformers in tokenizers. When a fault is mended, its row, functions and calls go.

`forget_call_settings` (transformers 5.24, until saving leaves them out)
    Padding and truncation of a call stay in the tokenizer, and are saved and used again.
`truncated_on` (transformers 5.24, until calls take the option)
    `truncation_side` of a call is ignored; only the tokenizer's attribute counts.
`keep_legacy` (transformers 5.24, until it is saved)
    The field `legacy` of `LlamaTokenizer` is not written when the tokenizer is saved.

Those in models are in `modeling/pretrained/upstream.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedTokenizerBase

from ..threads import lock_of

# What transformers takes from a saved tokenizer.json for a tokenizer's own settings, and from these for a call's.
_CALL_SETTINGS = (
    *("truncation", "truncation_strategy", "max_length", "stride", "padding", "pad_to_multiple_of"),
    *("tokenizer_truncation", "tokenizer_padding", "_json_truncation", "_json_padding"),
)


def forget_call_settings(tokenizer: PreTrainedTokenizerBase) -> None:
    """Take out of a tokenizer what a call was padded and truncated to, so that it is neither saved nor used again."""
    with lock_of(tokenizer):  # not in the middle of another thread's call
        if tokenizer.is_fast:
            tokenizer.backend_tokenizer.no_truncation()
            tokenizer.backend_tokenizer.no_padding()
        for name in _CALL_SETTINGS:
            tokenizer.init_kwargs.pop(name, None)


@contextmanager
def truncated_on(tokenizer: PreTrainedTokenizerBase, side: str | None) -> Iterator[None]:
    """Let a tokenizer truncate on this side, "left" or "right", within the block; None leaves its own.

    Tokenizers read an attribute, and ignore the option of a call. Other threads that encode wait for the block's end.
    """
    if side not in (None, "left", "right"):
        raise ValueError(f"`truncation_side` is 'left' or 'right', got {side!r:.80}.")
    with lock_of(tokenizer):
        own = tokenizer.truncation_side
        tokenizer.truncation_side = side or own
        try:
            yield
        finally:
            tokenizer.truncation_side = own


def keep_legacy(tokenizer: Any, legacy: bool) -> None:
    """Set the field, and write it when the tokenizer is saved: init arguments are."""
    tokenizer.legacy = tokenizer.init_kwargs["legacy"] = legacy


__all__ = ["forget_call_settings", "keep_legacy", "truncated_on"]
