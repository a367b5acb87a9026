# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where rows come from: meta files, JSONL, Parquet and WebDataset shards, read by ranges of rows.

A range is read without the rows before it, so that each task of a pipeline reads its own part. The tasks take
consecutive ranges: their output one after another has the order of the input, however many they are.
"""

import glob
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..processing.sources import require_regular_file
from ..training.data.records import JsonlRows, read_meta
from .options import one_of
from .rows import images_of, map_images

_EVERY = 4096  # lines of a JSONL file between two known beginnings
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Members of a WebDataset shard that are images."""


@dataclass(frozen=True)
class SourceOptions:
    """An entry of `read`.

    Attributes:
        format: "meta", "jsonl", "parquet" or "webdataset".
        path: a file, or a pattern of files such as `shards/*.tar`.
        root: what paths of images and videos are below; of JSONL and Parquet.
        name: of the set; None = of the file, or of the folder where the path is a pattern. Meta files name their sets.
        question: what a caption (`KEY.txt` of a WebDataset shard) answers, such as "Describe the image.".
    """

    format: str
    path: str
    root: str = ""
    name: str | None = None
    question: str | None = None

    def __post_init__(self) -> None:
        one_of("format", self.format, FORMATS)
        if self.question is not None and self.format != "webdataset":
            raise ValueError("`question` belongs to captions of WebDataset shards.")
        if self.format == "meta" and (self.root or self.name):
            raise ValueError("a meta file has `root` and the names of its sets itself.")


@dataclass(frozen=True)
class SourceFile:
    """One file of rows.

    Attributes:
        name: of its set.
        path: absolute.
        format: "jsonl", "parquet" or "webdataset".
        root: what paths in rows are below.
        count: of rows; of JSONL, of lines.
        size, changed: bytes, and nanoseconds of the last change: a run goes on with the same files only.
        begins: byte offsets of every 4,096th line of a JSONL file.
        entry: the set's entry of the meta file, without `root`, `annotation` and `length`; None = there is none.
        question: see `SourceOptions`.
    """

    name: str
    path: str
    format: str
    root: str
    count: int
    size: int
    changed: int
    begins: tuple[int, ...] = ()
    entry: dict[str, Any] | None = None
    question: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For a file; `SourceFile(**...)` reads it."""
        return {**asdict(self), "begins": list(self.begins)}


@dataclass(frozen=True)
class SourceRow:
    """A row as it is in its file.

    Attributes:
        where: file and line, row or key.
        fields: as read; None if it cannot be read.
        error: why not.
    """

    where: str
    fields: Any
    error: str | None = None


def find_sources(options: SourceOptions) -> list[SourceFile]:
    """The files of an entry of `read`, counted. A JSONL file is read once for this.

    Raises:
        ValueError: no such file, or one that is not of its format.
    """
    if options.format == "meta":
        return _sets_of_meta(options.path)
    paths = sorted(glob.glob(options.path)) if glob.has_magic(options.path) else [options.path]
    if not paths or not os.path.exists(paths[0]):
        raise ValueError(f"`path`: there is no file {options.path}.")
    given = Path(options.path)
    name = options.name or (given.parent.resolve().name if len(paths) > 1 else given.name.partition(".")[0])
    return [_counted(path, name, options.format, options.root, question=options.question) for path in paths]


def _sets_of_meta(path: str) -> list[SourceFile]:
    read_meta(path)  # checks it
    meta = json.loads(Path(path).read_bytes())
    own = ("root", "annotation", "length")
    return [
        _counted(
            entry["annotation"],
            name,
            "jsonl",
            entry["root"],
            entry={key: value for key, value in entry.items() if key not in own},
        )
        for name, entry in meta.items()
    ]


def _counted(path: str, name: str, form: str, root: str, **further: Any) -> SourceFile:
    require_regular_file(path)
    path = os.path.abspath(path)
    root = os.path.abspath(root) if root and "://" not in root else root
    facts = os.stat(path)
    count, begins = _COUNTS[form](path)
    return SourceFile(name, path, form, root, count, facts.st_size, facts.st_mtime_ns, begins, **further)


def _count_lines(path: str) -> tuple[int, tuple[int, ...]]:
    begins, position, count = [], 0, 0
    with open(path, "rb") as file:
        for count, line in enumerate(file, start=1):
            if (count - 1) % _EVERY == 0:
                begins.append(position)
            if count == 1 and not line.lstrip().startswith(b'{"'):
                JsonlRows(path)  # raises for one JSON text over several lines
            position += len(line)
    return count, tuple(begins)


def _count_parquet(path: str) -> tuple[int, tuple[int, ...]]:
    parquet = _parquet()
    try:
        return parquet.ParquetFile(path).metadata.num_rows, ()
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise ValueError(f"{path} is no Parquet file: {error}") from error


def _count_shard(path: str) -> tuple[int, tuple[int, ...]]:
    try:
        with tarfile.open(path) as archive:
            return sum(1 for _ in _groups(archive)), ()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no WebDataset shard (a tar file): {error}") from error


def read_rows(source: SourceFile, start: int, stop: int) -> Iterator[SourceRow]:
    """Rows `start` to `stop` of a file, in order. Blank lines are left out.

    Args:
        source: of [`find_sources`].
        start, stop: as of `range`.
    """
    return _READERS[source.format](source, start, stop)


def _read_lines(source: SourceFile, start: int, stop: int) -> Iterator[SourceRow]:
    if start >= stop:
        return
    with open(source.path, "rb") as file:
        block = start // _EVERY
        file.seek(source.begins[block])
        for number, line in enumerate(file, start=block * _EVERY):
            if number >= stop:
                return
            if number < start or not line.strip():
                continue
            where = f"{source.path}, line {number + 1}"
            try:
                yield SourceRow(where, json.loads(line.decode("utf-8-sig" if number == 0 else "utf-8")))
            except (ValueError, RecursionError) as error:
                yield SourceRow(where, None, f"not a JSON object: {error}")


def _read_parquet(source: SourceFile, start: int, stop: int) -> Iterator[SourceRow]:
    file, first = _parquet().ParquetFile(source.path), 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if first < stop and first + count > start:
            number = first
            for batch in file.iter_batches(256, row_groups=[group]):
                if number < stop and number + len(batch) > start:
                    for offset, row in enumerate(batch.to_pylist(), start=number):
                        if start <= offset < stop:
                            yield SourceRow(f"{source.path}, row {offset}", _unpacked(row))
                number += len(batch)
        first += count


def _unpacked(value: Any) -> Any:
    """A row of a table without what is None in it: Arrow gives every item of a list all the keys of all items."""
    if isinstance(value, dict):
        row = {key: _unpacked(item) for key, item in value.items() if item is not None}
        other = row.pop(OTHER_FIELDS, None)
        return {**json.loads(other), **row} if isinstance(other, str) else row
    return [_unpacked(item) for item in value] if isinstance(value, list) else value


OTHER_FIELDS = "other_fields"
"""Column of our Parquet files: the user's own fields, as JSON."""


def _read_shard(source: SourceFile, start: int, stop: int) -> Iterator[SourceRow]:
    with tarfile.open(source.path) as archive:
        for number, (key, members) in enumerate(_groups(archive)):
            if number >= stop:
                return
            if number < start:
                continue
            where = f"{source.path}, sample {key}"
            try:
                yield SourceRow(where, _sample(archive, key, members, source.question))
            except (tarfile.TarError, ValueError, OSError, EOFError) as error:
                yield SourceRow(where, None, str(error))


def _groups(archive: tarfile.TarFile) -> Iterator[tuple[str, list[tarfile.TarInfo]]]:
    """Consecutive files of one key: the name up to the first point of its last part, as the format has it."""
    key, members = "", list[tarfile.TarInfo]()
    for member in archive:
        if not member.isfile():
            continue
        folder, _, name = member.name.rpartition("/")
        own = f"{folder}/{name.partition('.')[0]}"
        if members and own != key:
            yield key.lstrip("/"), members
            members = []
        key = own
        members.append(member)
    if members:
        yield key.lstrip("/"), members


def _sample(archive: tarfile.TarFile, key: str, members: list[tarfile.TarInfo], question: str | None) -> Any:
    files = {}
    for member in members:
        file = archive.extractfile(member)
        files[member.name.rpartition("/")[2]] = b"" if file is None else file.read()
    images = {name: data for name, data in files.items() if name.lower().endswith(IMAGE_ENDINGS)}
    row_name = next((name for name in files if name.endswith(".json")), None)
    if row_name is None:
        return _caption(files, images, question)
    row = json.loads(files[row_name])
    if not isinstance(row, dict):
        raise ValueError(f"{row_name} should be an object with fields, got {row!r:.80}")
    return _with_members(row, images)


def _caption(files: dict[str, bytes], images: dict[str, bytes], question: str | None) -> dict[str, Any]:
    text = next((data for name, data in files.items() if name.endswith(".txt")), None)
    if text is None or question is None:
        raise ValueError("has no .json, and not both a .txt and a `question` in the pipeline")
    turns = [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": text.decode().strip()}]
    return {"image": list(images.values()), "conversations": turns}


def _with_members(row: dict[str, Any], images: dict[str, bytes]) -> dict[str, Any]:
    """A row with the bytes of its images: those that it names, or all of them where it names none."""
    if not images_of(row):
        return {**row, "image": list(images.values())} if images else row

    def held(image: Any) -> Any:
        if isinstance(image, str) and "://" not in image:
            if image not in images:
                raise ValueError(f"names the image {image!r}, the shard has {sorted(images) or 'none'}")
            return images[image]
        return image

    return map_images(row, held)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: `pip install 'transformers_internvl[curation]'`.") from error
    return parquet


FORMATS = ("meta", "jsonl", "parquet", "webdataset")
_COUNTS = {"jsonl": _count_lines, "parquet": _count_parquet, "webdataset": _count_shard}
_READERS = {"jsonl": _read_lines, "parquet": _read_parquet, "webdataset": _read_shard}

__all__ = [
    "FORMATS",
    "IMAGE_ENDINGS",
    "OTHER_FIELDS",
    "SourceFile",
    "SourceOptions",
    "SourceRow",
    "find_sources",
    "read_rows",
]
