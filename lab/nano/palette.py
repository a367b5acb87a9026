# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Colours of the images: the shades of a named colour, ink that stands out, light paper of many kinds."""

from __future__ import annotations

import colorsys
import math
import random

import numpy as np
from PIL import Image, ImageDraw

RGB = tuple[int, int, int]

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "black")

# The shades that people write down for a colour; other shades come from `HUES`.
# fmt: off
SHADES: dict[str, tuple[RGB, ...]] = {
    "red": (
        (255, 0, 0), (220, 20, 60), (200, 0, 0), (178, 34, 34), (230, 25, 25), (214, 39, 40), (255, 30, 30),
        (139, 0, 0),
    ),
    "green": (
        (0, 128, 0), (0, 255, 0), (34, 139, 34), (0, 100, 0), (50, 205, 50), (0, 170, 0), (44, 160, 44),
        (46, 139, 87),
    ),
    "blue": (
        (0, 0, 255), (30, 144, 255), (65, 105, 225), (0, 0, 205), (0, 0, 139), (31, 119, 180), (40, 80, 220),
        (0, 0, 128),
    ),
    "yellow": (
        (255, 255, 0), (255, 215, 0), (240, 220, 0), (255, 225, 25), (250, 230, 30), (230, 220, 10),
        (255, 235, 59),
    ),
    "purple": (
        (128, 0, 128), (148, 0, 211), (138, 43, 226), (160, 32, 240), (145, 30, 180), (153, 50, 204),
        (106, 13, 173),
    ),
    "orange": (
        (255, 165, 0), (255, 140, 0), (255, 127, 0), (255, 127, 14), (245, 130, 48), (240, 140, 20),
        (255, 152, 0),
    ),
    "black": (
        (0, 0, 0), (0, 0, 0), (10, 10, 10), (20, 20, 20), (30, 30, 30), (5, 5, 15),
    ),
}
# fmt: on
# Degrees of hue, then least saturation and least value, of a named colour.
HUES = {
    "red": (-12, 7, 0.78, 0.6),
    "green": (95, 155, 0.6, 0.4),
    "blue": (206, 248, 0.6, 0.5),
    "yellow": (51, 61, 0.75, 0.86),
    "purple": (266, 304, 0.55, 0.42),
    "orange": (22, 40, 0.85, 0.88),
}
OTHER_SHADES: tuple[RGB, ...] = ((255, 105, 180), (0, 200, 200), (139, 69, 19), (128, 128, 128), (255, 0, 255))
PASTELS: tuple[RGB, ...] = (
    (173, 216, 230), (255, 255, 224), (245, 245, 220), (230, 230, 250), (211, 211, 211), (255, 228, 225),
    (240, 255, 240), (250, 240, 230), (224, 255, 255), (255, 250, 205), (240, 248, 255), (220, 220, 220),
)  # fmt: skip


def shade(rng: random.Random, color: str | None) -> RGB:
    """A shade of a named colour, half of the time one that people write down."""
    if color is None:
        return rng.choice(OTHER_SHADES)
    if color == "black" or rng.random() < 0.55:
        shades = SHADES[color]
        return shades[0] if rng.random() < 0.4 else rng.choice(shades)
    low, high, saturation, value = HUES[color]
    channels = colorsys.hsv_to_rgb(
        rng.uniform(low, high) / 360 % 1.0, rng.uniform(saturation, 1.0), rng.uniform(value, 1.0)
    )
    return tuple(round(255 * channel) for channel in channels)  # type: ignore[return-value]


def ink(rng: random.Random, paper: RGB) -> RGB:
    """A colour to write with that stands out from `paper`."""
    for _ in range(20):
        chance = rng.random()
        if chance < 0.4:
            ink: RGB = (0, 0, 0)
        elif chance < 0.75:
            ink = (rng.randint(0, 110), rng.randint(0, 110), rng.randint(0, 110))
        else:
            ink = shade(rng, rng.choice(COLORS))
        if _luma(paper) - _luma(ink) > 60:
            return ink
    return (0, 0, 0)


def background(rng: random.Random, width: int, height: int, avoid: list[RGB] | None = None) -> Image.Image:
    """Light paper: plain, shaded between its corners, or grainy; away from the colours to `avoid`."""
    for _ in range(6):
        papers = [_paper(rng) for _ in range(4)]
        if all(math.dist(paper, color) > 110 for paper in papers for color in avoid or ()):
            break
    else:
        papers = [(255, 255, 255)] * 4
    chance = rng.random()
    if 0.7 <= chance < 0.85:
        return _shaded(rng, width, height, papers)
    image = Image.new("RGB", (width, height), papers[0])
    return _grainy(rng, image) if chance >= 0.85 else image


def _shaded(rng: random.Random, width: int, height: int, papers: list[RGB]) -> Image.Image:
    """From corner to corner, or from one edge to the opposite one."""
    one, other = papers[:2]
    if rng.random() < 0.5:
        papers = [one, other, one, other] if rng.random() < 0.5 else [one, one, other, other]
    corners = Image.new("RGB", (2, 2))
    corners.putdata(papers)
    return corners.resize((width, height), Image.Resampling.BILINEAR)


def _grainy(rng: random.Random, image: Image.Image) -> Image.Image:
    strength = rng.randint(2, 22)
    channels = rng.choice((1, 3))
    noise = np.random.default_rng(rng.getrandbits(32)).integers(
        -strength, strength + 1, size=(image.height, image.width, channels), dtype=np.int16
    )
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8))


def _paper(rng: random.Random) -> RGB:
    chance = rng.random()
    if chance < 0.35:
        return (255, 255, 255)
    if chance < 0.5:
        return rng.choice(PASTELS)
    if chance < 0.65:
        return (rng.randint(205, 255),) * 3
    lightest = rng.randint(225, 255)
    return tuple(lightest - rng.randint(0, rng.choice((20, 50))) for _ in range(3))  # type: ignore[return-value]


def _luma(color: RGB) -> float:
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


def frame(rng: random.Random, image: Image.Image) -> None:
    """Draw a thin gray line along the edges of the image."""
    inset = rng.randint(0, max(1, min(image.size) // 60))
    gray = rng.randint(0, 190)
    box = (inset, inset, image.width - 1 - inset, image.height - 1 - inset)
    ImageDraw.Draw(image).rectangle(box, outline=(gray, gray, gray), width=rng.randint(1, 2))
