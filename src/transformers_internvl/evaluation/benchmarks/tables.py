# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of questions: TSV, JSONL, JSON, Parquet, and tables of `datasets`, as rows of named cells.

Cells of images are read when a row is asked for: a TSV file can hold gigabytes of base64. Empty cells, and those that
pandas reads as missing from a TSV file (`NA`, `None`, `nan`, ...), are None, and columns of numbers are numbers, as in
VLMEvalKit, which reads these files with pandas.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...processing.sources import require_regular_file

MISSING = frozenset(
    ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null")
)  # fmt: skip
"""What `pandas.read_csv` takes for a missing cell."""

HEAVY = ("image", "images", "image_url")
"""Columns that are read when they are asked for."""
_REFERENCE = 64
"""An `image` of so many characters at most is the index of the row that has the image (VLMEvalKit)."""
SUFFIXES = (".tsv", ".jsonl", ".json", ".parquet")


class Table(Protocol):
    """Rows by number. `row(i)` is all of row i, `light(i)` without its images, `where(i)` its place, for messages."""

    columns: tuple[str, ...]

    def __len__(self) -> int: ...
    def light(self, index: int) -> dict[str, Any]: ...
    def row(self, index: int) -> dict[str, Any]: ...
    def where(self, index: int) -> str: ...


class TsvTable:
    """A TSV file as VLMEvalKit has it: a header, quoted cells where they hold tabs, quotes or line breaks.

    Raises:
        ValueError: a row has another number of cells than the header.
    """

    def __init__(self, path: Path):
        require_regular_file(path)
        self.path = path
        with open(path, "rb") as file:
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter="\t")
            header = next(reader, None)
            if not header:
                raise ValueError(f"{path} is empty: expected a header line with the names of the columns.")
            header[0] = header[0].removeprefix("\ufeff")
            self.columns = tuple(header)
            self._spans: list[tuple[int, int, int]] = []  # first byte, behind the last, number of the first line
            self._light: list[dict[str, Any]] = []
            start, first = lines.position, lines.number + 1
            for cells in reader:
                if cells:
                    if len(cells) != len(header):
                        raise ValueError(
                            f"{path}, line {first}: expected {len(header)} cells separated by tabs, as in the header, "
                            f"got {len(cells)}."
                        )
                    self._light.append(_named(self.columns, cells, heavy=False))
                    self._spans.append((start, lines.position, first))
                start, first = lines.position, lines.number + 1
        self._types = {
            name: _type_of(row.get(name) for row in self._light) for name in self.columns if name not in HEAVY
        }
        self._light = [self._typed(row) for row in self._light]

    def _typed(self, row: dict[str, Any]) -> dict[str, Any]:
        """The cells as numbers or truth values, in columns of these."""
        types = self._types
        return {name: cell if cell is None or name not in types else types[name](cell) for name, cell in row.items()}

    def __len__(self) -> int:
        return len(self._light)

    def light(self, index: int) -> dict[str, Any]:
        """A row without its images."""
        return dict(self._light[index])

    def row(self, index: int) -> dict[str, Any]:
        """A row, read from the file."""
        start, end, _ = self._spans[index]
        with open(self.path, "rb") as file:
            file.seek(start)
            text = file.read(end - start).decode("utf-8")
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
        return self._typed(_named(self.columns, cells, heavy=True))

    def where(self, index: int) -> str:
        """File and line."""
        return f"{self.path}, line {self._spans[index][2]}"


class _Lines:
    """The lines of a binary file as text, and how far they have been read."""

    def __init__(self, file: Any):
        self.file, self.position, self.number = file, 0, 0

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.position += len(line)
            self.number += 1
            yield line.decode("utf-8")


def _named(columns: Sequence[str], cells: Sequence[str], *, heavy: bool) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        if heavy or name not in HEAVY or len(cell) <= _REFERENCE:
            row[name] = None if cell in MISSING else cell
    return row


def _type_of(cells: Iterable[str | None]) -> Callable[[str], Any]:
    """What the cells of a column are, as pandas takes them: whole numbers, numbers, truth values, or text.

    Whole numbers with a missing cell among them are floats.
    """
    found = list(cells)
    known = [cell for cell in found if cell is not None]
    if known and all(_WHOLE.fullmatch(cell) for cell in known):
        return int if len(known) == len(found) else float
    if known and all(_NUMBER.fullmatch(cell) for cell in known):
        return float
    if known and len(known) == len(found) and all(cell in _TRUTH for cell in known):
        return _TRUTH.__getitem__
    return str


_WHOLE = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TRUTH = {"True": True, "False": False, "TRUE": True, "FALSE": False, "true": True, "false": False}


class ListTable:
    """Rows in memory, as from JSON, or a table of `datasets`, whose images are read when they are asked for."""

    def __init__(self, rows: Any, name: str, columns: Sequence[str], numbered: str = "row"):
        self.rows, self.name, self.columns, self.numbered = rows, name, tuple(columns), numbered
        kept = [column for column in self.columns if column not in HEAVY]
        # `datasets` reads whole rows unless columns are chosen first
        self._light = rows.select_columns(kept) if hasattr(rows, "select_columns") else rows

    def __len__(self) -> int:
        return len(self.rows)

    def light(self, index: int) -> dict[str, Any]:
        """A row without its images."""
        return {name: value for name, value in self._light[index].items() if not _is_heavy(name, value)}

    def row(self, index: int) -> dict[str, Any]:
        """A row."""
        return dict(self.rows[index])

    def where(self, index: int) -> str:
        """Table and row."""
        return f"{self.name}, {self.numbered} {index + 1}"


def _is_heavy(name: str, value: Any) -> bool:
    return name in HEAVY and not (isinstance(value, (str, int)) and len(str(value)) <= _REFERENCE)


def open_table(source: str | Path) -> Table:
    """The table of a file, of a folder with one such file (or Parquet files), or of `hf:NAME[:CONFIGURATION][:SPLIT]`.

    Raises:
        ValueError: no such file, another kind of file, or one that cannot be read.
    """
    if isinstance(source, str) and source.startswith("hf:"):
        return _hub_table(source.removeprefix("hf:"))
    path = Path(source)
    if path.is_dir():
        return _folder_table(path)
    if not path.exists():
        raise ValueError(f"There is no file {path}.")
    csv.field_size_limit(2**31 - 1)  # base64
    try:
        if path.suffix == ".tsv":
            return TsvTable(path)
        if path.suffix == ".jsonl":
            return _json_table(path, [json.loads(line) for line in _lines_of(path) if line.strip()], "line")
        if path.suffix == ".json":
            return _json_table(path, json.loads(path.read_bytes()), "item")
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a {path.suffix} file of questions: {error}") from error
    if path.suffix == ".parquet":
        return _parquet_table([path], str(path))
    raise ValueError(f"{path}: expected a file of questions of one of the kinds {', '.join(SUFFIXES)}.")


def find_table(data: str | Path, stem: str) -> Table:
    """The questions of a data set in a folder: `stem` with any known suffix, or a folder of that name.

    Raises:
        ValueError: there is none.
    """
    root = Path(data)
    for name in (stem, stem.lower()):
        for suffix in SUFFIXES:
            if (root / f"{name}{suffix}").exists():
                return open_table(root / f"{name}{suffix}")
        if (root / name).is_dir():
            return open_table(root / name)
    raise ValueError(f"{root} holds no questions of {stem}: expected {stem}{', '.join(SUFFIXES)} or a folder {stem}.")


def _lines_of(path: Path) -> Iterator[bytes]:
    require_regular_file(path)
    with open(path, "rb") as file:
        yield from file


def _json_table(path: Path, rows: Any, numbered: str) -> Table:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: expected objects, one a question, got {str(rows)[:80]!r}.")
    columns = dict.fromkeys(name for row in rows for name in row)
    return ListTable(rows, str(path), list(columns), numbered)


def _folder_table(folder: Path) -> Table:
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    parquet = [path for path in found if path.suffix == ".parquet"]
    if parquet and len(parquet) == len(found):
        return _parquet_table(parquet, str(folder))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"{folder} should hold one file of questions ({', '.join(SUFFIXES)}); it holds {names}.")
    return open_table(found[0])


def _parquet_table(paths: Sequence[Path], name: str) -> Table:
    load = _datasets().load_dataset
    table = load("parquet", data_files=[str(path) for path in paths], split="train")
    return ListTable(_undecoded(table), name, table.column_names)


def _hub_table(source: str) -> Table:
    name, *rest = source.split(":")
    if len(rest) > 2:
        raise ValueError(f"Expected hf:NAME[:CONFIGURATION][:SPLIT], got hf:{source}.")
    configuration = rest[0] if len(rest) == 2 else None
    split = rest[-1] if rest else "test"
    table = _datasets().load_dataset(name, configuration, split=split)
    return ListTable(_undecoded(table), f"hf:{source}", table.column_names)


def _undecoded(table: Any) -> Any:
    """Images as bytes or paths: what `open_image` takes."""
    image = _datasets().Image
    for name, feature in table.features.items():
        if isinstance(feature, image):
            table = table.cast_column(name, image(decode=False))
    return table


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "Parquet files and data sets of the Hub need the package datasets: "
            "`pip install 'transformers_internvl[evaluation]'`."
        ) from error
    return datasets


__all__ = ["HEAVY", "MISSING", "SUFFIXES", "ListTable", "Table", "TsvTable", "find_table", "open_table"]
