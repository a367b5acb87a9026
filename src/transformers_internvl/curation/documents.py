# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows as datatrove's documents, and the steps that read them, keep them between stages, and drop them.

`text` of a document is the plain text of its row, so that datatrove's own steps work on it. The row itself, with its
images, is in `metadata`, with these keys:

    row     the fields, as read; images are paths, URLs, or bytes of files
    root    what paths in it are below
    set     the name of its set
    scores  what steps found, such as {"judge": 8.0}
    kept    true for rows that a person has kept
"""

import base64
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from ..training.data.rows import UnusableSample, parse_row, read_medium
from .files import WholeFile, part_path, read_lines
from .heuristics import Finding
from .options import one_of
from .rows import has_media, images_of, map_images, plain_text
from .sources import SourceFile, SourceRow, read_rows

PLAN = "sources.json"
"""File of the output folder: the sources, counted."""
_HELD = "(bytes)"


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """Options of every step that finds faults.

    Attributes:
        rows: "all", "text" (rows without image and video) or "media" (the others).
        exempt: names of sets that it passes by.
        action: "drop" takes rows out; "flag" leaves them in, for people to look at. Both are in `review.jsonl`.
    """

    rows: str = "all"
    exempt: tuple[str, ...] = ()
    action: str = "drop"

    def __post_init__(self) -> None:
        one_of("rows", self.rows, ("all", "text", "media"))
        one_of("action", self.action, ("drop", "flag"))

    def concerns(self, document: Document) -> bool:
        """Whether the step looks at a row. Rows that a person has kept are not checked."""
        if document.metadata.get("kept"):
            return False
        return self.takes(document)

    def takes(self, document: Document) -> bool:
        """Whether the row is one of `rows`, and of no exempt set."""
        if document.metadata["set"] in self.exempt:
            return False
        return self.rows == "all" or has_media(document.metadata["row"]) == (self.rows == "media")


@dataclass(frozen=True)
class StepPlace:
    """Where a step stands.

    Attributes:
        output: the run's folder.
        number: of the step in the pipeline file, from 1; 0 is reading.
        name: as the file has it.
    """

    output: str
    number: int
    name: str

    @property
    def folder(self) -> str:
        """Name of its parts."""
        return f"{self.number:02d}-{self.name}"


class Review:
    """The findings of one step in one task. Use as a context manager; the file is there when the task ends well."""

    def __init__(self, place: StepPlace, rank: int):
        self._place = place
        self._file = WholeFile(part_path(place.output, f"review/{place.folder}", rank))

    def __enter__(self) -> Self:
        self._file.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._file.__exit__(*details)

    def add(self, document: Document, finding: Finding, dropped: bool = True) -> None:
        """Write a row down."""
        metadata = document.metadata
        self.add_source(SourceRow(document.id, metadata["row"]), metadata["set"], finding, dropped, metadata["scores"])

    def add_source(
        self,
        row: SourceRow,
        name: str,
        finding: Finding,
        dropped: bool = True,
        scores: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a row down that need not be one. Bytes of images are left out: `where` says where they are."""
        shown = map_images(row.fields, _shown) if scores is not None else row.fields
        line = {
            "where": row.where,
            "set": name,
            "step": self._place.name,
            "number": self._place.number,
            "reason": finding.reason,
            "detail": finding.detail,
            "dropped": dropped,
            "scores": dict(scores or {}),
            "row": shown,
        }
        self._file.file.write(json.dumps(line, ensure_ascii=False, default=_other) + "\n")


def _shown(image: Any) -> Any:
    return f"({len(image)} bytes)" if isinstance(image, bytes) else image


def _other(value: Any) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else str(value)


class ReadSources(PipelineStep):
    """Reads the task's rows. Those that are none go to the review file.

    Args:
        output: the run's folder.
        kept: see [`kept_rows`].
    """

    type, name = "reader", "sources"

    def __init__(self, output: str, kept: frozenset[str] = frozenset()):
        super().__init__()
        self.output, self.place, self.kept = output, StepPlace(output, 0, "read"), kept

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents of a task."""
        sources = [SourceFile(**source) for source in json.loads((Path(self.output) / PLAN).read_bytes())]
        total = sum(source.count for source in sources)
        start, stop = total * rank // world_size, total * (rank + 1) // world_size
        with Review(self.place, rank) as review:
            first = 0
            for source in sources:
                begin, end = max(start - first, 0), min(stop - first, source.count)
                first += source.count
                if begin >= end:
                    continue
                for row in read_rows(source, begin, end):
                    document = self._document(row, source, review)
                    if document is not None:
                        if document.id in self.kept:
                            document.metadata["kept"] = True
                        self.stat_update("rows")
                        yield document

    def _document(self, row: SourceRow, source: SourceFile, review: Review) -> Document | None:
        try:
            if row.error is not None:
                raise UnusableSample(row.where, row.error)
            parse_row(row.fields, row.where, source.root)
            fields = map_images(row.fields, lambda image: image)
            json.dumps(map_images(fields, lambda image: ""))
        except UnusableSample as error:
            reason = error.reason
        except (TypeError, ValueError, RecursionError) as error:
            reason = f"a field cannot be written as JSON: {error}"
        else:
            return document_of(fields, row.where, source.name, source.root)
        self.stat_update("broken")
        review.add_source(row, source.name, Finding("broken row", reason))
        return None


def kept_rows(path: str | Path) -> frozenset[str]:
    """The rows that a person has kept: `where` of the lines of a review file to which `"keep": true` was added.

    Raises:
        ValueError: a line is none of a review file, or no line has `keep`.
        OSError: there is no such file.
    """
    kept, marked = set(), False
    for number, text in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            where, keep = line["where"], line.get("keep", False)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: not a line of a review file: {error!r}") from error
        if not isinstance(keep, bool):
            raise ValueError(f"{path}, line {number}: `keep` should be true or false, got {keep!r:.40}.")
        marked |= "keep" in line
        if keep:
            kept.add(where)
    if not marked:
        raise ValueError(f'{path}: no line has "keep": true, which says that a row is to stay.')
    return frozenset(kept)


def document_of(row: Mapping[str, Any], where: str, name: str, root: str) -> Document:
    """A row as a document; see the top of the module."""
    metadata = {"row": row, "root": root, "set": name, "scores": {}}
    return Document(text=plain_text(row), id=where, metadata=metadata)


def set_row(document: Document, row: dict[str, Any]) -> None:
    """Give a document another row."""
    document.metadata["row"], document.text = row, plain_text(row)


def rooted(document: Document) -> dict[str, Any]:
    """The row with paths of images and videos that do not need the root."""
    root = document.metadata["root"]

    def below(item: Any, kind: str) -> Any:
        return read_medium(item, kind, root, document.id)

    row = map_images(document.metadata["row"], lambda image: below(image, "image"))
    for name in ("video", "videos"):
        if row.get(name):
            value = row[name]
            row[name] = [below(item, "video") for item in value] if isinstance(value, list) else below(value, "video")
    for message in row.get("messages") or ():
        for item in message["content"] if isinstance(message.get("content"), list) else ():
            if isinstance(item, dict) and item.get("type") == "video":
                key = next((key for key in ("video", "path", "url") if item.get(key)), None)
                if key is not None:
                    item[key] = below(item[key], "video")
    return row


def images_in(document: Document) -> list[Any]:
    """The images of a document: paths that can be opened, URLs or bytes."""
    return images_of(rooted(document))


class KeepDocuments(PipelineStep):
    """Writes the documents between two stages, and passes them on."""

    type, name = "writer", "stage"

    def __init__(self, output: str, stage: str):
        super().__init__()
        self.output, self.stage = output, stage

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents."""
        with WholeFile(part_path(self.output, self.stage, rank)) as file:
            for document in data:
                held: list[str | None] = []
                row = map_images(document.metadata["row"], partial(_set_aside, held=held))
                file.line({"id": document.id, "metadata": {**document.metadata, "row": row}, "held": held})
                yield document


def _set_aside(image: Any, held: list[str | None]) -> Any:
    is_bytes = isinstance(image, bytes)
    held.append(base64.b64encode(image).decode() if is_bytes else None)
    return _HELD if is_bytes else image


class KeptDocuments(PipelineStep):
    """Reads what [`KeepDocuments`] wrote in the same task."""

    type, name = "reader", "stage"

    def __init__(self, output: str, stage: str):
        super().__init__()
        self.output, self.stage = output, stage

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents, in order."""
        for line in read_lines(part_path(self.output, self.stage, rank)):
            held, metadata = iter(line["held"]), line["metadata"]

            def restored(image: Any, held: Iterator[str | None] = held) -> Any:
                data = next(held)
                return image if data is None else base64.b64decode(data)

            metadata["row"] = map_images(metadata["row"], restored)
            yield Document(text=plain_text(metadata["row"]), id=line["id"], metadata=metadata)


class Check(PipelineStep):
    """A step that drops or flags the rows with a finding."""

    type = "filter"

    def __init__(self, place: StepPlace, options: StepOptions):
        self.name = place.name
        super().__init__()
        self.place, self.options = place, options

    @abstractmethod
    def findings(self, data: Iterable[Document], rank: int) -> Iterator[tuple[Document, Finding | None]]:
        """The documents in order, each with what is wrong with it; None = nothing."""

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents that stay."""
        with Review(self.place, rank) as review:
            for document, finding in self.findings(data, rank):
                if finding is not None:
                    dropped = self.options.action == "drop"
                    self.stat_update("dropped" if dropped else "flagged")
                    review.add(document, finding, dropped)
                    if dropped:
                        continue
                self.stat_update("forwarded")
                yield document


class RowCheck(Check):
    """A check that looks at rows one by one."""

    @abstractmethod
    def examine(self, document: Document) -> Finding | None:
        """What is wrong with a row; None = nothing. May write into `scores`, or change the row."""

    def findings(self, data: Iterable[Document], rank: int) -> Iterator[tuple[Document, Finding | None]]:
        """The documents in order, each with what [`examine`] says."""
        for document in data:
            yield document, self.examine(document) if self.options.concerns(document) else None


__all__ = [
    "Check",
    "KeepDocuments",
    "KeptDocuments",
    "PLAN",
    "ReadSources",
    "Review",
    "RowCheck",
    "StepOptions",
    "StepPlace",
    "document_of",
    "images_in",
    "kept_rows",
    "rooted",
    "set_row",
]
