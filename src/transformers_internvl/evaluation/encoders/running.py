# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run: items are measured batch by batch and written down at once, then scored, beside the published scores."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ...conversion.files.folders import write_whole
from ..run.answers import LineFile, keep_settings, read_lines
from ..run.report import Result, write_scores
from .captions import Captions
from .classification import ZeroShot
from .measure import Measure, Setup
from .probing import Probe
from .retrieval import Retrieval
from .segments import Segments

MEASURES: dict[str, Callable[[Setup], Measure]] = {
    "classify": ZeroShot,
    "retrieve": Retrieval,
    "caption": Captions,
    "probe": Probe,
    "segment": Segments,
}
"""Ability of a benchmark's row -> what measures it."""


@dataclass
class EncoderTask:
    """A benchmark in one mode.

    Attributes:
        setup: what it is made from.
        name: of the model, for reports.
        measure: of the benchmark's ability.
    """

    setup: Setup
    name: str
    measure: Measure

    @classmethod
    def of(cls, setup: Setup, name: str) -> "EncoderTask":
        """The task of a setup. Raises `ValueError` for an unknown mode, and for data that are missing or broken."""
        benchmark = setup.benchmark
        if setup.mode not in benchmark.modes:
            raise ValueError(f"{benchmark.task} has the modes {', '.join(benchmark.modes)}, not {setup.mode!r}.")
        return cls(setup, name, MEASURES[benchmark.ability](setup))


def measure_items(task: EncoderTask, *, quiet: bool = False) -> int:
    """Measure what was not measured yet. Batches follow from the items alone, whatever was measured already.

    Returns:
        The number of items of this rank that are new.

    Raises:
        ValueError: the folder holds results of other settings, or an item cannot be read.
    """
    setup, measure = task.setup, task.measure
    if setup.ranks.rank == 0:
        benchmark = setup.benchmark
        keep_settings(
            setup.folder, {"model": task.name, "task": benchmark.task, "mode": setup.mode, **measure.settings}
        )
    there = read_lines(setup.folder)
    setup.ranks.wait()  # nobody writes before all have read
    done = sum(index in there for index in measure.indexes)
    if done == len(measure.indexes):
        return 0
    measure.prepare()
    bar = tqdm(total=len(measure.indexes), initial=done, desc=setup.benchmark.task, disable=quiet or None)
    new = 0
    with LineFile(setup.folder / f"answers.rank{setup.ranks.rank}.jsonl") as file, bar:
        for batch in _batches(task):
            names = [measure.indexes[position] for position in batch]
            if all(name in there for name in names):
                continue
            found = zip(names, measure.lines(batch), strict=True)
            lines = [{"index": name, **line} for name, line in found if name not in there]
            file.append(lines)
            new += len(lines)
            bar.update(len(lines) * setup.ranks.count)
    return new


def _batches(task: EncoderTask) -> Iterator[list[int]]:
    """The batches of this rank."""
    size, ranks = task.setup.batch_size, task.setup.ranks
    starts = range(0, len(task.measure.indexes), size)
    for number, start in enumerate(starts):
        if number % ranks.count == ranks.rank:
            yield list(range(start, min(start + size, len(task.measure.indexes))))


def evaluate_encoder(
    tasks: Sequence[EncoderTask], folder: str | Path, *, model: str, quiet: bool = False, plot: bool = True
) -> list[Result]:
    """Measure, score, and write `scores.json`, `report.md` and `scores.png`.

    Args:
        tasks: the benchmarks.
        folder: of the results.
        model: its published name.
        quiet: whether there are no progress bars.
        plot: whether `scores.png` is drawn, which needs matplotlib.

    Returns:
        The results; of other ranks than the first an empty list.
    """
    for task in tasks:
        measure_items(task, quiet=quiet or task.setup.ranks.rank > 0)
        task.setup.ranks.wait()
    if any(task.setup.ranks.rank > 0 for task in tasks):
        return []
    results = [_scored(task, model) for task in tasks]
    write_scores(folder, model, results)
    if plot:
        from ..run.plots import plot_scores

        plot_scores(Path(folder) / "scores.png", model, results)
    return results


def _scored(task: EncoderTask, model: str) -> Result:
    setup, measure = task.setup, task.measure
    there = read_lines(setup.folder)
    measured = measure.score([there[index] for index in measure.indexes])
    lines = [json.dumps(line, ensure_ascii=False) for line in measured.predictions]
    write_whole(setup.folder / "predictions.jsonl", "".join(f"{line}\n" for line in lines))
    return Result(
        setup.benchmark.task,
        setup.mode,
        metric=setup.benchmark.metric,
        score=measured.figure,
        table=measured.table,
        published=setup.benchmark.published.get(f"{model}, {setup.mode}", ()),
        questions=len(measure.indexes),
        answered=len(measure.indexes),
        settings={"model": task.name, **measure.settings},
    )


__all__ = ["MEASURES", "EncoderTask", "evaluate_encoder", "measure_items"]
