# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Draws `example.png` of the README: an image, its tiles, a question, and the answer of the embedded model.

python docs/images/draw_example.py [OUTPUT]
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from transformers import AutoProcessor, pipeline

from transformers_internvl import nano_path, select_grid
from transformers_internvl.nano import sample_images
from transformers_internvl.processing.images.tiling import grid_tiles
from transformers_internvl.visualization import draw_tiles

QUESTION = "What number is written in the image?"
WIDTH, HEIGHT, TOP, SIDE = 860, 300, 56, 200  # pixels: the drawing, its first row, an image
INK, GRAY, ORANGE = (32, 33, 36), (110, 115, 120), (255, 64, 0)


def ask(path: Path) -> str:
    """What the embedded model answers to `QUESTION`."""
    content = [{"type": "image", "path": str(path)}, {"type": "text", "text": QUESTION}]
    answer = pipeline("image-text-to-text", model=str(nano_path()))
    return answer(text=[{"role": "user", "content": content}], return_full_text=False)[0]["generated_text"]


def draw(path: Path, answer: str) -> Image.Image:
    """The image, its tiles as the processor of the embedded model splits it, question and answer; RGB."""
    processor = AutoProcessor.from_pretrained(nano_path())
    settings, image = processor.image_processor, Image.open(path).convert("RGB")
    size = settings.size["height"]
    columns, rows = select_grid(*image.size, tile_size=size, max_tiles=settings.max_patches)
    count = grid_tiles(columns, rows)
    tiles = draw_tiles(image, columns, rows, 2 * size, thumbnail=count > 1)
    tiles = tiles.resize((round(tiles.width * SIDE / tiles.height), SIDE), Image.Resampling.LANCZOS)
    drawing = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(drawing)
    small, large = ImageFont.load_default(17), ImageFont.load_default(40)

    def place(part: Image.Image, left: int, title: str, below: str) -> int:
        drawing.paste(part, (left, TOP))
        pen.text((left, TOP - 28), title, INK, small)
        pen.text((left, TOP + SIDE + 10), below, GRAY, small)
        return left + part.width

    right = place(image.resize((SIDE, SIDE)), 20, "image", f"{image.width} x {image.height} pixels")
    _arrow(pen, right)
    split = f"{columns} x {rows} tiles and a thumbnail: {count} x {processor.image_seq_length} tokens"
    right = place(tiles, right + 60, "tiles", split)
    _arrow(pen, right)
    left = right + 60
    pen.text((left, TOP - 28), "question", INK, small)
    pen.multiline_text((left, TOP), QUESTION.replace(" is ", " is\n"), INK, small, spacing=6)
    pen.text((left, TOP + 84), "answer", INK, small)
    pen.text((left, TOP + 108), answer, ORANGE, large)
    return drawing


def _arrow(pen: ImageDraw.ImageDraw, left: int) -> None:
    """An arrow in the 60 pixels behind `left`, at half the height of the images."""
    middle = TOP + SIDE // 2
    pen.line((left + 14, middle, left + 40, middle), GRAY, 3)
    pen.polygon([(left + 38, middle - 7), (left + 48, middle), (left + 38, middle + 7)], GRAY)


def main() -> None:
    """Write the drawing."""
    path = sample_images()["number"]
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("example.png")
    draw(path, ask(path)).save(output, optimize=True)


if __name__ == "__main__":
    main()
