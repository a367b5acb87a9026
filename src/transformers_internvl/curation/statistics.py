# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What rows there are, before and after: counts of every set, and histograms of lengths."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from .files import WholeFile, part_path, parts
from .rows import has_media, images_of, texts_of

COUNTS = ("rows", "with media", "images", "turns", "characters", "answer characters")
"""What is counted of every set."""


class Measure(PipelineStep):
    """Counts the rows that pass.

    Args:
        output: the run's folder.
        name: "before" or "after".
    """

    type = "statistics"

    def __init__(self, output: str, name: str):
        self.name = name
        super().__init__()
        self.output = output

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents."""
        found = Statistics()
        for document in data:
            found.add(document)
            yield document
        with WholeFile(part_path(self.output, f"statistics/{self.name}", rank, "json")) as file:
            file.line(found.as_json())


class Statistics:
    """Counts.

    Attributes:
        sets: name -> what of `COUNTS` -> number.
        lengths: of answers: number of binary digits of the characters -> rows. 8 stands for 128 to 255.
    """

    def __init__(self) -> None:
        self.sets: dict[str, Counter[str]] = {}
        self.lengths: Counter[int] = Counter()

    def add(self, document: Document) -> None:
        """Count a row."""
        row = document.metadata["row"]
        texts = texts_of(row)
        answers = sum(len(text.value) for text in texts if text.role == "assistant")
        numbers = (1, has_media(row), len(images_of(row)), len(texts), sum(len(t.value) for t in texts), answers)
        counts = self.sets.setdefault(document.metadata["set"], Counter())
        counts.update(dict(zip(COUNTS, map(int, numbers), strict=True)))
        self.lengths[answers.bit_length()] += 1

    def __iadd__(self, other: "Statistics") -> "Statistics":
        for name, counts in other.sets.items():
            self.sets.setdefault(name, Counter()).update(counts)
        self.lengths.update(other.lengths)
        return self

    def total(self, name: str) -> int:
        """Of all sets."""
        return sum(counts[name] for counts in self.sets.values())

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {"sets": self.sets, "lengths": {str(key): self.lengths[key] for key in sorted(self.lengths)}}

    @classmethod
    def of(cls, output: str | Path, name: str) -> "Statistics":
        """Of all tasks."""
        whole = cls()
        for path in parts(output, f"statistics/{name}", "json"):
            data = json.loads(path.read_bytes())
            part = cls()
            part.sets = {key: Counter(counts) for key, counts in data["sets"].items()}
            part.lengths = Counter({int(key): count for key, count in data["lengths"].items()})
            whole += part
        return whole


__all__ = ["COUNTS", "Measure", "Statistics"]
