# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Values beyond which a `config.json` is broken or hostile, checked before anything is built after it.

A configuration alone can take all memory: transformers writes a list entry for every layer, and a model's position
table grows with the square of the image's side. And one number that is not finite makes every output NaN.
"""

import math
from typing import Any

import torch

# Field -> the largest value that is taken seriously, far above every release (InternVL3.5-241B: 94 layers of 4096).
LIMITS = {
    "num_hidden_layers": 10_000,
    "hidden_size": 1_000_000,
    "intermediate_size": 10_000_000,
    "num_attention_heads": 100_000,
    "num_key_value_heads": 100_000,
    "attn_pool_num_heads": 100_000,
    "head_dim": 1_000_000,
    "vocab_size": 100_000_000,
    "image_size": 100_000,
    "force_image_size": 100_000,
    "patch_size": 100_000,
    "num_channels": 10_000,
    "num_experts": 100_000,
    "num_local_experts": 100_000,
    "num_query_token": 1_000_000,
    "image_seq_length": 1_000_000,
    "max_position_embeddings": 1_000_000_000,
    "num_labels": 1_000_000,
}
_SMALLEST = {"num_hidden_layers": 0, "force_image_size": 0, "num_experts": 0, "num_local_experts": 0}
_DEEPEST = 20
_LONGEST = 10_000  # entries of a list: one for each layer, or for each half of a head's channels
_POSITIVE = ("rope_theta",)
_NOT_NEGATIVE = ("rms_norm_eps", "layer_norm_eps", "norm_eps")


def check_sizes(fields: Any, where: str = "", depth: int = 0) -> None:
    """Look through the fields of a configuration and of those within it.

    Raises:
        ValueError: a size is no positive whole number or not a sensible one; a number is not finite, or has the wrong
            sign; a list is too long; dictionaries nest without end.
    """
    if not isinstance(fields, dict):
        return
    if depth > _DEEPEST:
        raise ValueError(f"The configuration nests more than {_DEEPEST} levels deep: {where:.80}.")
    for name, value in fields.items():
        place = f"{where}.{name}" if where else str(name)
        if name in ("dtype", "torch_dtype") and not _is_dtype(value):
            raise ValueError(f"`{place}` must name a number format, such as 'bfloat16', got {value!r:.80}.")
        if name == "id2label" and not isinstance(value, (dict, type(None))):
            raise ValueError(f"`{place}` must be an object of names by number, got {value!r:.80}.")
        _check_numbers(name, value, place)
        if isinstance(value, dict):
            check_sizes(value, place, depth + 1)
        elif name in LIMITS and value is not None:
            for number in (value or [None]) if isinstance(value, (list, tuple)) else [value]:
                least = _SMALLEST.get(name, 1)
                if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= LIMITS[name]:
                    raise ValueError(
                        f"`{place}` must be a whole number from {least} to {LIMITS[name]}, got {number!r:.80}: "
                        "config.json is damaged, or of no model of this family."
                    )


def _check_numbers(name: str, value: Any, place: str) -> None:
    if isinstance(value, (list, tuple)) and len(value) > _LONGEST:
        raise ValueError(f"`{place}` has {len(value)} entries, at most {_LONGEST} are supported.")
    for number in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"`{place}` must be finite, got {number!r}: every output would be NaN.")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _POSITIVE and value is not None and not (is_number and value > 0):
        raise ValueError(f"`{place}` must be a number above 0, got {value!r:.80}.")
    if name in _NOT_NEGATIVE and value is not None and not (is_number and value >= 0):
        raise ValueError(f"`{place}` must be a number of at least 0, got {value!r:.80}.")


def _is_dtype(value: Any) -> bool:
    if isinstance(value, str):
        return isinstance(getattr(torch, value.removeprefix("torch."), None), torch.dtype)
    return value is None or isinstance(value, (dict, torch.dtype))


__all__ = ["LIMITS", "check_sizes"]
