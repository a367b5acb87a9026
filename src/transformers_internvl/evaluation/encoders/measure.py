# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is measured of InternVL-C, InternVL-G and InternViT: from which data, and what is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..benchmarks.benchmark import Benchmark
from ..run.ranks import Ranks


@dataclass(frozen=True)
class Setup:
    """What a measure is made from.

    Attributes:
        benchmark: the row.
        mode: one of the row's `modes`.
        data: the folder of all data; the row's `folder` is in it.
        folder: of the results of this task and mode.
        model, processor: [`InternVLDualEncoderModel`] and its processor, or InternViT with a head and its image
            processor.
        ranks: this process among all.
        limit: so many items are measured, the first ones; of classes they take turns. None = all.
        batch_size: items at a time.
        frames: of a video; None = the row's first number.
        seed: of what is trained.
        shared: a folder that several tasks of a run share, where a trained probe is kept.
    """

    benchmark: Benchmark
    mode: str
    data: Path
    folder: Path
    model: Any
    processor: Any
    ranks: Ranks = field(default_factory=Ranks)
    limit: int | None = None
    batch_size: int = 32
    frames: int | None = None
    seed: int = 0
    shared: Path | None = None

    @property
    def source(self) -> Path:
        """The benchmark's own data. Raises `ValueError` where there are none."""
        path = self.data / str(self.benchmark.folder)
        if not path.exists():
            raise ValueError(f"{self.benchmark.task} reads {path}, which does not exist: put its data there.")
        return path

    @property
    def num_frames(self) -> int:
        """Frames of a video."""
        return self.frames or next(iter(self.benchmark.frames), 1)


@dataclass(frozen=True)
class Measured:
    """The result of a task.

    Attributes:
        figure: the number to compare with the published one.
        table: all figures.
        predictions: for `predictions.jsonl`: objects with `index`, `prediction`, `answer` and `score`.
    """

    figure: float
    table: Mapping[str, Any]
    predictions: Sequence[Mapping[str, Any]]


class Measure(Protocol):
    """Items that are measured one by one, and a score of what was found."""

    @property
    def indexes(self) -> Sequence[str]:
        """Names of the items, in order."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides the results, besides model, task and mode."""
        ...

    def prepare(self) -> None:
        """What precedes the items, such as the vectors of classes; kept on disk."""

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """What is found of some items: an object each, which is written down at once."""
        ...

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """The score of the items that were measured, in order."""
        ...


__all__ = ["Measure", "Measured", "Setup"]
