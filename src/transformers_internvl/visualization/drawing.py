# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Attention drawn over images (the extra `look`)."""

from pathlib import Path
from typing import Any

import torch

from .answer import Answer
from .attention import ImageAttention

COLUMNS = 4
PANEL = 3.0


def draw_attention(answer: Answer, path: str | Path, *, columns: int = COLUMNS, panel: float = PANEL) -> None:
    """Write an image with a panel for the mean over the answer and one for each of its tokens.

    A panel shows the image, the lines between its tiles, and the attention over tiles and thumbnail together. Black is
    none; the brightest colour is the most that the token has anywhere in the images. The title is the token, its
    probability, and the share of its attention that goes to the image. Boxes that the answer names are drawn into the
    first panel, with their confidence. Each image has rows of its own. Characters that the font lacks are squares.

    Args:
        answer: of `explain_answer`.
        path: of the image; the ending chooses the format, PNG without one.
        columns: panels side by side.
        panel: width of a panel in inches, 100 pixels each.

    Raises:
        ImportError: matplotlib is not there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib: `pip install 'transformers_internvl[look]'`.") from error
    panels = len(answer.tokens) + 1
    columns = min(columns, panels)
    rows = -(-panels // columns)  # of one image
    height = (panel + 0.5) * rows * len(answer.images) + 0.5
    figure = Figure(figsize=(panel * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows * len(answer.images), columns, squeeze=False)
    figure.suptitle(_plain(f"{answer.text}   (confidence {answer.confidence:.2f})"), parse_math=False)
    maps = [torch.cat([image.joined.mean(0)[None], image.joined]) for image in answer.images]
    brightest = torch.stack([values.amax((1, 2)) for values in maps]).amax(0)  # (A + 1,): of all images
    names = ["whole answer"]
    for token, probability in zip(answer.tokens, answer.probabilities, strict=True):
        names.append(f"{_plain(repr(token))} p {probability:.2f}")
    for number, (image, values) in enumerate(zip(answer.images, maps, strict=True)):
        own = axes[number * rows : (number + 1) * rows].flatten()
        which = f"image {number + 1}, " if len(answer.images) > 1 else ""
        for place, name, shown, most in zip(own, names, values, brightest, strict=False):
            _panel(place, image, shown, f"{which}{name}\nshare {shown.sum():.2f}", most.item())
        for unused in own[panels:]:
            unused.set_axis_off()
    for box in answer.boxes:
        _outline(axes[0, 0], box.region, _plain(f"{box.label} {box.confidence:.2f}"))
    figure.savefig(path, dpi=100, metadata={"Software": None} if Path(path).suffix in ("", ".png") else None)


def _panel(axes: Any, image: ImageAttention, values: torch.Tensor, title: str, brightest: float) -> None:
    left, top, right, bottom = image.box
    width, height = image.image.size
    axes.imshow(image.image, extent=(0, width, height, 0))
    axes.imshow(
        values.numpy(),
        extent=(left, right, bottom, top),
        cmap="inferno",
        alpha=0.6,
        interpolation="nearest",
        vmin=0,
        vmax=brightest,
    )
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
