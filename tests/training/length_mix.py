# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Synthetic samples of the lengths of InternVL 2.5's training data, to measure packing with.

Token shares of section 4.1 of the report (arXiv:2412.05271): single images 45.92 %, videos 39.79 %, several images
9.37 %, text 4.92 %. Tiles as its rules make them: up to 12 and a thumbnail an image, by the grid of images of
random shape; 8 to 32 frames of one tile; 2 to 8 images that share 24 tiles. 256 tokens a tile. Texts are log-normal.
"""

import numpy as np

from transformers_internvl.processing.images.tiling import count_tiles, tile_budget
from transformers_internvl.training.data.packing import Image, Piece

TOKENS_PER_TILE = 256
# Kind -> share of the tokens.
SHARES = {"single": 0.4592, "video": 0.3979, "several": 0.0937, "text": 0.0492}


def pictures(rng: np.random.Generator, kind: str) -> list[int]:
    """Tiles of each image of a sample."""
    if kind == "text":
        return []
    if kind == "video":
        return [1] * int(rng.integers(8, 33))
    count = 1 if kind == "single" else int(rng.integers(2, 9))
    limit = 12 if kind == "single" else tile_budget(24, count)
    sizes = np.exp(rng.normal(6.5, 0.5, size=(count, 2))).astype(int) + 1  # pixels, 665 in the middle
    return [count_tiles(int(width), int(height), max_tiles=limit) for width, height in sizes]


def sample(rng: np.random.Generator, kind: str, key: int) -> Piece:
    """A question before its images, and an answer."""
    question = int(rng.integers(5, 60))
    answer = int(np.clip(np.exp(rng.normal(5.0 if kind != "text" else 6.2, 0.9)), 4, 6000))
    images, at = [], question
    for tiles in pictures(rng, kind):
        images.append(Image(at, at + tiles * TOKENS_PER_TILE + 2, tiles))
        at = images[-1].stop + 3
    return Piece(key, 0, at + answer, tuple(images), ((at, at + answer),))


def length_mix(count: int, seed: int = 0) -> list[Piece]:
    """`count` samples in random order, drawn so that the kinds have the shares of tokens above."""
    rng = np.random.default_rng(seed)
    means = {kind: np.mean([sample(rng, kind, 0).tokens for _ in range(400)]) for kind in SHARES}
    rates = np.array([SHARES[kind] / means[kind] for kind in SHARES])
    kinds = rng.choice(list(SHARES), size=count, p=rates / rates.sum())
    return [sample(rng, str(kind), key) for key, kind in enumerate(kinds)]
