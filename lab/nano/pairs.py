# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images with captions for the nano dual encoder: `a red circle on a white ground`, drawn with Pillow alone.

There are 16 classes, a shape in a colour, and four grounds: 64 pairs, no two captions alike. Place, size, turn and
shade are drawn from the seed, so other seeds give other drawings of the same classes.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .palette import RGB, SHADES

SIDE = 64
SHAPES = ("circle", "square", "triangle", "cross")
COLORS = ("red", "green", "blue", "yellow")
GROUNDS: dict[str, RGB] = {
    "white": (255, 255, 255),
    "gray": (150, 150, 150),
    "black": (0, 0, 0),
    "pink": (255, 190, 215),
}
CLASSES = tuple(f"{color} {shape}" for color, shape in itertools.product(COLORS, SHAPES))
TEMPLATES = tuple(f"a {{}} on a {ground} ground" for ground in GROUNDS)
"""What can be said of a class, for zero-shot classification."""


@dataclass(frozen=True)
class Pair:
    """An image (RGB, `SIDE` x `SIDE`), what is said of it, and its class, one of `CLASSES`."""

    image: Image.Image
    caption: str
    label: str


def draw_pairs(seed: int | str, repeats: int = 1) -> list[Pair]:
    """Every class on every ground, `64 * repeats` pairs; the same for the same seed."""
    rng = random.Random(f"pairs-{seed}")
    scenes = list(itertools.product(COLORS, SHAPES, GROUNDS))
    return [_draw(rng, *scene) for _ in range(repeats) for scene in scenes]


def _draw(rng: random.Random, color: str, shape: str, ground: str) -> Pair:
    scale = 4  # drawn larger and averaged, for smooth edges
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), GROUNDS[ground])
    size = rng.uniform(0.6, 0.85) * image.width
    left, top = (rng.uniform(0.1, 0.9) * (image.width - size) for _ in range(2))
    points = [(left + x * size, top + y * size) for x, y in _outline(shape, rng.uniform(-12, 12))]
    ImageDraw.Draw(image).polygon(points, fill=SHADES[color][0])
    label = f"{color} {shape}"
    return Pair(image.reduce(scale), f"a {label} on a {ground} ground", label)


def _outline(shape: str, degrees: float) -> list[tuple[float, float]]:
    """Corners within the unit square, turned about its middle by some degrees."""
    if shape == "circle":
        corners = [(0.5 * math.cos(turn), 0.5 * math.sin(turn)) for turn in (math.tau * i / 48 for i in range(48))]
    elif shape == "square":
        corners = [(-0.42, -0.42), (0.42, -0.42), (0.42, 0.42), (-0.42, 0.42)]
    elif shape == "triangle":
        corners = [(0.0, -0.5), (0.48, 0.4), (-0.48, 0.4)]
    else:
        arm = [(-0.16, -0.5), (0.16, -0.5), (0.16, -0.16)]
        corners = []
        for _ in range(4):  # an arm of the cross, then the next, a quarter turn on
            corners += arm
            arm = [(-y, x) for x, y in arm]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(0.5 + cos * x - sin * y, 0.5 + sin * x + cos * y) for x, y in corners]


def jitter(image: Image.Image, rng: random.Random) -> Image.Image:
    """The image mirrored, turned, moved and scaled at random, on ground of its own: the augmentation of training."""
    ground = image.getpixel((0, 0))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turn, zoom = math.radians(rng.uniform(-20, 20)), rng.uniform(0.7, 1.25)
    cos, sin, middle = math.cos(turn) / zoom, math.sin(turn) / zoom, image.width / 2
    x, y = (middle + rng.uniform(-0.15, 0.15) * image.width for _ in range(2))  # what comes to the middle
    window = (cos, -sin, x - middle * (cos - sin), sin, cos, y - middle * (cos + sin))
    return image.transform(image.size, Image.Transform.AFFINE, window, Image.Resampling.BILINEAR, fillcolor=ground)


__all__ = ["CLASSES", "COLORS", "GROUNDS", "SHAPES", "SIDE", "TEMPLATES", "Pair", "draw_pairs", "jitter"]
