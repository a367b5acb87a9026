# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows as Parquet: one schema for all forms of rows, so that files of different tasks are one table.

A column that a row has no value for is null, which counts as missing. Fields that are none of these columns are kept,
as JSON, in `other_fields`.
"""

import json
from typing import IO, Any, Self

import pyarrow
from pyarrow import parquet

from .image_files import bytes_of
from .rows import map_images
from .sources import OTHER_FIELDS

_TEXT = pyarrow.string()
_IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", _TEXT)])
_ITEM = pyarrow.struct([("type", _TEXT), ("text", _TEXT), ("image", _IMAGE), ("video", _TEXT)])
SCHEMA = pyarrow.schema(
    [
        ("id", _TEXT),
        ("image", pyarrow.list_(_IMAGE)),
        ("images", pyarrow.list_(_IMAGE)),
        ("video", pyarrow.list_(_TEXT)),
        ("videos", pyarrow.list_(_TEXT)),
        ("clip", pyarrow.list_(pyarrow.float64())),
        ("width_list", pyarrow.list_(pyarrow.int64())),
        ("height_list", pyarrow.list_(pyarrow.int64())),
        ("conversations", pyarrow.list_(pyarrow.struct([("from", _TEXT), ("value", _TEXT)]))),
        ("messages", pyarrow.list_(pyarrow.struct([("role", _TEXT), ("content", pyarrow.list_(_ITEM))]))),
        ("question", _TEXT),
        ("chosen", _TEXT),
        ("rejected", _TEXT),
        ("system_prompt", _TEXT),
        ("response", _TEXT),
        ("steps_with_score", pyarrow.list_(pyarrow.struct([("step", _TEXT), ("score", pyarrow.float64())]))),
        (OTHER_FIELDS, _TEXT),
    ]
)
_BATCH = 256


class ParquetRows:
    """Writes rows into a Parquet file. Use as a context manager.

    Args:
        file: opened for writing bytes.
    """

    def __init__(self, file: IO[bytes]):
        self._file, self._rows = file, list[dict[str, Any]]()

    def __enter__(self) -> Self:
        self._writer = parquet.ParquetWriter(self._file, SCHEMA)
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None and self._rows:
            self._flush()
        self._writer.close()

    def add(self, row: dict[str, Any], embed_images: bool) -> None:
        """Add a row.

        Raises:
            ValueError: a turn or message has keys that the columns have no place for, or an image cannot be read.
        """
        self._rows.append(_columns(row, embed_images))
        if len(self._rows) == _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows = []


def _columns(row: dict[str, Any], embed_images: bool) -> dict[str, Any]:
    where = str(row.get("id", "a row"))

    def cell(image: Any) -> dict[str, Any]:
        if embed_images or isinstance(image, bytes):
            return {"bytes": bytes_of(image, where), "path": image if isinstance(image, str) else None}
        return {"bytes": None, "path": str(image)}

    row = {name: value for name, value in map_images(row, cell).items() if value is not None and value != ""}
    for name in ("image", "images", "video", "videos"):
        if name in row and not isinstance(row[name], list):
            row[name] = [row[name]]
    for name in ("width", "height"):
        if name in row and f"{name}_list" not in row:
            row[f"{name}_list"] = [row.pop(name)]
    if "messages" in row:
        row["messages"] = [_message(message, where) for message in row["messages"]]
    for turn in row.get("conversations", ()):
        if other := sorted(turn.keys() - {"from", "value"}):
            raise ValueError(f"{where}: a turn has {other}, which a Parquet table has no column for; write JSONL.")
    if "id" in row:
        row["id"] = str(row["id"])
    own = {name: row.pop(name) for name in [*row] if name not in SCHEMA.names}
    return {**row, OTHER_FIELDS: json.dumps(own, ensure_ascii=False)} if own else row


def _message(message: dict[str, Any], where: str) -> dict[str, Any]:
    content = message.get("content")
    held = [content] if isinstance(content, str) else content or []
    items: list[dict[str, Any]] = [
        {"type": "text", "text": item} if isinstance(item, str) else dict(item) for item in held
    ]
    for item in items:
        for kind in ("image", "video"):
            if item.get("type") == kind and (key := next((k for k in ("path", "url") if item.get(k)), None)):
                item[kind] = item.pop(key)
        item.setdefault("text", "")  # not null, which is no text
    known = {"type", "text", "image", "video"}
    other: list[str] = sorted(
        (message.keys() - {"role", "content"}) | {key for item in items for key in item.keys() - known}
    )
    if other:
        raise ValueError(f"{where}: a message has {other}, which a Parquet table has no column for; write JSONL.")
    return {"role": message["role"], "content": items}


__all__ = ["SCHEMA", "ParquetRows"]
