# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Who answers: a model in this process, a server, or a file of answers. Each is an `Answerer`."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..benchmarks.asking import Asked
from .answers import without_lone_surrogates
from .jobs import Job


@dataclass(frozen=True)
class Reply:
    """What came of one question. `thoughts` are those that a server keeps apart from the answer."""

    text: str
    tokens: int | None = None
    cut_off: bool = False
    thoughts: str | None = None


class Answerer(Protocol):
    """Answers batches of questions.

    Attributes:
        name: the model, for reports.
        batch_size: questions that are asked together.
    """

    name: str
    batch_size: int

    def answer(
        self, batches: Iterable[list[Job]], prepare: Callable[[Job], Asked]
    ) -> Iterator[list[tuple[Job, Reply]]]:
        """Answers as they come, in any order; each list is written down before the next is asked for."""
        ...


class FixedAnswers:
    """A model of fixed answers.

    Args:
        answers: text by index of the question.
        name: for reports.
    """

    batch_size = 1

    def __init__(self, answers: Mapping[str, str], name: str = "fixed answers"):
        self.answers, self.name = answers, name

    def answer(
        self, batches: Iterable[list[Job]], prepare: Callable[[Job], Asked]
    ) -> Iterator[list[tuple[Job, Reply]]]:
        """The answers of the file. Raises `ValueError` for a question without one."""
        for batch in batches:
            for job in batch:
                if job.index not in self.answers:
                    raise ValueError(f"{self.name} has no answer to the question {job.index!r}.")
            yield [(job, Reply(self.answers[job.index])) for job in batch]


def read_fixed_answers(path: str | Path, indexes: Sequence[str]) -> FixedAnswers:
    """The answers of a file.

    A text file has one answer a line, in the order of the questions. A JSONL file has objects with `index` and
    `prediction` (or `answer`, or `text`), as this package and VLMEvalKit write them; a JSON file one such list, or an
    object of answers by index.

    Raises:
        ValueError: another number of lines than questions, or lines of another form.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"There is no file of answers {file}.")
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        lines = [line for line in text.split("\n") if line.strip()]
        return FixedAnswers(_by_index([_object(line, file, n) for n, line in enumerate(lines, 1)], file), file.name)
    if file.suffix == ".json":
        data = json.loads(text)
        if isinstance(data, dict):
            return FixedAnswers(
                {str(index): without_lone_surrogates(str(answer)) for index, answer in data.items()}, file.name
            )
        return FixedAnswers(_by_index(data, file), file.name)
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != len(indexes):
        raise ValueError(
            f"{file} has {len(lines)} lines, but there are {len(indexes)} questions: one line a question."
        )
    return FixedAnswers(dict(zip(indexes, lines, strict=True)), file.name)


def _object(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}, line {number}: not a JSON object: {error}") from error
    return value


def _by_index(rows: Any, file: Path) -> dict[str, str]:
    answers: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        name = next((name for name in ("prediction", "text", "answer") if isinstance(row, dict) and name in row), None)
        if name is None or "index" not in row:
            raise ValueError(f"{file}, answer {number}: expected `index` and `prediction`, got {str(row)[:80]!r}.")
        answers[str(row["index"])] = "" if row[name] is None else without_lone_surrogates(str(row[name]))
    return answers


__all__ = ["Answerer", "FixedAnswers", "Reply", "read_fixed_answers"]
