# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Retrieval between images (or videos) and texts. The vectors are kept, since every text is ranked among all."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..caption_files import former_caption, read_captions
from ..data import ItemImages
from ..embedding import embed_images, embed_texts, embed_videos
from ..retrieval import recalls_of, retrieval_ranks
from .measure import Measured, Setup


class Retrieval:
    """Recall at 1, 5 and 10 in both directions; see [`Measure`]. Its items are all images, then all texts."""

    def __init__(self, setup: Setup):
        self.setup = setup
        kind = "video" if setup.benchmark.is_video else "image"
        self.items = read_captions(setup.source, kind)[: setup.limit]
        rule = former_caption if setup.benchmark.former_captions else str
        self.texts = [rule(text) for item in self.items for text in item.texts]
        self.owners = [number for number, item in enumerate(self.items) for _ in item.texts]
        self.indexes = [f"{kind} {n}: {item.path.name}" for n, item in enumerate(self.items)]
        self.indexes += [
            f"text {n}.{k}: {item.path.name}" for n, item in enumerate(self.items) for k, _ in enumerate(item.texts)
        ]
        self.settings = {"frames": setup.num_frames} if setup.benchmark.is_video else {}

    def prepare(self) -> None:
        """Nothing."""

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """The vector of each item, as base64 of float32."""
        count = len(self.items)
        parts = []
        if seen := [position for position in positions if position < count]:
            parts.append(self._image_vectors(seen))
        if said := [position - count for position in positions if position >= count]:
            texts = [self.texts[number] for number in said]
            parts.append(
                embed_texts(self.setup.model, self.setup.processor, texts, batch_size=len(texts), truncation=True)
            )
        return [{"vector": base64.b64encode(row.numpy().tobytes()).decode()} for part in parts for row in part]

    def _image_vectors(self, numbers: Sequence[int]) -> torch.Tensor:
        """Images are squashed to a square, as in the original retrieval."""
        items = [self.items[number] for number in numbers]
        model, processor, mode = self.setup.model, self.setup.processor, self.setup.mode
        if self.setup.benchmark.is_video:
            paths, frames = [item.path for item in items], self.setup.num_frames
            return embed_videos(model, processor, paths, num_frames=frames, mode=mode, fit="squash")
        return embed_images(model, processor, ItemImages(items), mode=mode, batch_size=len(items), fit="squash")

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """Recalls in percent, and the nearest item of each."""
        rows = [np.frombuffer(base64.b64decode(line["vector"]), dtype=np.float32) for line in lines]
        vectors = torch.from_numpy(np.stack(rows))  # (images + texts, E)
        count = len(self.items)
        similarity = vectors[:count] @ vectors[count:].T  # (images, texts)
        ranks = retrieval_ranks(similarity, self.owners)
        table = {name: 100 * value for name, value in recalls_of(*ranks).items()}
        return Measured(
            table[self.setup.benchmark.figure or "mean_recall"], table, self._predictions(similarity, ranks)
        )

    def _predictions(self, similarity: torch.Tensor, ranks: tuple[torch.Tensor, torch.Tensor]) -> list[dict[str, Any]]:
        count = len(self.items)
        nearest = [self.texts[number] for number in similarity.argmax(dim=1).tolist()]
        nearest += [self.items[number].path.name for number in similarity.argmax(dim=0).tolist()]
        answers = [" | ".join(item.texts) for item in self.items]
        answers += [self.items[owner].path.name for owner in self.owners]
        found = [*ranks[0].tolist(), *ranks[1].tolist()]
        return [
            {"index": index, "prediction": near, "answer": answer, "score": float(rank == 0)}
            for index, near, answer, rank in zip(self.indexes, nearest, answers, found, strict=True)
        ][: count + len(self.texts)]


__all__ = ["Retrieval"]
