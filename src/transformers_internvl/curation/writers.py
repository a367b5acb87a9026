# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where curated rows go: JSONL, the original meta form, Parquet, WebDataset shards. A task writes files of its own."""

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from .documents import PLAN, rooted
from .files import WholeFile, part_path, parts
from .image_files import bytes_of, ending
from .options import one_of
from .rows import map_images
from .tables import ParquetRows

FORMATS = ("meta", "jsonl", "parquet", "webdataset")


@dataclass(frozen=True)
class WriteOptions:
    """The key `write`.

    Attributes:
        format: "jsonl"; "meta", one JSONL file a set and `meta.json`; "parquet"; "webdataset".
        embed_images: whether Parquet files hold the images themselves. WebDataset shards always do.
        rows_a_shard: of WebDataset shards.
    """

    format: str = "jsonl"
    embed_images: bool = False
    rows_a_shard: int = 1000

    def __post_init__(self) -> None:
        one_of("format", self.format, FORMATS)
        if self.embed_images and self.format != "parquet":
            raise ValueError("`embed_images` is an option of Parquet files.")
        if self.rows_a_shard < 1:
            raise ValueError(f"`rows_a_shard` should be 1 or more, got {self.rows_a_shard}.")


class WriteRows(PipelineStep):
    """Writes the rows of a task."""

    type, name = "writer", "rows"

    def __init__(self, output: str, options: WriteOptions):
        super().__init__()
        self.output, self.options = output, options

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents."""
        writer = _WRITERS[self.options.format]
        with ExitStack() as stack:
            write = writer(self, rank, stack)
            for document in data:
                write(document)
                self.stat_update("rows")
                yield document

    def jsonl(self, rank: int, stack: ExitStack) -> Callable[[Document], None]:
        """A file a task."""
        file = stack.enter_context(WholeFile(self.folder / f"{rank:05d}.jsonl"))
        return lambda document: file.line(self._with_files(rooted(document)))

    def meta(self, rank: int, stack: ExitStack) -> Callable[[Document], None]:
        """A part a set, which [`finish_meta`] puts together. Rows keep their root."""
        numbers = {name: index for index, name in enumerate(_sets(self.output))}
        files: dict[str, WholeFile] = {}

        def write(document: Document) -> None:
            name = document.metadata["set"]
            if name not in files:
                files[name] = stack.enter_context(WholeFile(part_path(self.output, f"sets/{numbers[name]}", rank)))
            files[name].line(self._with_files(document.metadata["row"]))

        for number in numbers.values():  # parts of an earlier attempt that was killed
            part_path(self.output, f"sets/{number}", rank).unlink(missing_ok=True)
        return write

    def parquet(self, rank: int, stack: ExitStack) -> Callable[[Document], None]:
        """A file a task."""
        file = stack.enter_context(WholeFile(self.folder / f"{rank:05d}.parquet", binary=True))
        rows = stack.enter_context(ParquetRows(file.file))
        return lambda document: rows.add(rooted(document), self.options.embed_images)

    def webdataset(self, rank: int, stack: ExitStack) -> Callable[[Document], None]:
        """Shards of so many rows."""
        shard = _Shards(self.folder, rank, self.options.rows_a_shard)
        stack.push(shard.close)
        return lambda document: shard.add(rooted(document), document.id)

    @property
    def folder(self) -> Path:
        """Where the rows go."""
        return Path(self.output) / "data"

    def _with_files(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row whose images are files: bytes are written to `images/`, under a name of their content."""
        return map_images(row, self._file)

    def _file(self, image: Any) -> Any:
        if not isinstance(image, bytes):
            return image
        path = Path(self.output).resolve() / "images" / f"{hashlib.sha256(image).hexdigest()}{ending(image)}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_bytes(image)
            os.replace(partial, path)
        return str(path)


class _Shards:
    """WebDataset shards of one task."""

    def __init__(self, folder: Path, rank: int, rows: int):
        self._folder, self._rank, self._rows = folder, rank, rows
        self._count = self._shards = 0
        self._file: WholeFile | None = None

    def add(self, row: dict[str, Any], where: str) -> None:
        if self._count % self._rows == 0:
            self._next()
        key = f"{self._rank:05d}{self._count:08d}"
        images: dict[str, bytes] = {}

        def member(image: Any) -> str:
            data = bytes_of(image, where)
            name = f"{key}.{len(images)}{ending(data)}"
            images[name] = data
            return name

        named = map_images(row, member)
        self._write(f"{key}.json", json.dumps(named, ensure_ascii=False).encode())
        for name, data in images.items():
            self._write(name, data)
        self._count += 1

    def _next(self) -> None:
        self.close(None)
        self._file = WholeFile(self._folder / f"{self._rank:05d}-{self._shards:05d}.tar", binary=True)
        self._file.__enter__()
        self._archive = tarfile.open(fileobj=self._file.file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._shards += 1

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # owner and time are those of nobody: equal rows are equal bytes
        member.size = len(data)
        self._archive.addfile(member, io.BytesIO(data))

    def close(self, kind: Any, *details: Any) -> None:
        """Close the last shard; after an error it is not kept."""
        if self._file is not None:
            if kind is None:
                self._archive.close()
            self._file.__exit__(kind, *(details or (None, None)))
            self._file = None


def finish_meta(output: str) -> None:
    """Put the parts of every set together: `data/NAME.jsonl`, and `data/meta.json` with the entries of the input."""
    folder, meta = Path(output) / "data", dict[str, dict[str, Any]]()
    for number, (name, (root, entry)) in enumerate(_sets(output).items()):
        plain = re.sub(r"[^\w.-]", "_", name)
        path, count = folder / f"{plain}.jsonl", 0
        if path.name in {Path(other["annotation"]).name for other in meta.values()}:
            path = folder / f"{number}-{path.name}"
        with WholeFile(path, binary=True) as whole:
            for part in parts(output, f"sets/{number}"):
                for line in part.open("rb"):
                    whole.file.write(line)
                    count += 1
        if count:  # an empty set is no set of a meta file
            given = entry or {"data_augment": False, "repeat_time": 1}
            meta[name] = {"root": root, "annotation": str(path.resolve()), **given, "length": count}
        else:
            path.unlink()
    with WholeFile(folder / "meta.json") as file:
        file.file.write(json.dumps(meta, indent=1, ensure_ascii=False) + "\n")


def _sets(output: str) -> dict[str, tuple[str, dict[str, Any] | None]]:
    """Name -> root and entry of the meta file, in the order of the input."""
    found: dict[str, tuple[str, dict[str, Any] | None]] = {}
    for source in json.loads((Path(output) / PLAN).read_bytes()):
        found.setdefault(source["name"], (source["root"], source["entry"]))
    return found


_WRITERS: dict[str, Callable[[WriteRows, int, ExitStack], Callable[[Document], None]]] = {
    "jsonl": WriteRows.jsonl,
    "meta": WriteRows.meta,
    "parquet": WriteRows.parquet,
    "webdataset": WriteRows.webdataset,
}

__all__ = ["FORMATS", "WriteOptions", "WriteRows", "finish_meta"]
