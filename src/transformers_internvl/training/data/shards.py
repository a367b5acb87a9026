# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Shards: files of rows that are read from front to back, here or in an object store, and from any place on.

| ending | a row is | its place |
|---|---|---|
| `.jsonl` | a line | byte and number of the line |
| `.tar` | the members of one stem, see [`tar_rows`] | byte of the first header, number |
| `.parquet` | a row | its number |

`.jsonl.gz`, `.tar.gz` and other compressions of `fsspec` are read as well; going to a place in them unpacks what lies
before it. Paths may be those of `fsspec`: `s3://`, `gs://`, `hf://datasets/...`, `https://`.
"""

import gzip
import itertools
import json
import os
import re
import sys
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import fsspec
from fsspec.core import url_to_fs
from fsspec.utils import infer_compression

from ...processing.sources import require_regular_file
from .records import refuse_json_over_lines
from .rows import UnusableSample
from .tar_rows import fields_of, groups_of

SHARD_ENDINGS = (".tar", ".parquet", ".jsonl")
_BATCH = 32  # rows of a Parquet file that are unpacked at a time
_BUFFER = 1 << 20  # bytes of a column that are read at a time
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class ShardRow:
    """A row of a shard.

    Attributes:
        place: where it begins; plain values, for JSON.
        number: which row of the shard it is, from 0.
        where: for errors.
        fields: what it holds, or why it cannot be read.
    """

    place: Any
    number: int
    where: str
    fields: Any


class Shards(Protocol):
    """Rows in numbered shards, each of which is read from front to back, or from the place of a row on.

    Attributes:
        root: what paths of images and videos in their rows are below.
        remote: whether reading may fail for a moment, and is tried again.
    """

    @property
    def root(self) -> str: ...
    @property
    def remote(self) -> bool: ...
    def __len__(self) -> int: ...
    def read(self, shard: int, place: Any = None) -> Iterator[ShardRow]: ...
    def identity(self) -> Any: ...


@dataclass(frozen=True)
class FileShards:
    """Files of one kind, a shard each.

    Attributes:
        paths: of the files, all with the same ending of the table above.
        root: what paths of images and videos in their rows are below.

    Raises:
        ValueError: there are none, or they are of no known kind, or of several.
    """

    paths: Sequence[str]
    root: str = ""

    def __post_init__(self) -> None:
        kinds = {kind_of(path) for path in self.paths}
        if len(kinds) != 1 or None in kinds:
            raise ValueError(
                f"Shards should be files of one kind ({', '.join(SHARD_ENDINGS)}), got {list(self.paths)[:3]}."
            )

    @property
    def kind(self) -> str:
        """The ending that all files have."""
        return str(kind_of(self.paths[0]))

    @property
    def remote(self) -> bool:
        """Whether they lie in another place than this machine's file system."""
        return any(map(is_remote, self.paths))

    def __len__(self) -> int:
        return len(self.paths)

    def identity(self) -> Any:
        """What must not change for places to mean the same: names of files, wherever they lie."""
        return [os.path.basename(path) for path in self.paths]

    def read(self, shard: int, place: Any = None) -> Iterator[ShardRow]:
        """The rows of a shard.

        Args:
            shard: its number.
            place: of the row to begin with; None = the first.

        Raises:
            OSError: it cannot be read.
            ValueError: it is JSON over several lines.
        """
        path = self.paths[shard]
        try:
            with open_shard(path) as file:
                yield from _READERS[self.kind](file, path, place)
        except _network_errors() as error:
            raise OSError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error

    def count(self) -> int | None:
        """How many rows there are, where the files say it (Parquet), else None."""
        if self.kind != ".parquet":
            return None
        return sum(self._rows_in(path) for path in self.paths)

    @staticmethod
    def _rows_in(path: str) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with open_shard(path) as file:
            try:
                return pq.ParquetFile(file).metadata.num_rows
            except pa.ArrowException as error:
                raise ValueError(f"{path} is no Parquet file: {error}") from error


def kind_of(path: str) -> str | None:
    """The ending of [`SHARD_ENDINGS`] that a path has, a compression aside; None for another one."""
    name = str(path).removesuffix("/")
    if infer_compression(name) is not None:
        name = name.rpartition(".")[0]
    return next((ending for ending in SHARD_ENDINGS if name.endswith(ending)), None)


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one of `fsspec`, such as `s3://bucket/file`."""
    return "://" in str(path) or "::" in str(path)


def open_shard(path: str) -> BinaryIO:
    """Open a file for reading, unpacked if it is compressed.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no file, or of a kind of path for which nothing is installed.
    """
    compression = infer_compression(path)
    if not is_remote(path):
        require_regular_file(path)
        if compression is None:
            return open(path, "rb")
    with _fsspec_errors(path):
        return fsspec.open(path, "rb", compression=compression).open()


class _fsspec_errors:  # noqa: N801 (a context)
    """Turns what `fsspec` raises for missing packages and unknown protocols into `ValueError`."""

    def __init__(self, path: str):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ImportError) or (isinstance(error, ValueError) and "rotocol" in str(error)):
            raise ValueError(
                f"{self.path} cannot be read by fsspec: {error} (`s3://` needs s3fs, `gs://` gcsfs.)"
            ) from error


def expand(pattern: str | os.PathLike) -> list[str]:
    """The shards that a path names.

    Args:
        pattern: a file; files by `{000..127}`, `{a,b}`, `*` and `?`; or a folder, all files of one ending in it.

    Raises:
        ValueError: there is no such file, or a folder without shards.
    """
    found = [path for part in _braces(os.fspath(pattern)) for path in _matches(part)]
    if len(set(found)) != len(found):
        raise ValueError(f"{pattern} names a file twice.")
    return found


def _braces(pattern: str) -> list[str]:
    """A pattern without braces: one for each of their values, in order."""
    parts: list[list[str]] = []
    pieces = _BRACES.split(pattern)
    for number, piece in enumerate(pieces):
        bounds = _RANGE.fullmatch(piece) if number % 2 else None
        if bounds:
            first, last = int(bounds[1]), int(bounds[2])
            if last < first:
                raise ValueError(f"{pattern}: a range goes upwards, got {{{piece}}}.")
            width = len(bounds[1]) if bounds[1].startswith("0") else 0
            parts.append([f"{value:0{width}d}" for value in range(first, last + 1)])
        else:
            parts.append(piece.split(",") if number % 2 else [piece])
    return ["".join(chosen) for chosen in itertools.product(*parts)]


def _matches(path: str) -> list[str]:
    """The files of a path without braces."""
    if path.startswith("pipe:"):
        raise ValueError(f"{path}: commands are not run; give a path, or one of fsspec such as s3://bucket/file.")
    with _fsspec_errors(path):
        files, inner = url_to_fs(path)
    if "*" in path or "?" in path:
        found = sorted(files.glob(inner))
    elif kind_of(path) is not None and not files.isdir(inner):
        return [path]  # it is looked for when it is read: a store is asked once a shard
    elif files.isdir(inner):
        names = sorted(str(name) for name in files.ls(inner, detail=False))
        kinds = [[name for name in names if kind_of(name) == ending] for ending in SHARD_ENDINGS]
        found = next((of_kind for of_kind in kinds if of_kind), [])
    else:
        found = []
    if not found:
        raise ValueError(
            f"{path} names no shards: expected files that end with {', '.join(SHARD_ENDINGS)}, a folder of such, or a "
            "pattern such as data/{000..127}.tar or s3://bucket/*.parquet."
        )
    return [files.unstrip_protocol(name) if is_remote(path) else str(name) for name in found]


def _lines(file: BinaryIO, path: str, place: Any) -> Iterator[ShardRow]:
    offset, number, row = (0, 1, 0) if place is None else place
    file.seek(offset)
    while True:
        try:
            line = file.readline()
        except _BREAKS as error:
            yield _broken(path, [offset, number, row], row, error)
            return
        if not line:
            return
        if line.strip():
            where = f"{path}, line {number}"
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError) as error:
                fields = UnusableSample(where, f"not a JSON object: {error}")
            if row == 0 and (isinstance(fields, (list, UnusableSample))):
                file.seek(0)
                refuse_json_over_lines(file, path)
                file.seek(offset + len(line))
            yield ShardRow([offset, number, row], row, where, fields)
            row += 1
        offset, number = offset + len(line), number + 1


def _archive(file: BinaryIO, path: str, place: Any) -> Iterator[ShardRow]:
    begin, number = (0, 0) if place is None else place
    groups = groups_of(file, begin)
    while True:
        try:
            found = next(groups, None)
        except (*_BREAKS, tarfile.TarError) as error:
            yield _broken(path, [begin, number], number, error)
            return
        if found is None:
            return
        begin, stem, group = found
        where = f"{path}, {stem}"
        try:
            fields: Any = fields_of(stem, group, where)
        except UnusableSample as error:
            fields = error
        yield ShardRow([begin, number], number, where, fields)
        number += 1


def _table(file: BinaryIO, path: str, place: Any) -> Iterator[ShardRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = number = 0 if place is None else int(place)
    try:
        table = pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
        begin = 0
        for group in range(table.num_row_groups):
            end = begin + table.metadata.row_group(group).num_rows
            if end > first:
                number = begin
                for batch in table.iter_batches(_BATCH, row_groups=[group]):
                    skipped = min(max(first - number, 0), batch.num_rows)
                    number += skipped
                    for fields in batch.slice(skipped).to_pylist():
                        yield ShardRow(number, number, f"{path}, row {number}", fields)
                        number += 1
            begin = end
    except pa.ArrowException as error:
        yield _broken(path, number, number, error)


def _network_errors() -> tuple[type[Exception], ...]:
    """What clients of object stores raise that is no `OSError`, of those that are loaded."""
    names = (("aiohttp", "ClientError"), ("httpx", "HTTPError"), ("botocore.exceptions", "BotoCoreError"))
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)


# What a compressed file raises that breaks off; `OSError` of a store is none of it.
_BREAKS = (EOFError, zlib.error, gzip.BadGzipFile)
_READERS = {".jsonl": _lines, ".tar": _archive, ".parquet": _table}


def _broken(path: str, place: Any, number: int, error: Exception) -> ShardRow:
    """The row in whose place a shard cannot be read on."""
    reason = f"the file is broken from here on, and the rest of it is left out: {error}"
    where = f"{path}, after {number} rows"
    return ShardRow(place, number, where, UnusableSample(where, reason))


__all__ = ["SHARD_ENDINGS", "FileShards", "ShardRow", "Shards", "expand", "is_remote", "kind_of", "open_shard"]
