# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Two runs side by side: scores, and the questions whose score changed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .report import read_scores


@dataclass(frozen=True)
class Change:
    """A question that the two runs do not answer alike.

    Attributes:
        index: of the question.
        before, after: the predictions; None = not answered.
        score_before, score_after: None where the metric has no score of single questions.
    """

    index: str
    before: str | None
    after: str | None
    score_before: float | None
    score_after: float | None

    @property
    def rescored(self) -> bool:
        """Whether the score of the question changed."""
        return self.score_before != self.score_after


@dataclass(frozen=True)
class TaskComparison:
    """A task of both runs."""

    task: str
    mode: str
    score_before: float | None
    score_after: float | None
    changes: tuple[Change, ...]

    @property
    def better(self) -> int:
        """Questions with a higher score in the second run."""
        return sum(_of(change.score_after) > _of(change.score_before) for change in self.changes)

    @property
    def worse(self) -> int:
        """Questions with a lower score in the second run."""
        return sum(_of(change.score_after) < _of(change.score_before) for change in self.changes)


def _of(score: float | None) -> float:
    return 0.0 if score is None else score


def compare_runs(before: str | Path, after: str | Path) -> list[TaskComparison]:
    """The tasks that two runs have in common.

    Raises:
        ValueError: a folder holds no run, or they have no task in common.
    """
    scores = [
        {(task["task"], task["mode"]): task for task in read_scores(folder)["tasks"]} for folder in (before, after)
    ]
    common = [key for key in scores[0] if key in scores[1]]
    if not common:
        raise ValueError(f"The runs {before} and {after} have no task in common.")
    return [
        TaskComparison(
            task,
            mode,
            scores[0][task, mode]["score"],
            scores[1][task, mode]["score"],
            tuple(_changes(_predictions(before, task, mode), _predictions(after, task, mode))),
        )
        for task, mode in common
    ]


def _predictions(folder: str | Path, task: str, mode: str) -> dict[str, dict[str, Any]]:
    path = Path(folder) / task / mode / "predictions.jsonl"
    if not path.exists():  # the mean of other tasks
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["index"]: row for row in rows}


def _changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Sequence[Change]:
    nothing: dict[str, Any] = {}
    found = []
    for index in dict.fromkeys((*before, *after)):
        old, new = before.get(index, nothing), after.get(index, nothing)
        if old.get("prediction") != new.get("prediction") or old.get("score") != new.get("score"):
            found.append(
                Change(index, old.get("prediction"), new.get("prediction"), old.get("score"), new.get("score"))
            )
    return found


def comparison_page(before: str | Path, after: str | Path, tasks: Sequence[TaskComparison]) -> str:
    """The comparison in Markdown; of each task the questions whose score changed."""
    lines = [
        f"# {before} and {after}",
        "",
        "| task | mode | before | after | difference | better | worse | reworded |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for task in tasks:
        old, new = task.score_before, task.score_after
        difference = "" if old is None or new is None else f"{new - old:+.2f}"
        reworded = len(task.changes) - task.better - task.worse
        cells = (task.task, task.mode, _shown(old), _shown(new), difference, task.better, task.worse, reworded)
        lines.append(_row(cells))
    for task in tasks:
        rescored = [change for change in task.changes if change.rescored]
        if rescored:
            lines += [
                "",
                f"## {task.task}, {task.mode}",
                "",
                "| question | before | after | score |",
                "|---|---|---|---|",
            ]
            lines += [
                _row((change.index, _cell(change.before), _cell(change.after), _scores(change))) for change in rescored
            ]
    return "\n".join([*lines, ""])


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _scores(change: Change) -> str:
    return f"{_shown(change.score_before)} -> {_shown(change.score_after)}"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(text: str | None) -> str:
    text = " ".join((text or "-").split()).replace("|", "\\|")
    return text if len(text) <= 80 else f"{text[:77]}..."


__all__ = ["Change", "TaskComparison", "compare_runs", "comparison_page"]
