# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attention drawn over images (the extra `look`)."""

from pathlib import Path
from typing import Any

import torch

from .answer import Answer
from .attention import ImageAttention

COLUMNS = 4  # panels side by side
PANEL = 3.0  # inches


def draw_attention(answer: Answer, path: str | Path) -> None:
    """Write an image with a panel for the mean over the answer and one for each of its tokens.

    A panel shows the image, the lines between its tiles, and the attention over tiles and thumbnail together, each in
    its own scale: the brightest cell is the largest. Its title is the token, its probability, and the share of its
    attention that goes to the image. Boxes that the answer names are drawn into the first panel, with their
    confidence. With several images, the panels of one follow those of another.

    Args:
        answer: of `explain_answer`.
        path: of the image; the ending chooses the format, PNG without one.

    Raises:
        ImportError: matplotlib is not there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: `pip install 'transformers_internvl[look]'`.") from error
    panels = (len(answer.tokens) + 1) * len(answer.images)
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(PANEL * columns, (PANEL + 0.35) * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(rows, columns, squeeze=False).flatten()
    figure.suptitle(_plain(f"{answer.text}   (confidence {answer.confidence:.2f})"), parse_math=False)
    axes = iter(every)
    for number, image in enumerate(answer.images):
        maps = image.joined  # (A, rows * s, columns * s)
        name = f"image {number + 1}, " if len(answer.images) > 1 else ""
        first = next(axes)
        _panel(first, image, maps.mean(0), f"{name}whole answer: share {image.share.mean():.2f}")
        for box in answer.boxes:
            _outline(first, box.region, _plain(f"{box.label} {box.confidence:.2f}"))
        for token, probability, share, values in zip(
            answer.tokens, answer.probabilities, image.share, maps, strict=True
        ):
            title = f"{_plain(repr(token))} p {probability:.2f}, share {share:.2f}"
            _panel(next(axes), image, values, name + title)
    for unused in axes:
        unused.set_axis_off()
    figure.savefig(path, dpi=100, metadata={"Software": None} if Path(path).suffix in ("", ".png") else None)


def _panel(axes: Any, image: ImageAttention, values: torch.Tensor, title: str) -> None:
    left, top, right, bottom = image.box
    width, height = image.image.size
    axes.imshow(image.image, extent=(0, width, height, 0))
    axes.imshow(values.numpy(), extent=(left, right, bottom, top), cmap="inferno", alpha=0.6, interpolation="nearest")
    columns, rows = image.grid
    axes.vlines([width * at / columns for at in range(1, columns)], 0, height, "white", lw=0.7)
    axes.hlines([height * at / rows for at in range(1, rows)], 0, width, "white", lw=0.7)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.set_title(title, fontsize=8, parse_math=False)


def _outline(axes: Any, region: tuple[float, ...], label: str) -> None:
    corners = list(zip(region[::2], region[1::2], strict=True))
    if len(corners) == 2:
        (x1, y1), (x2, y2) = corners
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    axes.fill(*zip(*corners, strict=True), fill=False, edgecolor="lime", lw=1.5)
    axes.text(*corners[0], label, color="lime", fontsize=8, va="bottom", parse_math=False)


def _plain(text: str) -> str:
    """Text on one line, without what matplotlib's font has no glyphs for."""
    words = " ".join(text.split())
    return "".join(character if ord(character) < 0x2000 else "\N{WHITE SQUARE}" for character in words)


__all__ = ["draw_attention"]
