# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawn shapes with the class of every pixel, for dense tasks; with one shape to an image, for classification.

The shapes, colours and papers are those of `drawing`; a seed gives one scene.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .drawing import Shape, Style, arrange, paint
from .palette import COLORS, background, shade
from .questions import SHAPES

CLASSES = ("background", *SHAPES)
"""What a pixel may be part of; its index is the label."""


@dataclass(frozen=True)
class Scene:
    """An image (RGB), the class of each pixel (uint8, H x W), and the kinds of its shapes, the largest first."""

    image: Image.Image
    mask: np.ndarray
    kinds: tuple[str, ...]


def draw_scene(seed: int | str, style: Style, max_shapes: int = 3) -> Scene:
    """One to `max_shapes` shapes apart from each other, the same for the same seed and style.

    A shape of which only the outline is drawn counts with what it encloses.
    """
    rng = random.Random(f"scene-{seed}")
    width, height = (rng.randint(style.min_side, style.max_side) for _ in range(2))
    kinds = [rng.choice(SHAPES) for _ in range(rng.randint(1, max_shapes))]
    colors: list[str | None] = [rng.choice(COLORS) for _ in kinds]
    fills = [shade(rng, color) for color in colors]
    image = background(rng, width, height, fills)
    shapes = arrange(rng, style, width, height, kinds, colors, fills)
    mask = Image.new("RGB", image.size)
    for shape in shapes:
        paint(image, shape)
        paint(mask, _labelled(shape))
    classes = np.asarray(mask)[..., 0]
    sizes = np.bincount(classes.ravel(), minlength=len(CLASSES))
    kinds.sort(key=lambda kind: -sizes[CLASSES.index(kind)])
    return Scene(image, classes, tuple(kinds))


def _labelled(shape: Shape) -> Shape:
    """The same shape, painted with its label: filled, hard edges."""
    label = (CLASSES.index(shape.kind),) * 3
    return replace(shape, fill=label, outline=label if shape.line else None, filled=True, smooth=False)


__all__ = ["CLASSES", "Scene", "draw_scene"]
