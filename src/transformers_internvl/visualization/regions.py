# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Boxes of an answer drawn into the image, without matplotlib."""

from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLOURS = ((0, 160, 60), (220, 30, 90), (0, 110, 230), (230, 120, 0), (130, 60, 200))  # one after the other


def draw_regions(image: Any, regions: Iterable[tuple[str, Sequence[float]]]) -> Image.Image:
    """A copy of the image with the outline and the label of each region.

    Regions of one label have one colour. What reaches beyond the image is cut off. Characters that the font lacks are
    drawn as empty boxes.

    Args:
        image: an RGB `PIL.Image`.
        regions: label and corners in pixels, `(x1, y1, x2, y2)` or eight numbers of a quadrilateral, such as
            `parse_grounding` and `LocatedBox` give them.

    Raises:
        ValueError: a region has another number of corners.
    """
    drawing = image.convert("RGB")
    pen = ImageDraw.Draw(drawing)
    side = max(drawing.size)
    width, letters = max(2, side // 250), max(11, side // 36)
    font = ImageFont.load_default(letters)
    colours: dict[str, tuple[int, int, int]] = {}
    for label, region in regions:
        colour = colours.setdefault(label, COLOURS[len(colours) % len(COLOURS)])
        corners = _corners(region)
        pen.line([*corners, corners[0], corners[1]], fill=colour, width=width, joint="curve")
        if words := " ".join(label.split()):
            _write(pen, drawing.size, words, corners, colour, font)
    return drawing


def _corners(region: Sequence[float]) -> list[tuple[float, float]]:
    if len(region) == 4:
        x1, y1, x2, y2 = region
        return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    if len(region) != 8:
        raise ValueError(f"A region has 4 numbers (a box) or 8 (a quadrilateral), got {len(region)}: {list(region)}.")
    return list(zip(region[::2], region[1::2], strict=True))


def _write(
    pen: ImageDraw.ImageDraw,
    size: tuple[int, int],
    words: str,
    corners: list[tuple[float, float]],
    colour: tuple[int, int, int],
    font: Any,
) -> None:
    """Write the label above the region, or into it where there is no room, on a ground of the region's colour."""
    left, top, right, bottom = pen.textbbox((0, 0), words, font=font)
    wide, high = right - left + 6, bottom - top + 6
    x = min(max(min(at for at, _ in corners), 0), max(size[0] - wide, 0))
    y = min(at for _, at in corners) - high
    y = max(y, 0)
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    pen.text((x + 3 - left, y + 3 - top), words, fill="white", font=font)


__all__ = ["draw_regions"]
