# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Answers on disk, as they come: a run that is killed at any moment goes on where it stopped.

Each rank appends to a file of its own, `answers.rank0.jsonl`, one line an answer, and the file system has it before
the next question is asked. What a killed writer left of a last line is not an answer.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from ...conversion.files.folders import write_whole

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Answer:
    """What a model wrote.

    Attributes:
        index: of the question.
        text: all of it, thoughts included.
        sample: number of the answer, from 0, where a question is asked several times.
        tokens: its length in tokens; None where that is not known.
        cut_off: whether the maximum number of tokens ended it.
    """

    index: str
    text: str
    sample: int = 0
    tokens: int | None = None
    cut_off: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Question and number of the answer."""
        return self.index, self.sample


def read_answers(folder: str | Path) -> dict[tuple[str, int], Answer]:
    """All answers in a folder, of every rank of every run.

    Raises:
        ValueError: a line that is not the last of its file is no answer; the message names file and line.
    """
    found: dict[tuple[str, int], Answer] = {}
    for path in sorted(Path(folder).glob("answers.rank*.jsonl")):
        for where, line in _whole_lines(path):
            answer = _answer(line, where)
            found.setdefault(answer.key, answer)
    return found


def _whole_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """File and number of each line that is not empty, and its bytes."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(
        lines[:-1], start=1
    ):  # behind the last line break there is what a killed writer left
        if line.strip():
            yield f"{path}, line {number}", line


def _answer(line: bytes, where: str) -> Answer:
    try:
        fields = without_lone_surrogates(json.loads(line))
        return Answer(**{**fields, "index": str(fields["index"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{where}: no answer in the form of this package: {error}") from error


def read_lines(folder: str | Path) -> dict[str, dict[str, Any]]:
    """As [`read_answers`], of objects with any fields: by their `index`.

    Raises:
        ValueError: a line that is not the last of its file is no such object; the message names file and line.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(folder).glob("answers.rank*.jsonl")):
        for where, line in _whole_lines(path):
            try:
                fields = json.loads(line)
                found.setdefault(fields["index"], fields)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{where}: no result in the form of this package: {error}") from error
    return found


def without_lone_surrogates(value: Any) -> Any:
    """A value of JSON in which no text has half of a surrogate pair, such as JSON's `"\\ud83d"`: each is U+FFFD then.

    No file and no request can hold such a half. Halves that follow one another and belong together become their
    character.

    >>> without_lone_surrogates(["\\ud83d", "\\ud83d\\ude00"])
    ['\ufffd', '\U0001f600']
    """
    if isinstance(value, str):
        if value.isascii() or not _SURROGATE.search(value):
            return value
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [without_lone_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_lone_surrogates(name): without_lone_surrogates(item) for name, item in value.items()}
    return value


class LineFile:
    """A JSONL file of which one process writes whole lines. Use as a context manager.

    Raises:
        ValueError: another process writes the same file.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock = FileLock(f"{self.path}.lock", timeout=0)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise ValueError(
                f"Another process is writing {self.path}: wait for it, or choose another folder."
            ) from error
        self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed by __exit__)
        self._drop_torn_line()
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        self._lock.release()

    def _drop_torn_line(self) -> None:
        self._file.seek(0)
        data = self._file.read()
        kept = data.rfind(b"\n") + 1
        if kept < len(data):
            self._file.truncate(kept)

    def read(self) -> list[Any]:
        """What is in the file. Raises `ValueError` for a line that is no JSON."""
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n") if line.strip()]

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write lines, in one piece, and wait until the file system has them."""
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        self._file.write(without_lone_surrogates(text).encode())
        os.fsync(self._file.fileno())


class AnswerWriter:
    """Appends answers to the file of one rank. Use as a context manager.

    Raises:
        ValueError: another process writes the same file.
    """

    def __init__(self, folder: str | Path, rank: int = 0):
        self._lines = LineFile(Path(folder) / f"answers.rank{rank}.jsonl")

    def __enter__(self) -> Self:
        self._lines.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._lines.__exit__(*details)

    def append(self, answers: Sequence[Answer]) -> None:
        """Write answers, in one piece, and wait until the file system has them."""
        self._lines.append([asdict(answer) for answer in answers])


def keep_settings(folder: str | Path, settings: Mapping[str, Any], name: str = "settings.json") -> None:
    """Write what decides the answers beside them, in a file of this name, or compare it with what is there.

    Raises:
        ValueError: the folder's answers were made with other settings; the message names them.
    """
    path = Path(folder) / name
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
        return
    try:
        there = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    now = json.loads(json.dumps(settings))
    changed = [name for name in sorted({*there, *now}) if there.get(name) != now.get(name)]
    if changed:
        told = "; ".join(f"{name} was {there.get(name)!r} and is {now.get(name)!r}" for name in changed)
        raise ValueError(
            f"The answers in {Path(folder)} were made with other settings: {told}. Choose another folder."
        )


__all__ = [
    "Answer",
    "AnswerWriter",
    "LineFile",
    "keep_settings",
    "read_answers",
    "read_lines",
    "without_lone_surrogates",
]
