# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawings and figures beside a conversation: tiles and tokens, speed, boxes, attention. Nothing here knows gradio."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..visualization import Answer, SeenImage, add_caption, draw_attention, draw_frames, draw_regions, draw_tiles
from .answering import LOOKED_TOKENS, Progress

CANVAS = 720  # pixels: the longer side of a drawing of tiles, about
LOOKED_IMAGES = 4  # whose attention is drawn
_FRAME = 180  # pixels of a drawn frame


def draw_seen(progress: Progress, processor: Any) -> list[Image.Image]:
    """A drawing for every image of the conversation, and one for the frames of its videos."""
    tokens = getattr(processor, "image_seq_length", 0)
    most = " at most" if getattr(processor, "compressed_image_seq_length", None) else ""
    drawings = []
    for seen in progress.seen:
        if seen.frame is None:
            drawings.append(_tiles(seen, tokens, most))
    frames = [seen for seen in progress.seen if seen.frame is not None]
    if frames:
        drawing = draw_frames([seen.image for seen in frames], [str(seen.frame) for seen in frames], _FRAME)
        counted = f"{len(frames)} frames x {tokens} = {len(frames) * tokens} tokens{most}"
        drawings.append(add_caption(drawing, [counted], 2 * _FRAME))
    return drawings


def _tiles(seen: SeenImage, tokens: int, most: str) -> Image.Image:
    columns, rows = seen.grid
    size = max(48, CANVAS // max(columns + seen.has_thumbnail, rows))
    drawing = draw_tiles(seen.image, columns, rows, size, thumbnail=seen.has_thumbnail)
    thumbnail = " + thumbnail" if seen.has_thumbnail else ""
    lines = [
        f"{seen.image.width} x {seen.image.height} px, grid {columns} x {rows}{thumbnail}",
        f"{seen.tiles} tiles x {tokens} = {seen.tiles * tokens} tokens{most}",
    ]
    return add_caption(drawing, lines, 360)


def figures(progress: Progress) -> str:
    """One line: tokens of prompt and answer, and speed where the answer is complete."""
    parts = [f"Prompt: {progress.prompt_tokens} tokens, {progress.image_tokens} of them of images"]
    if progress.tokens is not None:
        first, rest = progress.seconds
        parts.append(f"answer: {progress.tokens} token{'s' * (progress.tokens != 1)}")
        if progress.tokens > 1 and rest > 0:
            parts.append(f"{(progress.tokens - 1) / rest:.1f} tokens/s")
        parts.append(f"first after {first:.2f} s")
        if progress.stopped:
            parts.append("stopped")
    return ", ".join(parts) + "."


def draw_boxes(progress: Progress) -> Image.Image | None:
    """The image with what the answer located in it; None where it located nothing."""
    return draw_regions(progress.seen[0].image, progress.regions) if progress.regions else None


def draw_looks(answer: Answer, path: Path) -> str:
    """Write the drawing of `draw_attention`, and say what it shows.

    Of a conversation with more images than `LOOKED_IMAGES`, those that get the most attention are drawn.
    """
    images = answer.images
    if len(images) > LOOKED_IMAGES:
        shares = [image.share.mean().item() for image in images]
        chosen = sorted(sorted(range(len(images)), key=shares.__getitem__)[-LOOKED_IMAGES:])
        answer = replace(answer, images=[images[index] for index in chosen])
    draw_attention(answer, path, columns=3, panel=2.2)
    said = f"Confidence {answer.confidence:.2f}. "
    if len(answer.tokens) == LOOKED_TOKENS:
        said += f"The first {LOOKED_TOKENS} tokens of the answer. "
    if len(images) > LOOKED_IMAGES:
        said += f"The {LOOKED_IMAGES} of {len(images)} images that get the most attention. "
    return said + "A panel shows where one token looked; brighter is more."


__all__ = ["CANVAS", "LOOKED_IMAGES", "draw_boxes", "draw_looks", "draw_seen", "figures"]
