# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Data sets on disk: the original meta JSON, JSONL files that are read line by line, tables of `datasets`.

A meta file names the sets of a training run:

    {"coco": {"root": "data/coco/", "annotation": "data/coco.jsonl", "data_augment": true, "repeat_time": 0.5,
              "max_dynamic_patch": 12, "length": 118287}}

What cannot be used is never exchanged for something else: `SkipPolicy` raises, or leaves out up to so many samples and
says which.
"""

import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from transformers.utils import logging

from ...processing.sources import DECODING_ERRORS, require_regular_file
from .rows import ParsedRow, UnusableSample, parse_row

logger = logging.get_logger(__name__)

_LOOK = 1 << 22  # bytes of a file that are looked at for its form
MAX_REPEAT = 4.0
"""The largest repeat factor of the reports (InternVL 2.5, section 3.3): more would be learned by heart."""

# Key of a set in a meta file -> (types, whether it must be there).
_META_KEYS: dict[str, tuple[tuple[type, ...], bool]] = {
    "root": ((str,), True),
    "annotation": ((str,), True),
    "data_augment": ((bool,), True),
    "repeat_time": ((int, float), True),
    "max_dynamic_patch": ((int,), False),
    "length": ((int,), False),
    "weight": ((int, float), False),
    "question": ((str,), False),
}
_OF_STREAMS = ("weight", "question")


class Rows(Protocol):
    """Rows by number: `len(rows)`, and `rows[i]`, which raises `UnusableSample`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> ParsedRow: ...


@dataclass(frozen=True)
class DataSet:
    """One set of a mixture.

    Attributes:
        name: shown in reports.
        rows: its samples.
        repeat: how often an epoch goes through it, in (0, 4]; a fraction is a random part, drawn again every epoch.
        augment: whether images are degraded by random JPEG; videos never are.
        max_patches: maximum number of tiles of a sample; None = the processor's.
    """

    name: str
    rows: Rows
    repeat: float = 1.0
    augment: bool = False
    max_patches: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.repeat <= MAX_REPEAT:
            raise ValueError(
                f"Set {self.name!r}: the repeat factor should be in (0, {MAX_REPEAT:g}], got {self.repeat}."
            )
        if self.max_patches is not None and self.max_patches < 1:
            raise ValueError(
                f"Set {self.name!r}: a sample has at least one tile, got {self.max_patches} as the limit."
            )


class JsonlRows:
    """The lines of a JSONL file. Only where they begin is kept in memory (16 bytes a line); blank lines are none.

    Args:
        path: the file.
        root: what paths of images and videos are below.

    Raises:
        OSError: there is no such file.
        ValueError: it holds one object over several lines, or one list, instead of an object a line; or it is a pipe
            or a device.
    """

    def __init__(self, path: str | os.PathLike, root: str = ""):
        self.path, self.root = os.fspath(path), root
        require_regular_file(self.path)
        begins, numbers, position = array("q"), array("q"), 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    begins.append(position)
                    numbers.append(number)
                position += len(line)
        self._begins = np.array(begins, dtype=np.int64)  # byte offsets
        self._numbers = np.array(numbers, dtype=np.int64)  # as an editor counts them, from 1
        with open(self.path, "rb") as file:
            refuse_json_over_lines(file, self.path)

    def __len__(self) -> int:
        return len(self._begins)

    def __getitem__(self, index: int) -> ParsedRow:
        return parse_row(self.fields(index), self.where(index), self.root)

    def where(self, index: int) -> str:
        """File and line of a row."""
        return f"{self.path}, line {self._numbers[index]}"

    def fields(self, index: int) -> Any:
        """A row as it is written, which `parse_row` has not seen yet.

        Raises:
            UnusableSample: it is no JSON.
        """
        with open(self.path, "rb") as file:  # not kept open: handles do not survive the start of workers
            file.seek(self._begins[index])
            line = file.readline()
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:  # bad JSON, bytes that are no UTF-8, lists in lists without end
            raise UnusableSample(self.where(index), f"not a JSON object: {error}") from error


def refuse_json_over_lines(file: BinaryIO, path: str) -> None:
    """Raise `ValueError` if a file is one JSON text over its lines, as editors write it: no line of it is a row.

    Args:
        file: at its begin.
        path: for errors.
    """
    start = file.read(_LOOK).decode("utf-8-sig", errors="replace").lstrip()
    first = start.partition("\n")[0].strip()
    try:
        spans_lines = isinstance(json.loads(first), list)
    except RecursionError:
        spans_lines = False
    except ValueError:
        try:
            _, end = json.JSONDecoder().raw_decode(start)
            spans_lines = "\n" in start[:end]
        except (ValueError, RecursionError):
            spans_lines = first in ("{", "[")  # longer than what was looked at, or broken, but not in lines
    if spans_lines or first.startswith("[{"):
        raise ValueError(
            f"{path} holds JSON over several lines, or one list: a .jsonl file has one object a line, without a list "
            "around them. Rewrite it, such as by `jq -c '.[]' FILE` (of a list) or `jq -c . FILE` (of objects)."
        )


@dataclass(frozen=True)
class TableRows:
    """The rows of a `datasets.Dataset`, or of any sequence of dictionaries.

    Attributes:
        name: for errors.
        table: gives a dictionary for a number.
        root: what paths of images and videos are below.
    """

    name: str
    table: Sequence[dict[str, Any]]
    root: str = ""

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> ParsedRow:
        return parse_row(self.fields(index), self.where(index), self.root)

    def where(self, index: int) -> str:
        """Table and number of a row."""
        return f"{self.name}, row {index}"

    def fields(self, index: int) -> Any:
        """A row as it is in the table.

        Raises:
            UnusableSample: a cell cannot be read, such as a broken image in a column that is decoded.
        """
        try:
            return self.table[int(index)]
        except (*DECODING_ERRORS, ValueError) as error:
            raise UnusableSample(self.where(index), f"a cell cannot be read: {error}") from error


def read_meta(path: str | os.PathLike) -> list[DataSet]:
    """The sets of a meta file. Paths in it are relative to the working directory, as in the original code.

    Raises:
        ValueError: it is no meta file; the message names file, set and key.
        OSError: a file is missing.
    """
    return [_read_set(name, entry, where) for name, entry, where in meta_entries(path)]


def meta_entries(path: str | os.PathLike) -> list[tuple[str, dict[str, Any], str]]:
    """The sets of a meta file as they are written: name, checked fields, and where, for errors.

    Raises:
        ValueError: it is no meta file; the message names file, set and key.
    """
    require_regular_file(path)
    try:
        meta = json.loads(Path(path).read_bytes())  # of bytes, which may begin with a byte order mark
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(meta, dict) or not meta:
        raise ValueError(f"{path}: expected an object of sets {{name: {{root, annotation, ...}}}}, got {meta!r:.80}.")
    entries = [(name, entry, f"{path}, set {name!r}") for name, entry in meta.items()]
    for _, entry, where in entries:
        _check_entry(entry, where)
    return entries


def _check_entry(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: expected an object, got {entry!r:.80}.")
    if unknown := sorted(entry.keys() - _META_KEYS.keys()):
        raise ValueError(f"{where}: unknown keys {unknown}; known are {list(_META_KEYS)}.")
    for key, (types, required) in _META_KEYS.items():
        if key not in entry and required:
            raise ValueError(f"{where}: `{key}` is missing.")
        value = entry.get(key, types[0]())
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{where}: `{key}` should be of type {types[-1].__name__}, got {value!r}.")


def _read_set(name: str, entry: dict[str, Any], where: str) -> DataSet:
    if not entry["annotation"].endswith(".jsonl"):
        raise ValueError(f"{where}: `annotation` should be a .jsonl file, got {entry['annotation']!r}.")
    if given := [key for key in _OF_STREAMS if key in entry]:
        raise ValueError(f"{where}: {given} are for sets that are streamed; leave them out, or stream the data.")
    rows = JsonlRows(entry["annotation"], entry["root"])
    if len(rows) == 0:
        raise ValueError(f"{where}: {entry['annotation']} has no lines.")
    if entry.get("length", len(rows)) != len(rows):
        logger.warning(f"{where}: `length` says {entry['length']} samples, the file has {len(rows)}, which counts.")
    return DataSet(name, rows, float(entry["repeat_time"]), entry["data_augment"], entry.get("max_dynamic_patch"))


@dataclass
class SkipPolicy:
    """What happens to samples that cannot be used.

    Attributes:
        limit: so many are left out with a warning, the next one is raised. 0: the first one is raised. Each worker
            process counts for itself.
        skipped: `(where, reason)` of those that were left out.
    """

    limit: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> "SkipPolicy":
        """The policy that `raise` or `skip:N` names.

        Raises:
            ValueError: the text is neither.
        """
        kind, _, limit = text.partition(":")
        if text == "raise":
            return cls()
        if kind == "skip" and limit.isdecimal():
            return cls(int(limit))
        raise ValueError(f"`on_bad_sample` is 'raise', or 'skip:N' with a number; got {text!r}.")

    def __call__(self, error: UnusableSample) -> None:
        """Count a left-out sample, or raise. One that comes again, in another epoch or evaluation, counts once."""
        if (error.where, error.reason) in self.skipped:
            return
        if len(self.skipped) >= self.limit:
            if self.limit:
                raise ValueError(f"{self.limit} unusable samples were left out already; now {error}") from error
            raise error
        self.skipped.append((error.where, error.reason))
        logger.warning(f"Left out {len(self.skipped)} of at most {self.limit} samples: {error}")

    def report(self) -> str:
        """One line a sample."""
        return "\n".join(f"{where}: {reason}" for where, reason in self.skipped)


__all__ = [
    "MAX_REPEAT",
    "DataSet",
    "JsonlRows",
    "Rows",
    "SkipPolicy",
    "TableRows",
    "meta_entries",
    "read_meta",
    "refuse_json_over_lines",
]
