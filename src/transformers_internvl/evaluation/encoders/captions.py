# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Captions by InternVL-G, scored by CIDEr."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..caption_files import read_captions
from ..captioning import caption_images
from ..data import ItemImages
from ..metrics import score_answers
from .measure import Measured, Setup


class Captions:
    """Captions of images, with the original evaluation's prompt and beams; see [`Measure`]."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.items = read_captions(setup.source)[: setup.limit]
        self.indexes = [f"{number}: {item.path.name}" for number, item in enumerate(self.items)]
        self.settings: dict[str, Any] = {}

    def prepare(self) -> None:
        """Nothing."""

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """The caption of each image."""
        images = ItemImages([self.items[position] for position in positions])
        captions = caption_images(self.setup.model, self.setup.processor, images, batch_size=len(images))
        return [{"prediction": caption} for caption in captions]

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """CIDEr times 100, and the other scores of captions."""
        rows = [
            {"answer": list(item.texts), "prediction": line["prediction"]}
            for item, line in zip(self.items, lines, strict=True)
        ]
        scores = score_answers("caption", rows)
        each = scores.samples or (None,) * len(rows)
        predictions = [
            {"index": index, **row, "score": score} for index, row, score in zip(self.indexes, rows, each, strict=True)
        ]
        return Measured(scores.overall or 0.0, scores.table, predictions)


__all__ = ["Captions"]
