# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The results of a run: `scores.json`, a page in Markdown, and what was published beside them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...conversion.files.folders import write_whole
from ..benchmarks.benchmark import Benchmark, Published
from ..benchmarks.rows import BENCHMARKS
from ..metrics import METRICS
from ..reasoning import max_of_direct_and_cot
from .judge import Judgement
from .judges import JUDGES
from .task import Scored, Task

# Names of checkpoints -> the names under which their scores were published.
_PUBLISHED_AS = {"InternVL2-Llama3-76B": "InternVL2-76B"}


@dataclass(frozen=True)
class Result:
    """The result of one benchmark in one mode.

    Attributes:
        task, mode: of the run.
        metric: what it was scored with.
        score: the number to compare with the published one; None where there is none, `unscored` says why.
        table: the metric's whole table.
        published: of the model, by source.
        questions, answered, cut_off, loops, unfinished_thoughts: counts.
        unscored: why there is no score.
        settings: what the answers depend on.
        judgement: what the judge took; None = none was asked.
    """

    task: str
    mode: str
    metric: str | None
    score: float | None
    table: Mapping[str, Any]
    published: tuple[Published, ...]
    questions: int
    answered: int
    cut_off: int = 0
    loops: int = 0
    unfinished_thoughts: int = 0
    unscored: str | None = None
    settings: Mapping[str, Any] | None = None
    judgement: Judgement | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the first published number."""
        first = next((entry.value for entry in self.published if not isinstance(entry.value, Mapping)), None)
        return None if self.score is None or first is None else self.score - first

    def as_dict(self) -> dict[str, Any]:
        """For `scores.json`."""
        return {
            "task": self.task,
            "mode": self.mode,
            "metric": self.metric,
            "score": self.score,
            "published": [{"value": entry.value, "source": entry.source} for entry in self.published],
            "difference": self.difference,
            "questions": self.questions,
            "answered": self.answered,
            "cut_off": self.cut_off,
            "loops": self.loops,
            "unfinished_thoughts": self.unfinished_thoughts,
            "unscored": self.unscored,
            "judgement": None if self.judgement is None else asdict(self.judgement),
            "table": self.table,
            "settings": self.settings,
        }


def release_name(model: str) -> str:
    """The name under which a checkpoint's scores were published, from its name or path.

    >>> release_name("OpenGVLab/InternVL3-8B-hf"), release_name("/data/InternVL2-Llama3-76B/")
    ('InternVL3-8B', 'InternVL2-76B')
    """
    name = re.split(r"[/\\]", model.rstrip("/\\"))[-1]
    name = re.sub(r"(?i)-hf$", "", name)
    return _PUBLISHED_AS.get(name, name)


def result_of(task: Task, scored: Scored, model: str) -> Result:
    """The result of a task.

    Args:
        task: the benchmark.
        scored: its scores.
        model: the model's published name, see [`release_name`].
    """
    benchmark, scores = task.benchmark, scored.scores
    table: Mapping[str, Any] = {} if scores is None else scores.table
    score = None if scores is None else _figure(benchmark, scores.overall, table)
    return Result(
        task=benchmark.task,
        mode=task.asking.style.mode,
        metric=task.metric,
        score=score,
        table=table,
        published=benchmark.published.get(model, ()),
        questions=scored.questions,
        answered=len(scored.predictions),
        cut_off=scored.cut_off,
        loops=scored.loops,
        unfinished_thoughts=scored.unfinished_thoughts,
        unscored=_why_unscored(task, scored, score),
        settings=task.settings,
        judgement=scored.judgement,
    )


def _figure(benchmark: Benchmark, overall: float | None, table: Mapping[str, Any]) -> float | None:
    if benchmark.figure is None:
        return overall
    value = table.get(benchmark.figure)
    return float(value) if isinstance(value, (int, float)) else None


def _why_unscored(task: Task, scored: Scored, score: float | None) -> str | None:
    how = " (`--judge-url`)" if task.metric in JUDGES else ""
    if scored.ungraded:
        return f"a language model must grade the answers first{how}, into the column {', '.join(scored.ungraded)}"
    if task.metric is not None and METRICS[task.metric].judge and scored.judgement is None:
        return f"a language model grades part of the answers{how}; this is the score of the rules alone"
    if score is not None:
        return None
    if task.benchmark.on_server:
        return "the answers are kept on a server: hand in predictions.jsonl there"
    return task.benchmark.unscored or "the rows define no score"


def with_means(results: Sequence[Result], model: str) -> list[Result]:
    """The results, and those of benchmarks that are the mean of others (MMMU-Pro), where all of these are there."""
    by_task = {(result.task, result.mode): result for result in results}
    added = []
    for benchmark in BENCHMARKS.values():
        for mode in dict.fromkeys(result.mode for result in results):
            parts = [by_task.get((task, mode)) for task in benchmark.mean_of]
            scores = [part.score for part in parts if part is not None and part.score is not None]
            if not parts or len(scores) < len(parts):
                continue
            known = [part for part in parts if part is not None]
            added.append(
                Result(
                    benchmark.task,
                    mode,
                    metric=None,
                    score=sum(scores) / len(scores),
                    table={},
                    published=benchmark.published.get(model, ()),
                    questions=sum(part.questions for part in known),
                    answered=sum(part.answered for part in known),
                )
            )
    return [*results, *added]


def write_scores(folder: str | Path, model: str, results: Sequence[Result]) -> None:
    """Write `scores.json` and `report.md`."""
    data = {"model": model, "tasks": [result.as_dict() for result in results]}
    write_whole(Path(folder) / "scores.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    write_whole(Path(folder) / "report.md", page(model, results))


def page(model: str, results: Sequence[Result]) -> str:
    """The results in Markdown: the published score beside ours, and what is worth knowing of the answers."""
    lines = [f"# {model}", "", *_table(results), ""]
    both = _maxima(results)
    if both:
        lines += ["The papers from InternVL 2.5 on report the higher of direct answers and chain of thought:", ""]
        lines += [f"- {text}" for text in both] + [""]
    notes = [note for result in results for note in _notes(result)]
    if notes:
        lines += ["## Notes", "", *(f"- {note}" for note in dict.fromkeys(notes)), ""]
    for result in results:
        if result.table:
            lines += [f"## {_name(result)}", "", "```json", json.dumps(result.table, indent=1, ensure_ascii=False)]
            lines += ["```", ""]
    return "\n".join(lines)


def _table(results: Sequence[Result]) -> list[str]:
    rows = [
        "| benchmark | mode | score | published | difference | answers | cut off | loops |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        first = next(iter(result.published), None)
        published = "" if first is None else _number(first.value)
        difference = "" if result.difference is None else f"{result.difference:+.2f}"
        answered = str(result.answered) if result.answered == result.questions else f"{result.answered} of "
        answered += "" if result.answered == result.questions else str(result.questions)
        rows.append(
            f"| {_name(result)} | {result.mode} | {_number(result.score)} | {published} | {difference} | {answered} | "
            f"{result.cut_off} | {result.loops} |"
        )
    return rows


def _name(result: Result) -> str:
    benchmark = BENCHMARKS.get(result.task)
    if benchmark is None:
        return result.task
    return f"{benchmark.name}, {benchmark.split}" if benchmark.split else benchmark.name


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number}" for name, number in value.items())
    return f"{value:.2f}"


def _maxima(results: Sequence[Result]) -> list[str]:
    scores = {(result.task, result.mode): result.score for result in results}
    lines = []
    for task in dict.fromkeys(result.task for result in results):
        direct, cot = scores.get((task, "direct")), scores.get((task, "cot"))
        if direct is not None and cot is not None:
            best, mode = max_of_direct_and_cot(direct, cot)
            lines.append(f"{task}: {best:.2f} ({mode})")
    return lines


def _notes(result: Result) -> list[str]:
    notes = [f"{_name(result)}: {entry.source}: {_number(entry.value)}." for entry in result.published]
    benchmark = BENCHMARKS.get(result.task)
    if benchmark is not None and benchmark.note:
        notes.append(f"{_name(result)}: {benchmark.note}.")
    if result.unscored:
        notes.append(f"{_name(result)}: {result.unscored}.")
    if result.judgement is not None:
        notes.append(f"{_name(result)}: {_judged(result.judgement)}")
    if result.cut_off:
        notes.append(f"{_name(result)}: {result.cut_off} answers were cut off at the maximum number of tokens.")
    if result.loops:
        notes.append(f"{_name(result)}: {result.loops} answers end in a loop.")
    if result.unfinished_thoughts:
        notes.append(f"{_name(result)}: the thoughts of {result.unfinished_thoughts} answers do not end.")
    return notes


def _judged(judgement: Judgement) -> str:
    """Who judged, and what it took."""
    took = f"{judgement.replies} replies ({judgement.calls} new), {judgement.tokens_in} tokens in"
    text = f"{judgement.asked} answers were judged by {judgement.model}: {took}, {judgement.tokens_out} out."
    unread = f" No reply could be read for {judgement.unread}: they count as the official code counts them."
    return text + (unread if judgement.unread else "")


def read_scores(folder: str | Path) -> dict[str, Any]:
    """`scores.json` of a run.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = Path(folder) / "scores.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no scores.json: give the folder of a finished `internvl evaluate`.")
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


__all__ = ["Result", "page", "read_scores", "release_name", "result_of", "with_means", "write_scores"]
