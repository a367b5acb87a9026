# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Calls in the original order of arguments, which begins with the pixels: `model(pixel_values, input_ids, ...)`.

Both orders are accepted, and distinguished by their first argument: pixels are floating-point numbers, ids are
integers.

Source: `forward` and `generate` in `modeling_internvl_chat.py` and `modeling_internvl.py` of the released checkpoints.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ..vision.layers import check_tiles

FORWARD = (
    "pixel_values",
    "input_ids",
    "attention_mask",
    "position_ids",
    "image_flags",
    "cache",
    "labels",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
)
GENERATE = (
    "pixel_values",
    "input_ids",
    "attention_mask",
    "visual_features",
    "generation_config",
    "output_hidden_states",
    "return_dict",
)


def begins_with_pixels(args: Sequence[Any]) -> bool:
    """Whether positional arguments are in the original order: pixels or None, then ids."""
    first, second = (*args, None, None)[:2]
    if first is None:
        return isinstance(second, torch.Tensor) and not second.is_floating_point()
    return isinstance(first, torch.Tensor) and first.is_floating_point() and first.dim() > 2


def by_name(args: Sequence[Any], names: Sequence[str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """All arguments by name.

    Args:
        args: positional arguments.
        names: theirs, in order.
        kwargs: the others. Not changed.

    Raises:
        TypeError: too many arguments, or one that was given twice.
    """
    if len(args) > len(names):
        raise TypeError(f"expected at most {len(names)} positional arguments ({', '.join(names)}), got {len(args)}")
    given = dict(zip(names, args, strict=False))
    twice = sorted(given.keys() & kwargs.keys())
    if twice:
        raise TypeError(f"{', '.join(twice)} came twice: by position ({', '.join(names)}) and by name")
    return {name: value for name, value in given.items() if value is not None} | kwargs


def encoded_images(visual_features: torch.Tensor, tokens_per_tile: int) -> dict[str, BaseModelOutputWithPooling]:
    """Image tokens that were computed earlier, as `forward` takes them.

    Args:
        visual_features: `(T, n, D)`, as `extract_feature` gives them, or one tile after the other `(T*n, D)`.
        tokens_per_tile: n.

    Raises:
        ValueError: another shape.
    """
    if visual_features.dim() not in (2, 3) or visual_features.shape[:-1].numel() % tokens_per_tile:
        raise ValueError(
            f"`visual_features` must be (T, {tokens_per_tile}, D), as `extract_feature` gives them, got "
            f"{tuple(visual_features.shape)}."
        )
    features = visual_features.reshape(-1, tokens_per_tile, visual_features.shape[-1])
    return {"image": BaseModelOutputWithPooling(pooler_output=features)}


def tiles_of_images(pixel_values: torch.Tensor | None, num_patches_list: Sequence[int] | None) -> list[int]:
    """Tiles of every image, which add up to the tiles that are there.

    Args:
        pixel_values: `(T, 3, height, width)`; None: there is no image.
        num_patches_list: tiles of every image; None: all tiles are one image.

    Raises:
        ValueError: another shape or sum.
    """
    if pixel_values is not None:
        check_tiles(pixel_values)
    total = 0 if pixel_values is None else len(pixel_values)
    tiles = list(num_patches_list) if num_patches_list is not None else [total] * (total > 0)
    if sum(tiles) != total:
        raise ValueError(f"`num_patches_list` {tiles} adds up to {sum(tiles)} tiles, but `pixel_values` has {total}.")
    return tiles


__all__ = ["FORWARD", "GENERATE", "begins_with_pixels", "by_name", "encoded_images", "tiles_of_images"]
