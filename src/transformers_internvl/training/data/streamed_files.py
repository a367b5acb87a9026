# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which data are streamed, and the sets that a meta file or a path names.

In a meta file `annotation` may be shards, `weight` says how often a set is drawn, and `question` what captions answer:

    {"web": {"root": "", "annotation": "s3://bucket/web/{000..127}.tar", "data_augment": false, "repeat_time": 1,
             "weight": 3, "question": "<image>\nDescribe the image."},
     "ocr": {"root": "data/", "annotation": "data/ocr/*.parquet", "data_augment": false, "repeat_time": 1,
             "weight": 1}}
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .records import meta_entries
from .shards import FileShards, expand, is_remote, kind_of
from .streams import StreamSet

_COUNTED = 64  # files of which the rows are counted at the start, where the files tell


def is_streamed(path: str | os.PathLike) -> bool:
    """Whether data can only be streamed: archives, patterns, files in an object store, a meta file that names such.

    Args:
        path: what a user names as data.

    Raises:
        ValueError: it is a meta file that cannot be read.
    """
    text = os.fspath(path)
    if text.endswith(".json") and not is_remote(text):
        return os.path.isfile(text) and any(_is_shards(entry["annotation"]) for _, entry, _ in meta_entries(text))
    return _is_shards(text)


def _is_shards(path: str) -> bool:
    if is_remote(path) or path.startswith("pipe:") or kind_of(path) == ".tar" or path.endswith(".jsonl.gz"):
        return True
    if os.path.exists(path):
        return os.path.isdir(path) and any(kind_of(name) == ".tar" for name in os.listdir(path))
    return any(sign in path for sign in "*?{")


def read_streams(
    path: str | os.PathLike, max_tiles: int | None = None, root: str | os.PathLike | None = None
) -> list[StreamSet]:
    """The sets that a path names, to be streamed.

    Args:
        path: a meta file, or shards as [`expand`] takes them.
        max_tiles: maximum number of tiles of an image in sets that do not say it themselves.
        root: what paths of images and videos count from, in place of the shards' own folder.

    Raises:
        ValueError: it names nothing that can be streamed; the message says what.
        OSError: it cannot be read.
    """
    text = os.fspath(path)
    if text.endswith(".json"):
        sets = [_set_of(name, entry, where) for name, entry, where in meta_entries(text)]
    else:
        found = expand(text)
        below = ("" if is_remote(found[0]) else os.path.dirname(found[0])) if root is None else os.fspath(root)
        stem = Path(text.rstrip("/")).name.partition(".")[0]
        sets = [_counted(StreamSet(stem, _shards(found, below, text)))]
    return [replace(part, max_patches=max_tiles) if part.max_patches is None else part for part in sets]


def _set_of(name: str, entry: dict[str, Any], where: str) -> StreamSet:
    try:
        return _counted(
            StreamSet(
                name,
                _shards(expand(entry["annotation"]), entry["root"], entry["annotation"]),
                repeat=float(entry["repeat_time"]),
                weight=entry.get("weight"),
                length=entry.get("length"),
                augment=entry["data_augment"],
                max_patches=entry.get("max_dynamic_patch"),
                question=entry.get("question"),
            )
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _shards(paths: list[str], root: str, named: str) -> FileShards:
    if missing := [path for path in paths if not is_remote(path) and not os.path.exists(path)]:
        raise ValueError(f"{named}: {missing[0]} does not exist.")
    return FileShards(paths, root)


def _counted(part: StreamSet) -> StreamSet:
    """A set with its number of rows, where few files tell it."""
    if part.length is not None or len(part.shards) > _COUNTED or not isinstance(part.shards, FileShards):
        return part
    return replace(part, length=part.shards.count())


__all__ = ["is_streamed", "read_streams"]
