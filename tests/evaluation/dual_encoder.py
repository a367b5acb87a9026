# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the tests of retrieval, classification and captioning share: the tiny InternVL-14B, and drawn images."""

import functools
import json
from pathlib import Path

from PIL import Image, ImageDraw
from transformers import AutoModel, AutoProcessor

from tests.parity.golden import golden_root

MODEL = golden_root() / "internvl_14b"
COLORS = ("red", "green", "blue")


@functools.cache
def model_and_processor():
    return AutoModel.from_pretrained(MODEL).eval(), AutoProcessor.from_pretrained(MODEL)


def drawing(color: str, number: int) -> Image.Image:
    """A disc on white, wider for a higher number."""
    picture = Image.new("RGB", (60 + 12 * number, 50), "white")
    ImageDraw.Draw(picture).ellipse((4 * number, 5, 40 + 8 * number, 45), fill=color)
    return picture


def draw_classes(folder: Path, per_class: int = 2) -> Path:
    for color in COLORS:
        (folder / f"{color}_dog").mkdir(parents=True)
        for number in range(per_class):
            drawing(color, number).save(folder / f"{color}_dog" / f"{number}.png")
    return folder


def write_pairs(folder: Path, per_class: int = 2) -> Path:
    """Two captions an image, in a .jsonl that names the images from its own folder."""
    draw_classes(folder / "pictures", per_class)
    lines = [
        {
            "image": f"pictures/{color}_dog/{number}.png",
            "captions": [f"the {color} dog in the house", f"{number} {color} boat on the river"],
        }
        for color in COLORS
        for number in range(per_class)
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
