# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run: the benchmarks one after another, then scores, report and plot."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...conversion.files.folders import write_whole
from ..benchmarks.asking import Asking
from ..benchmarks.benchmark import Benchmark
from ..benchmarks.questions import Questions
from ..benchmarks.rows import find_benchmark, task_name
from ..benchmarks.tables import SUFFIXES, find_table, open_table
from ..benchmarks.turns import TurnTable
from ..reasoning import best_of_n, majority_vote, vote_by_score
from .answering import Answerer
from .answers import read_answers
from .judge import JudgeModel
from .ranks import Ranks
from .report import Result, result_of, with_means, write_scores
from .task import Choose, Task, answer_task, score_task, write_predictions


def vote(position: int, answers: Sequence[str], predictions: Sequence[str]) -> int:
    """Majority voting over predictions, as [`Choose`]."""
    return majority_vote(predictions).index


def best_by(score: Callable[[int, Sequence[str]], Sequence[float]], *, weighted_vote: bool = False) -> Choose:
    """Best of N by any scoring function, as [`Choose`]. The first of equals wins.

    Args:
        score: from the position of a question and its answers to one number for each.
        weighted_vote: whether equal predictions add up their scores, and the highest sum wins ([`vote_by_score`]),
            instead of the answer with the highest score ([`best_of_n`]).

    Raises:
        ValueError: the function gives another number of scores than answers, or of one that it is not a number.
    """
    known: dict[tuple[int, str], float] = {}

    def choose(position: int, answers: Sequence[str], predictions: Sequence[str]) -> int:
        new = list(dict.fromkeys(answer for answer in answers if (position, answer) not in known))
        known.update({(position, answer): value for answer, value in zip(new, score(position, new), strict=True)})
        scores = [known[position, answer] for answer in answers]
        return (vote_by_score(predictions, scores) if weighted_vote else best_of_n(answers, scores)).index

    return choose


@dataclass(frozen=True)
class Wanted:
    """A task as a user names it, and what belongs to it.

    Attributes:
        name: of a benchmark or of VLMEvalKit's data set, or the path of a file of questions, or `hf:NAME`.
        data: the folder with the files of questions.
        metric: instead of the benchmark's.
    """

    name: str
    data: str | Path | None = None
    metric: str | None = None


def open_task(wanted: Wanted) -> tuple[Benchmark, Questions]:
    """The benchmark of a name or a file, and its questions.

    Raises:
        ValueError: there is no such benchmark or file, or a benchmark is only the mean of others.
    """
    path = Path(wanted.name)
    if wanted.name.startswith("hf:") or path.suffix in SUFFIXES:
        table = open_table(wanted.name)
        stem = wanted.name.split(":")[1].split("/")[-1] if wanted.name.startswith("hf:") else path.stem
        return Benchmark(task_name(stem), stem), Questions(table, path.parent)
    benchmark = find_benchmark(wanted.name)
    if benchmark.ability != "chat":
        raise ValueError(f"{benchmark.task} has no questions: it measures InternVL-C, InternVL-G or InternViT.")
    if benchmark.mean_of:
        raise ValueError(f"{benchmark.task} is the mean of other tasks: give {','.join(benchmark.mean_of)}.")
    if benchmark.dataset is None and benchmark.script is None and benchmark.unscored is not None:
        raise ValueError(f"{benchmark.name} cannot be run: {benchmark.unscored}.")
    if wanted.data is None:
        raise ValueError(_where_to_get(benchmark))
    try:
        table = find_table(wanted.data, benchmark.file)
    except ValueError as error:
        raise ValueError(f"{error} {_where_to_get(benchmark)}") from error
    if benchmark.turns:
        return benchmark, Questions(TurnTable(table, benchmark.turns), Path(wanted.data), benchmark.where)
    return benchmark, Questions(table, Path(wanted.data), benchmark.where)


def _where_to_get(benchmark: Benchmark) -> str:
    origin = benchmark.origin
    source = f"VLMEvalKit's file is {origin['url']} (md5 {origin['md5']})." if origin else ""
    return (
        f"Give the folder with the questions of {benchmark.name} (`--data`), as {benchmark.file}.tsv. {source}".strip()
    )


def metric_of(benchmark: Benchmark, asking: Asking, chosen: str | None) -> str | None:
    """The metric of a task: the chosen one, else that of whoever wrote the prompts."""
    if chosen is not None:
        return chosen
    if benchmark.on_server:
        return None
    scripts = asking.prompts_for(benchmark) == "scripts"
    return (benchmark.script_metric if scripts else None) or benchmark.metric


def evaluate(
    tasks: Sequence[Task],
    answerer: Answerer | None,
    folder: str | Path,
    *,
    model: str,
    ranks: Ranks | None = None,
    choose: Choose | None = None,
    judge: JudgeModel | None = None,
    quiet: bool = False,
    plot: bool = True,
) -> list[Result]:
    """Ask what was not answered yet, score, and write `scores.json`, `report.md` and `scores.png`.

    Args:
        tasks: the benchmarks.
        answerer: who answers; None = what is there is scored.
        folder: of the results.
        model: its published name, see [`release_name`].
        ranks: this process among all; the first one scores.
        choose: of the answers to a question that was asked several times, the one that counts; None = a vote.
        judge: judges the answers of benchmarks that need one; None = the rules alone are scored.
        quiet: whether there are no progress bars.
        plot: whether `scores.png` is drawn, which needs matplotlib.

    Returns:
        The results; of other ranks than the first an empty list.
    """
    ranks = ranks or Ranks()
    for task in tasks:
        if answerer is not None:
            for turn in range(task.turns):
                _answer_turn(task, turn, answerer, ranks, quiet)
    ranks.wait()
    if ranks.rank > 0:
        return []
    results = [_scored(task, model, choose or vote, judge, plot) for task in tasks]
    results = with_means(results, model)
    write_scores(folder, model, results)
    if plot:
        from .plots import plot_scores

        plot_scores(Path(folder) / "scores.png", model, results)
    return results


def _answer_turn(task: Task, turn: int, answerer: Answerer, ranks: Ranks, quiet: bool) -> None:
    """Ask the questions of one turn, once every rank has answered the turn before."""
    if turn > 0:
        ranks.wait()
    answer_task(task, answerer, rank=ranks.rank, ranks=ranks.count, quiet=quiet or ranks.rank > 0, turn=turn)


def _scored(task: Task, model: str, choose: Choose, judge: JudgeModel | None, plot: bool) -> Result:
    answers = read_answers(task.folder)
    scored = score_task(task, answers, choose, judge=judge)
    write_predictions(task, scored)
    if task.samples > 1:
        _write_curve(task, choose, judge, plot)
    return result_of(task, scored, model)


def numbers_up_to(most: int) -> list[int]:
    """1, 2, 4, ... and `most`.

    >>> numbers_up_to(6)
    [1, 2, 4, 6]
    """
    return sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})


def _write_curve(task: Task, choose: Choose, judge: JudgeModel | None, plot: bool) -> None:
    """Score against the number of answers of each question: `curve.json` and `curve.png`."""
    answers = read_answers(task.folder)
    points: dict[int, float | None] = {}
    for number in numbers_up_to(task.samples):
        scores = score_task(task, answers, choose, number, judge).scores
        points[number] = None if scores is None else scores.overall
    write_whole(task.folder / "curve.json", json.dumps(points, indent=1) + "\n")
    if plot and any(point is not None for point in points.values()):
        from .plots import plot_curve

        plot_curve(task.folder / "curve.png", task.benchmark.task, {task.benchmark.task: points}, "answers a question")


__all__ = ["Wanted", "best_by", "evaluate", "metric_of", "numbers_up_to", "open_task", "vote"]
