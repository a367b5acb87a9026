# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of a run: written whole or not at all, in a known place below the output folder.

data/        the curated rows, as `write` says
review.jsonl rows that were dropped or flagged, with the reason
report.md    what the run did, with report.json and plots
replies/     what models answered, one line a reply: a run that goes on asks nothing twice
work/        rows between stages, and parts of the files above, one a task
logs/        datatrove's: which tasks of which stage are done
"""

import glob
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self


class WholeFile:
    """A file that gets its name when everything is written. Use as a context manager.

    After an error, or a kill, the file is not there, or as it was.
    """

    def __init__(self, path: str | Path, binary: bool = False):
        self.path, self._binary = Path(path), binary

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.partial"):  # by a killed run
            left.unlink(missing_ok=True)
        # of this attempt: a generator of an earlier one may be closed later
        self._partial = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.partial")
        self.file: IO[Any] = (
            open(self._partial, "wb")
            if self._binary  # half a surrogate pair is written as JSON has it
            else open(self._partial, "w", encoding="utf-8", errors="backslashreplace")
        )
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.file.close()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)

    def line(self, value: Mapping[str, Any]) -> None:
        """Write a line of JSON."""
        self.file.write(json.dumps(value, ensure_ascii=False) + "\n")


def read_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of JSON, none where there is no file."""
    if Path(path).is_file():
        with open(path, encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def part_path(output: str | Path, name: str, rank: int, ending: str = "jsonl") -> Path:
    """The part of a task: `work/NAME/00003.jsonl`."""
    return Path(output) / "work" / name / f"{rank:05d}.{ending}"


def parts(output: str | Path, name: str, ending: str = "jsonl") -> list[Path]:
    """All parts of a name, in the order of the tasks."""
    return sorted((Path(output) / "work" / name).glob(f"[0-9]*.{ending}"))


__all__ = ["WholeFile", "part_path", "parts", "read_lines"]
