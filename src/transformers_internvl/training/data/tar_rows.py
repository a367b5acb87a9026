# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""WebDataset archives: members of a tar file that share a stem are a row.

    shard-000.tar                       row 0: {"conversations": [...], "images": [bytes of 00.jpg]}
        00.jpg  00.json                 row 1: {"conversations": [...], "images": [bytes of 01.0.png, of 01.1.png]}
        01.0.png  01.1.png  01.json

| member | becomes |
|---|---|
| `STEM.json` | the fields of the row, as in a JSONL file |
| `STEM.jpg`, `.png`, ...; `STEM.0.jpg`, `STEM.1.jpg` | the images that the fields name, else `images`, in order |
| `STEM.mp4`, `.webm`, ... | `video` |
| `STEM.txt` | `caption`, where the fields have none |
| any other | nothing: fields of the user's own |

A stem ends at the first dot of a file's name, and members of one stem lie together, as in WebDataset. Files
without an ending, and those that begin with a dot, belong to no row.

Source: https://github.com/webdataset/webdataset (the format); the code is our own.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from .rows import UnusableSample

VIDEOS = (".mp4", ".webm", ".avi", ".mov", ".mkv")
_MEMBER = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_BLOCK = 512  # bytes; members of an archive begin at multiples of it
_DIGITS = re.compile(r"(\d+)")


def members_of(file: BinaryIO, begin: int = 0) -> Iterator[tuple[int, str, bytes]]:
    """The files of an archive in order: where the header begins, name, content.

    Args:
        file: an open archive, not compressed, that can be sought in.
        begin: where to begin, in bytes: 0, or where a header begins.

    Raises:
        tarfile.TarError, EOFError: it is none, or breaks off.
    """
    file.seek(begin)
    end = begin
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else all headers of a long archive are kept
            end = archive.offset
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.offset, member.name, content.read()
        # `tarfile` takes a header that it cannot read for the end.
        file.seek(end)
        if (block := file.read(_BLOCK)) and block != bytes(_BLOCK):
            raise tarfile.ReadError(f"neither a member nor the end of the archive at byte {end}")


def groups_of(file: BinaryIO, begin: int = 0) -> Iterator[tuple[int, str, dict[str, bytes]]]:
    """The rows of an archive: where the first header begins, stem, and contents by ending.

    Arguments and errors are those of [`members_of`].
    """
    place, stem, group = begin, "", dict[str, bytes]()
    for offset, name, content in members_of(file, begin):
        found = _MEMBER.fullmatch(name)
        if found is None:
            continue
        if found[1] != stem:
            if group:
                yield place, stem, group
            place, stem, group = offset, found[1], {}
        group[found[2]] = content
    if group:
        yield place, stem, group


def fields_of(stem: str, group: dict[str, Any], where: str) -> dict[str, Any]:
    """The fields of a row of an archive; see the table above.

    Args:
        stem: what its members have in common.
        group: by ending: bytes, or what `datasets` has made of them.
        where: for errors.

    Raises:
        UnusableSample: its `.json` or `.txt` cannot be read.
    """
    fields: Any = {}
    if "json" in group:
        fields = _decoded("json", group["json"], where)
        if not isinstance(fields, dict):
            raise UnusableSample(where, f"{stem}.json should hold an object with fields, got {fields!r:.80}")
    fields = dict(fields)
    images = {end: group[end] for end in sorted(group, key=_in_order) if _is_image(end)}
    videos = [group[end] for end in sorted(group, key=_in_order) if f".{end}".lower().endswith(VIDEOS)]
    _place_images(fields, stem, images)
    if videos and not any(fields.get(name) for name in ("video", "videos")):
        fields["videos"] = videos
        fields.pop("video", None)
    if "txt" in group and not fields.keys() & {"caption", "captions"}:
        fields["caption"] = _decoded("txt", group["txt"], where)
    return fields


def _place_images(fields: dict[str, Any], stem: str, images: dict[str, Any]) -> None:
    """Put images where the fields name them; where they name none, into `images`."""
    named = fields.get("images", fields.get("image"))
    if not named:
        fields.pop("image", None)
        if images:
            fields["images"] = list(images.values())
        return
    folder, _, base = stem.rpartition("/")
    known: dict[str, Any] = {}
    for end, content in images.items():
        known |= dict.fromkeys((end, f"{base}.{end}", f"{folder}/{base}.{end}" if folder else end), content)

    def held(item: Any) -> Any:
        return known.get(item, item) if isinstance(item, str) else item

    for name in ("image", "images"):
        if name in fields:
            value = fields[name]
            fields[name] = [held(item) for item in value] if isinstance(value, list) else held(value)


def _decoded(kind: str, content: Any, where: str) -> Any:
    """A member as text or JSON; what is decoded already stays as it is."""
    if not isinstance(content, bytes):
        return content
    try:
        return json.loads(content) if kind == "json" else content.decode("utf-8")
    except (ValueError, RecursionError) as error:
        raise UnusableSample(where, f"its .{kind} cannot be read: {error}") from error


def _is_image(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}".lower() in _image_endings()


def _image_endings() -> set[str]:
    Image.init()
    return {ending for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN} - {*VIDEOS, ".mpg", ".mpeg"}


def _in_order(ending: str) -> list[Any]:
    """Sorts `2.jpg` before `10.jpg`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(ending)]


__all__ = ["VIDEOS", "fields_of", "groups_of", "members_of"]
