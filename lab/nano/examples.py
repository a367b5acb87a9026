# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawings as training examples: the tiles that the image processor makes, what each patch shows, prompt and answer.

Legend: N tiles of an image (or of a batch), S tile side in pixels, P patches along a side, T tokens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image

from transformers_internvl.processing.images.tiling import select_grid, tile_boxes

from .drawing import Drawing, Mark, Style, draw
from .model import MAX_TILES, PATCH_SIZE, SYSTEM_MESSAGES, TILE_SIZE, prompt
from .palette import COLORS
from .questions import SHAPES, TASKS

IGNORE = -100
PATCHES = TILE_SIZE // PATCH_SIZE
KINDS = (*SHAPES, "rectangle")

PATCH_CLASSES = {"digit": 11, "kind": 5, "color": 8, "order": 6, "total": 6}
"""What is asked of every patch while training, and the number of classes (0: nothing there): which digit it is part
of, which kind of shape, of which color, its number from the left, and how many the whole image has."""

PATCH_WEIGHTS = {"digit": 4, "kind": 3, "color": 1, "order": 1.5, "total": 1}
"""How much each of these questions counts: digits are by far the hardest, then kinds of shapes."""

MEAN = torch.tensor((0.485, 0.456, 0.406))
STD = torch.tensor((0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Mix:
    """What a stage draws: shares of the tasks, style, tile limit, how often prompts differ from the plain one, and the
    share of images that stay one tile (small ones, with `easy` style: they are quick to learn from)."""

    shares: tuple[float, float, float] = (0.5, 0.2, 0.3)
    style: Style = field(default_factory=Style)
    max_tiles: int = MAX_TILES
    image_last: float = 0.12
    system: float = 0.08
    one_tile: float = 0.0
    easy: Style = field(default_factory=Style)


@dataclass(frozen=True)
class Example:
    """One image: `tiles` (N, S, S, 3) uint8, `patches` (N, P * P, 5) classes, `edges` (N, P * P, 4) (see
    `patch_edges`), `ids` (T,) with `answer_start`, and `hint_at`, the token of the question that names the shape, if
    the image stands before it. A dialog with several answers has their `spans` in `ids`, first and after the last."""

    drawing: Drawing
    tiles: np.ndarray
    patches: np.ndarray
    edges: np.ndarray
    ids: list[int] = field(default_factory=list)
    answer_start: int = 0
    hint_at: int | None = None
    spans: tuple[tuple[int, int], ...] = ()


class Examples(torch.utils.data.Dataset):
    """Example `i` of a stream of `length` examples is the same every time: (seed, i) decides all of it."""

    def __init__(self, tokenizer, mix: Mix, seed: str, length: int, start: int = 0):
        self.tokenizer, self.mix, self.seed, self.length, self.start = tokenizer, mix, seed, length, start

    def __len__(self) -> int:
        return max(0, self.length - self.start)

    def __getitem__(self, index: int) -> Example:
        rng = random.Random(f"{self.seed}-{index + self.start}")
        task = rng.choices(TASKS, self.mix.shares)[0]
        if rng.random() < self.mix.one_tile:
            mix = replace(self.mix, max_tiles=1)
            return build_example(draw(task, rng, self.mix.easy), self.tokenizer, mix, rng)
        return build_example(draw(task, rng, self.mix.style), self.tokenizer, self.mix, rng)


def build_example(drawing: Drawing, tokenizer, mix: Mix, rng: random.Random) -> Example:
    """Split a drawing, label its patches, and write its prompt and answer."""
    tiles, regions = split(drawing.image, mix.max_tiles)
    patches = np.stack([patch_classes(drawing, region, whole=region == regions[-1]) for region in regions])
    edges = np.stack([patch_edges(drawing, classes) for classes in patches])
    return ask(Example(drawing, tiles, patches, edges), tokenizer, mix, rng)


def ask(example: Example, tokenizer, mix: Mix, rng: random.Random) -> Example:
    """The example with the prompt of its drawing's question, and the answer."""
    drawing = example.drawing
    image_first = rng.random() >= mix.image_last
    system = rng.choice(SYSTEM_MESSAGES) if rng.random() < mix.system else None
    text = prompt(drawing.question, len(example.tiles), image_first=image_first, system=system)
    question_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(f"{drawing.answer}<|im_end|>", add_special_tokens=False)["input_ids"]
    hint_at = _shape_token(drawing, tokenizer, question_ids) if image_first else None
    return replace(example, ids=question_ids + answer_ids, answer_start=len(question_ids), hint_at=hint_at)


def _shape_token(drawing: Drawing, tokenizer, ids: list[int]) -> int | None:
    """The place of the (last) token that names the shape whose color is asked for; None in other tasks."""
    if drawing.task != "color":
        return None
    kind = next(kind for kind in SHAPES if kind in drawing.question)
    token = tokenizer(f" {kind}", add_special_tokens=False)["input_ids"][-1]
    return len(ids) - 1 - ids[::-1].index(token)


def split(image: Image.Image, max_tiles: int) -> tuple[np.ndarray, list[tuple[float, float, float, float]]]:
    """The tiles of an image (N, S, S, 3), thumbnail last if there is more than one, and the region each one shows."""
    columns, rows = select_grid(image.width, image.height, tile_size=TILE_SIZE, max_tiles=max_tiles)
    canvas = image.resize((columns * TILE_SIZE, rows * TILE_SIZE), Image.Resampling.BICUBIC)
    boxes = tile_boxes(columns, rows, TILE_SIZE)
    tiles = [canvas.crop(box) for box in boxes]
    x, y = image.width / canvas.width, image.height / canvas.height
    regions = [(left * x, top * y, right * x, bottom * y) for left, top, right, bottom in boxes]
    if len(tiles) > 1:
        tiles.append(image.resize((TILE_SIZE, TILE_SIZE), Image.Resampling.BICUBIC))
        regions.append((0.0, 0.0, float(image.width), float(image.height)))
    return np.stack([np.asarray(tile) for tile in tiles]), regions


def patch_classes(drawing: Drawing, region: tuple[float, float, float, float], *, whole: bool) -> np.ndarray:
    """The classes (P * P, 5) of the patches of the tile that shows `region`; `IGNORE` where a tile does not show it.

    A tile that shows a part of the image does not show the order and number of all marks, nor what a mark is of which
    it shows less than half.
    """
    left, top, right, bottom = region
    classes = np.zeros((PATCHES * PATCHES, 5), dtype=np.int64)
    covered = np.full(PATCHES * PATCHES, 0.3)  # a mark that covers less of a patch than this is not its subject
    edges = np.arange(PATCHES + 1)
    for order, mark in enumerate(drawing.marks, start=1):
        x0, x1 = ((x - left) / (right - left) * PATCHES for x in (mark.box[0], mark.box[2]))
        y0, y1 = ((y - top) / (bottom - top) * PATCHES for y in (mark.box[1], mark.box[3]))
        wide = np.clip(np.minimum(edges[1:], x1) - np.maximum(edges[:-1], x0), 0, 1)
        tall = np.clip(np.minimum(edges[1:], y1) - np.maximum(edges[:-1], y0), 0, 1)
        share = (tall[:, None] * wide[None]).reshape(-1)  # of each patch, (P * P,)
        if share.max() <= 0:
            continue
        middle_x, middle_y = int((x0 + x1) // 2), int((y0 + y1) // 2)
        if 0 <= middle_x < PATCHES and 0 <= middle_y < PATCHES:
            share[middle_y * PATCHES + middle_x] += 1
        visible = wide.sum() * tall.sum() / max(1e-6, (x1 - x0) * (y1 - y0))
        here = share > covered
        covered[here] = share[here]
        classes[here, :4] = _mark_classes(mark, order, visible=whole or visible > 0.55, ordered=whole)
    classes[:, 4] = len(drawing.marks) if whole else IGNORE
    return classes


def _mark_classes(mark: Mark, order: int, *, visible: bool, ordered: bool) -> tuple[int, int, int, int]:
    """Digit, kind, color, order."""
    is_digit = mark.kind.isdigit()
    digit = int(mark.kind) + 1 if is_digit else 0
    kind = 0 if is_digit else KINDS.index(mark.kind) + 1
    color = COLORS.index(mark.color) + 1 if mark.color else IGNORE
    return (digit if visible else IGNORE, kind if visible else IGNORE, color, order if ordered else IGNORE)


def patch_edges(drawing: Drawing, classes: np.ndarray) -> np.ndarray:
    """The box (P * P, 4) of the shape that a patch is part of, relative to the sides of the image, left, top, right,
    bottom; -1 where there is no shape, and in all of a tile that shows a part of the image."""
    width, height = drawing.image.size
    edges = np.full((len(classes), 4), -1, dtype=np.float32)
    here = (classes[:, 1] > 0) & (classes[:, 3] > 0)
    boxes = np.array([mark.box for mark in drawing.marks], dtype=np.float32).reshape(-1, 4)
    edges[here] = boxes[classes[here, 3] - 1] / np.array((width, height, width, height), dtype=np.float32)
    return edges


@dataclass
class Batch:
    """`pixels` (N, S, S, 3) uint8, `patches` (N, P * P, 5), `edges` (N, P * P, 4); `ids`, `labels`, `weights` (B, T).

    `labels` are `IGNORE` outside answers. `weights` are those of the labelled tokens in the loss: one over the root of
    the answer's number of tokens where an example has `spans`, else one.

    `hints` (B, T) are labels for a second task of the language model: where the question names a shape, to think of
    its color already. That is one look from word to image, and makes the longer way to the answer easy to find.
    """

    pixels: torch.Tensor
    patches: torch.Tensor
    edges: torch.Tensor
    ids: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    hints: torch.Tensor
    drawings: list[Drawing] | None = None

    def pixel_values(self) -> torch.Tensor:
        """(N, 3, S, S) float32, normalized as the image processor does."""
        return ((self.pixels.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2).contiguous()


class Collator:
    """Examples to a `Batch`, padded on the right (causal attention never looks there)."""

    def __init__(self, pad_token_id: int, keep_drawings: bool = False):
        self.pad_token_id, self.keep_drawings = pad_token_id, keep_drawings

    def __call__(self, examples: list[Example]) -> Batch:
        longest = max(len(example.ids) for example in examples)
        ids = torch.full((len(examples), longest), self.pad_token_id)
        labels, hints = torch.full_like(ids, IGNORE), torch.full_like(ids, IGNORE)
        weights = torch.ones(ids.shape)
        for row, example in enumerate(examples):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
            for start, end in example.spans or ((example.answer_start, len(example.ids)),):
                labels[row, start:end] = ids[row, start:end]
                weights[row, start:end] = (end - start) ** -0.5 if example.spans else 1.0
            if example.hint_at is not None:  # like labels, one place after the token that predicts it
                hints[row, example.hint_at + 1] = example.ids[example.answer_start]
        pixels = torch.from_numpy(np.concatenate([example.tiles for example in examples]))
        patches = torch.from_numpy(np.concatenate([example.patches for example in examples]))
        edges = torch.from_numpy(np.concatenate([example.edges for example in examples]))
        drawings = [example.drawing for example in examples] if self.keep_drawings else None
        return Batch(pixels, patches, edges, ids, labels, weights, hints, drawings)
