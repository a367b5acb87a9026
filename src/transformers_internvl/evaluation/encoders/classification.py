# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Zero-shot classification of images and videos, with the published sentences and class names."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from ...conversion.files.folders import write_whole
from ..data import Item, ItemImages, read_class_folder
from ..zero_shot import classify_images, classify_videos, ranks_of_right, zero_shot_classifier
from ..zero_shot_prompts import names_of_folders, published_templates
from .measure import Measured, Setup

CLASSES = "classes.safetensors"
"""The vectors of the classes, in the folder of the results."""


class ZeroShot:
    """Accuracy on a folder with a folder of images (or videos) for each class; see [`Measure`]."""

    def __init__(self, setup: Setup):
        self.setup, benchmark = setup, setup.benchmark
        self.folders, items = read_class_folder(setup.source)
        self.names = names_of_folders(self.folders, str(benchmark.prompt_set), benchmark.language)
        self.templates = published_templates(str(benchmark.prompt_set), benchmark.language)
        self.items = in_turns(items)[: setup.limit]
        self.indexes = [_index(item, setup.source) for item in self.items]
        self.settings = {"frames": setup.num_frames} if benchmark.is_video else {}
        self._classes = torch.zeros(0)

    def prepare(self) -> None:
        """The vectors of the classes: made by the first rank, read by all."""
        path = self.setup.folder / CLASSES
        if self.setup.ranks.rank == 0 and not path.exists():
            names = [[name] for name in self.names]
            made = zero_shot_classifier(self.setup.model, self.setup.processor, names, self.templates)
            write_whole(path, save({"classes": made}))
        self.setup.ranks.wait()
        self._classes = load_file(path)["classes"]
        if len(self._classes) != len(self.names):
            raise ValueError(f"{path} has {len(self._classes)} classes, but the data {len(self.names)}: remove it.")

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Of each item the class that was found, and the rank of the right one."""
        items = [self.items[position] for position in positions]
        model, processor, mode = self.setup.model, self.setup.processor, self.setup.mode
        if self.setup.benchmark.is_video:
            paths, frames = [item.path for item in items], self.setup.num_frames
            scores = classify_videos(model, processor, paths, self._classes, num_frames=frames, mode=mode)
        else:
            scores = classify_images(
                model, processor, ItemImages(items), self._classes, mode=mode, batch_size=len(items)
            )
        return ranked_lines(scores, [item.label for item in items], self.folders)

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """Top-1 and top-5 accuracy, and the mean over classes of the former."""
        return accuracy(lines, self.setup.benchmark.figure)


def in_turns(items: Sequence[Item]) -> list[Item]:
    """Items of classes in turns: the first of each class, then the second of each, and so on."""
    places: dict[int, int] = defaultdict(int)
    keyed = []
    for item in items:
        keyed.append((places[item.label], item.label, item))
        places[item.label] += 1
    return [item for *_, item in sorted(keyed, key=lambda entry: entry[:2])]


def _index(item: Item, root: Path) -> str:
    return item.path.relative_to(root).as_posix()


def ranked_lines(scores: torch.Tensor, labels: Sequence[int], names: Sequence[str]) -> list[dict[str, Any]]:
    """A line for each item: the class of the highest score, the right one, and how many come before that."""
    ranks = ranks_of_right(scores, labels).tolist()
    found = scores.argmax(dim=1).tolist()
    return [
        {"prediction": names[best], "answer": names[label], "rank": rank}
        for best, label, rank in zip(found, labels, ranks, strict=True)
    ]


def accuracy(lines: Sequence[Mapping[str, Any]], figure: str | None) -> Measured:
    """Shares in percent, from the ranks of the right classes.

    Args:
        lines: of [`ranked_lines`], with `index`.
        figure: the key of the table that is the published number.
    """
    by_class: dict[str, list[bool]] = defaultdict(list)
    for line in lines:
        by_class[line["answer"]].append(line["rank"] == 0)
    top1, top5 = (100 * sum(line["rank"] < k for line in lines) / len(lines) for k in (1, 5))
    recalls = [100 * sum(hits) / len(hits) for hits in by_class.values()]
    table = {
        "top1": top1,
        "top5": top5,
        "mean_of_top1_and_top5": (top1 + top5) / 2,
        "mean_per_class": sum(recalls) / len(recalls),
    }
    predictions = [
        {**{name: line[name] for name in ("index", "prediction", "answer")}, "score": float(line["rank"] == 0)}
        for line in lines
    ]
    return Measured(table[figure or "top1"], table, predictions)


__all__ = ["CLASSES", "ZeroShot", "accuracy", "in_turns", "ranked_lines"]
