# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Shapes of `pixel_values` that are none, and how to mend them."""

import torch


def check_tiles(pixel_values: torch.Tensor) -> torch.Tensor:
    """Tiles `(T, 3, height, width)`, if they are.

    Raises:
        ValueError: another number of dimensions.
    """
    if isinstance(pixel_values, torch.Tensor) and pixel_values.dim() == 4:
        return pixel_values
    shape = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
    hints = {3: ": of one tile, pass `pixel_values[None]`", 5: ": pass `pixel_values.flatten(0, 1)`"}
    hint = hints.get(len(shape), "") if isinstance(shape, tuple) else ""
    raise ValueError(
        "`pixel_values` must be a tensor (T, 3, height, width), the tiles of all images one after the other, got "
        f"{shape}{hint}."
    )


__all__ = ["check_tiles"]
