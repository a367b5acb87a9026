# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl inspect`: grid, tiles and tokens of an image, or frames and tokens of a video, printed and drawn.

Of InternVL3.5-Flash the model is asked, too: which tiles of an image it compresses, in the drawing those in blue.
"""

import argparse
from pathlib import Path
from typing import Any

from PIL import Image

from ..processing.images.tiling import grid_tiles, select_grid
from ..visualization.seen import frame_labels
from ..visualization.tiles import add_caption, as_seen, draw_frames, draw_tiles, frames_as_seen
from .errors import UserError, user_errors
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place

STRIDE_PARTS = (4, 16, 64)  # of a position, by which image tokens may count (`v2pe_stride`)
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")  # endings of their names


def run(arguments: argparse.Namespace) -> None:
    """Print the figures, and write the drawing."""
    path = arguments.image
    is_video = arguments.video or path.is_dir() or path.suffix.lower() in VIDEOS
    if is_video:
        _refuse(arguments, "is for images: a frame is one tile", "max_patches", "relative_threshold")
        _refuse(arguments, "is for images: a frame is one tile", "absolute_threshold", "no_model")
    else:
        _refuse(arguments, f"is for videos; give --video if {path} is one", "num_frames")
    processor = load_processor(model_name(arguments))
    drawing = _video(arguments, processor) if is_video else _image(arguments, processor)
    output = arguments.output or path.with_suffix(".cut.png")
    with user_errors(f"cannot write {output}"):
        drawing.save(output, format="PNG")
    print(f"drawing  {output}")


def _refuse(arguments: argparse.Namespace, reason: str, *names: str) -> None:
    for name in names:
        given = getattr(arguments, name)
        if given is not None and given is not False:
            raise UserError(f"--{name.replace('_', '-')} {reason}.")


# Images -------------------------------------------------------------------------------------------------------------


def _image(arguments: argparse.Namespace, processor: Any) -> Any:
    """Print the grid, tiles and tokens of an image, and draw them."""
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
    counted = f"{tiles} x {tokens} = {tiles * tokens}"
    small = getattr(processor, "compressed_image_seq_length", None)
    if small is None:
        kinds = ("no_model", "relative_threshold", "absolute_threshold")
        _refuse(arguments, "is for InternVL3.5-Flash, whose config.json has `flash_mode`", *kinds)
        print(f"tokens   {counted}")
    else:
        counted = f"{counted} at most, {(tiles - 1) * small + tokens} at least"
        print(f"tokens   {counted}: the router decides by pixels")
        if not arguments.no_model:
            compressed = _compressed_tiles(arguments, processor, image)
            numbers = f" ({', '.join(map(str, compressed))})" if compressed else ""
            left = tiles * tokens - len(compressed) * (tokens - small)
            print(f"router   {len(compressed)} of {tiles} compressed to {small} tokens{numbers}: {left} tokens")
            counted = f"{left}, {len(compressed)} of {tiles} tiles compressed"
    _print_positions(tiles * tokens - len(compressed) * (tokens - (small or tokens)))
    drawing = draw_tiles(image, columns, rows, size, thumbnail=bool(thumbnail), compressed=compressed)
    grid = f"grid {columns} x {rows}{thumbnail}"
    return add_caption(drawing, [f"{image.width} x {image.height} px, {grid}", f"tokens: {counted}"], size)


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
    with user_errors(f"cannot open {path}"):
        try:
            return as_seen(Image.open(path))
        except Image.DecompressionBombError as error:
            raise UserError(f"{path} is too large: {error}") from error


# Videos -------------------------------------------------------------------------------------------------------------


def _video(arguments: argparse.Namespace, processor: Any) -> Any:
    """Print the frames and tokens of a video, and draw the frames that the model gets."""
    videos, path = processor.video_processor, arguments.image
    asked = {} if arguments.num_frames is None else {"num_frames": arguments.num_frames}
    with user_errors(f"cannot read the video {path}"):
        (metadata,) = videos([str(path)], return_metadata=True, **asked)["video_metadata"]
        chosen = [int(index) for index in metadata.frames_indices]
        frames = frames_as_seen(str(path), chosen, videos.max_image_pixels)
    size, tokens = videos.size["height"], processor.image_seq_length
    times = metadata.timestamps if metadata.fps else []
    rate = f", {metadata.duration:.2f} s at {metadata.fps:.4g} frames/s" if metadata.fps and metadata.duration else ""
    described = f"{frames[0].width} x {frames[0].height} px, {metadata.total_num_frames} frames{rate}"
    counted = f"{len(chosen)} x {tokens} = {len(chosen) * tokens}"
    small = getattr(processor, "compressed_image_seq_length", None)
    if small is not None:
        counted = f"{counted} at most, {(len(chosen) - 1) * small + tokens} at least"

    print(f"video    {described}")
    print(f"frames   {len(chosen)}, from 0: {', '.join(map(str, chosen))}")
    if times:
        print(f"seconds  {', '.join(f'{time:.2f}' for time in times)}")
    print(f"tiles    one a frame, {size} x {size} px each")
    print(f"tokens   {counted}, and labels such as {processor.frame_label.format(1)!r}")
    _print_positions(len(chosen) * tokens)
    return add_caption(draw_frames(frames, frame_labels(metadata), size), [described, f"tokens: {counted}"], size)
