# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl inspect`: grid, tiles and tokens of an image, and a drawing of the tiles.

Of InternVL3.5-Flash the model is asked, too: which tiles it compresses, in the drawing those in blue.
"""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..processing.images.tiling import grid_tiles, select_grid, tile_boxes
from .errors import UserError, user_errors
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place

LINE = (255, 64, 0)  # orange: grid lines, numbers
COMPRESSED = (0, 96, 255)  # blue: those of compressed tiles
STRIDE_PARTS = (4, 16, 64)  # of a position, by which image tokens may count (`v2pe_stride`)
MARGIN = 24  # pixels between canvas and thumbnail


def run(arguments: argparse.Namespace) -> None:
    """Print the grid, tiles and tokens, and write the drawing."""
    processor = load_processor(model_name(arguments))
    image = _open(arguments.image)
    settings = processor.image_processor
    size = settings.size["height"]
    limits = {"min_tiles": settings.min_patches, "max_tiles": arguments.max_patches or settings.max_patches}
    if not settings.crop_to_patches:
        limits = {"min_tiles": 1, "max_tiles": 1}
    with user_errors("cannot split the image"):
        columns, rows = select_grid(*image.size, tile_size=size, **limits)
    tiles = grid_tiles(columns, rows, use_thumbnail=settings.use_thumbnail)
    tokens = processor.image_seq_length
    thumbnail = " + thumbnail" if tiles > columns * rows else ""

    print(f"image    {image.width} x {image.height} px")
    print(f"grid     {columns} x {rows} (columns x rows), a canvas of {columns * size} x {rows * size} px")
    print(f"tiles    {columns * rows}{thumbnail} = {tiles}, {size} x {size} px each")
    compressed: list[int] = []
    small = getattr(processor, "compressed_image_seq_length", None)
    if small is None:
        _refuse_flash_options(arguments)
        print(f"tokens   {tiles} x {tokens} = {tiles * tokens}")
    else:
        least = (tiles - 1) * small + tokens
        print(
            f"tokens   {tiles} x {tokens} = {tiles * tokens} at most, {least} at least: the router decides by pixels"
        )
        if not arguments.no_model:
            compressed = _compressed_tiles(arguments, processor, image)
            numbers = f" ({', '.join(map(str, compressed))})" if compressed else ""
            left = tiles * tokens - len(compressed) * (tokens - small)
            print(f"router   {len(compressed)} of {tiles} compressed to {small} tokens{numbers}: {left} tokens")
    _print_positions(tiles * tokens - len(compressed) * (tokens - (small or tokens)))
    output = arguments.output or arguments.image.with_suffix(".cut.png")
    with user_errors(f"cannot write {output}"):
        drawing = draw_tiles(image, columns, rows, size, thumbnail=bool(thumbnail), compressed=compressed)
        drawing.save(output, format="PNG")
    print(f"drawing  {output}")


def _refuse_flash_options(arguments: argparse.Namespace) -> None:
    for name in ("no_model", "relative_threshold", "absolute_threshold"):
        given = getattr(arguments, name)
        if given is not None and given is not False:
            raise UserError(
                f"--{name.replace('_', '-')} is for InternVL3.5-Flash, whose config.json has `flash_mode`."
            )


def _compressed_tiles(arguments: argparse.Namespace, processor: Any, image: Any) -> list[int]:
    """The numbers of the tiles that the model compresses, from 0."""
    import torch

    log_errors_only()
    name = model_name(arguments)
    model = load_chat_model(name, *place(None, "auto"))
    limit = {} if arguments.max_patches is None else {"max_patches": arguments.max_patches}
    pixels = processor.image_processor([image], return_tensors="pt", **limit)["pixel_values"].to(model.device)
    kinds = ("relative_threshold", "absolute_threshold")
    with user_errors(f"cannot ask the router of {name}"), torch.no_grad():
        thresholds = {f"flash_{kind}": getattr(arguments, kind) for kind in kinds}
        features = model.get_image_features(pixels, flash_mode=True, **thresholds)
    return features.compressed_tiles.nonzero().flatten().tolist()


def _print_positions(tokens: int) -> None:
    """Print how many positions the tokens of an image take, and how many at strides below 1."""
    saved = ", ".join(f"{-(-tokens // part)} at 1/{part}" for part in STRIDE_PARTS)
    print(f"range    {tokens} positions; with v2pe_stride: {saved}")


def _open(path: Path) -> Any:
    from PIL import Image

    from ..processing.images.pixels import image_pixels, to_levels

    with user_errors(f"cannot open {path}"):
        try:
            levels, _ = to_levels(image_pixels(Image.open(path)))  # the pixels that a model gets
            return Image.fromarray(levels.transpose(1, 2, 0))
        except Image.DecompressionBombError as error:
            raise UserError(f"{path} is too large: {error}") from error


def draw_tiles(
    image: Any, columns: int, rows: int, size: int, *, thumbnail: bool, compressed: Collection[int] = ()
) -> Any:
    """Draw the canvas with its grid and tile numbers, and the thumbnail beside it.

    Args:
        image: an RGB `PIL.Image`.
        columns, rows: the grid.
        size: the side of a tile in pixels.
        thumbnail: whether a thumbnail follows the tiles; it gets the number after the last tile's.
        compressed: numbers of tiles to draw in the other colour.
    """
    from PIL import Image, ImageDraw

    width = columns * size
    drawing = Image.new("RGB", (width + (MARGIN + size if thumbnail else 0), rows * size), "white")
    drawing.paste(image.resize((width, rows * size), Image.Resampling.BICUBIC), (0, 0))
    boxes = tile_boxes(columns, rows, size)
    if thumbnail:
        drawing.paste(image.resize((size, size), Image.Resampling.BICUBIC), (width + MARGIN, 0))
        boxes.append((width + MARGIN, 0, width + MARGIN + size, size))
    pen = ImageDraw.Draw(drawing)
    stroke = max(1, size // 112)
    for number, (left, top, right, bottom) in enumerate(boxes):
        line = COMPRESSED if number in compressed else LINE
        pen.rectangle((left, top, right - 1, bottom - 1), outline=line, width=stroke)
        at = (left + 3 * stroke, top + 2 * stroke)
        pen.text(at, str(number), fill=line, font_size=max(10, size // 8), stroke_width=stroke, stroke_fill="white")
    return drawing
