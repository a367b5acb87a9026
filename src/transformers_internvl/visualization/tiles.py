# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawings of what a model gets: the tiles of an image, the frames of a video, and figures below them."""

from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..processing.images.pixels import image_pixels, to_levels
from ..processing.images.tiling import tile_boxes
from ..processing.videos import open_video

LINE = (255, 64, 0)  # orange: grid lines, numbers
COMPRESSED = (0, 96, 255)  # blue: those of compressed tiles
MARGIN = 24  # pixels between canvas and thumbnail
FRAMES_A_ROW = 4


def as_seen(image: Any) -> Image.Image:
    """The pixels of an image or frame that a model gets, before they are resized, in RGB."""
    levels, _ = to_levels(image_pixels(image))  # (3, H, W)
    return Image.fromarray(levels.transpose(1, 2, 0))


def frames_as_seen(source: Any, indices: Sequence[int], max_pixels: int | None = None) -> list[Image.Image]:
    """Frames of a video as `as_seen` gives them.

    Args:
        source: whatever the processor takes as a video.
        indices: which frames, from 0; one can be named twice.
        max_pixels: of a frame; more is refused. None: any number.
    """
    with closing(open_video(source, None, max_pixels)) as video:
        frames = {index: as_seen(frame) for index, frame in video.frames(indices)}
    return [frames[index] for index in indices]


def draw_tiles(
    image: Any, columns: int, rows: int, size: int, *, thumbnail: bool, compressed: Collection[int] = ()
) -> Image.Image:
    """Draw the canvas with its grid and tile numbers, and the thumbnail beside it.

    Args:
        image: an RGB `PIL.Image`.
        columns, rows: the grid.
        size: the side of a tile in pixels.
        thumbnail: whether a thumbnail follows the tiles; it gets the number after the last tile's.
        compressed: numbers of tiles to draw in the other colour.
    """
    width = columns * size
    drawing = Image.new("RGB", (width + (MARGIN + size if thumbnail else 0), rows * size), "white")
    drawing.paste(image.resize((width, rows * size), Image.Resampling.BICUBIC), (0, 0))
    boxes = tile_boxes(columns, rows, size)
    if thumbnail:
        drawing.paste(image.resize((size, size), Image.Resampling.BICUBIC), (width + MARGIN, 0))
        boxes.append((width + MARGIN, 0, width + MARGIN + size, size))
    for number, box in enumerate(boxes):
        _mark(drawing, box, str(number), COMPRESSED if number in compressed else LINE)
    return drawing


def draw_frames(frames: Sequence[Any], labels: Sequence[str], size: int) -> Image.Image:
    """Draw the frames of a video as a model gets them, squares of `size` pixels, row by row.

    Args:
        frames: RGB images.
        labels: what is written into each.
        size: the side of a tile in pixels.
    """
    columns = min(FRAMES_A_ROW, len(frames))
    boxes = tile_boxes(columns, -(-len(frames) // columns), size)
    drawing = Image.new("RGB", boxes[-1][2:], "white")
    for frame, label, box in zip(frames, labels, boxes, strict=False):  # the last row can have free places
        drawing.paste(frame.resize((size, size), Image.Resampling.BICUBIC), box[:2])
        _mark(drawing, box, label, LINE)
    return drawing


def add_caption(drawing: Image.Image, lines: Sequence[str], size: int) -> Image.Image:
    """The drawing with lines of text below it, and wider where a line needs it.

    Args:
        drawing: an RGB image.
        lines: the text.
        size: the side of a tile in pixels, to which the letters are fitted.
    """
    letters = _letters(size)
    font = ImageFont.load_default(letters)
    width = max(drawing.width, *(round(font.getlength(line)) + letters for line in lines))
    height = drawing.height + round(1.4 * letters * (len(lines) + 0.5))
    captioned = Image.new("RGB", (width, height), "white")
    captioned.paste(drawing, (0, 0))
    pen = ImageDraw.Draw(captioned)
    for number, line in enumerate(lines):
        at = (letters // 2, drawing.height + round(1.4 * letters * (number + 0.25)))
        pen.text(at, line, fill="black", font=font)
    return captioned


def _letters(size: int) -> int:
    """Pixels of letters for tiles of `size` pixels."""
    return max(10, size // 18)


def _mark(drawing: Image.Image, box: tuple[int, int, int, int], label: str, colour: tuple[int, int, int]) -> None:
    """Draw the outline of a tile and its label, which is made to fit."""
    left, top, right, bottom = box
    size, stroke = right - left, max(1, (right - left) // 112)
    pen = ImageDraw.Draw(drawing)
    pen.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=stroke)
    letters = max(10, size // 8)
    letters = min(letters, round(letters * (size - 6 * stroke) / ImageFont.load_default(letters).getlength(label)))
    at = (left + 3 * stroke, top + 2 * stroke)
    pen.text(at, label, fill=colour, font_size=letters, stroke_width=stroke, stroke_fill="white")


__all__ = ["COMPRESSED", "LINE", "MARGIN", "add_caption", "as_seen", "draw_frames", "draw_tiles", "frames_as_seen"]
