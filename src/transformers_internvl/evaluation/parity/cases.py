# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What both sides are asked: drawn images and questions, written to a folder."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw

FILE = "cases.json"


@dataclass(frozen=True)
class Case:
    """A question.

    Attributes:
        name: for the report.
        question: with `<image>` where the image belongs.
        image: file in the folder; None = text alone.
        max_tiles: of the image.
    """

    name: str
    question: str
    image: str | None = None
    max_tiles: int = 12


# Name, question, width and height of the image, maximum tiles.
_CASES: tuple[tuple[str, str, tuple[int, int] | None, int], ...] = (
    ("text", "What is the capital of France?", None, 1),
    ("one tile", "<image>\nDescribe the image shortly.", (448, 448), 1),
    ("wide", "<image>\nWhich colors do you see?", (1000, 380), 6),
    ("tall, Chinese", "<image>\n请详细描述图片。", (430, 1210), 12),
)


def draw_cases(folder: Path) -> list[Case]:
    """Draw the images and write `cases.json`; the same on every machine."""
    cases = []
    for number, (name, question, size, max_tiles) in enumerate(_CASES):
        image = None if size is None else f"{number}.png"
        if size is not None and image is not None:
            _drawn(size, number).save(folder / image)
        cases.append(Case(name, question, image, max_tiles))
    text = json.dumps([asdict(case) for case in cases], ensure_ascii=False)
    (folder / FILE).write_text(text, encoding="utf-8")
    return cases


def _drawn(size: tuple[int, int], seed: int) -> Image.Image:
    """Slopes of color with sharp shapes on them: resampling and tiling both show."""
    width, height = size
    ramp = Image.linear_gradient("L").resize(size)
    image = Image.merge(
        "RGB", [ramp, ramp.transpose(Image.Transpose.ROTATE_180), Image.new("L", size, 60 * seed % 256)]
    )
    pen = ImageDraw.Draw(image)
    pen.ellipse((width // 8, height // 8, width // 2, height // 2), fill=(220, 30, 40))
    pen.rectangle((width // 2, height // 2, width * 7 // 8, height * 7 // 8), outline=(0, 0, 0), width=5)
    for x in range(0, width, 9):
        pen.line((x, 0, x + 3 * seed, height // 10), fill=(255, 255, 255))
    return image


__all__ = ["FILE", "Case", "draw_cases"]
