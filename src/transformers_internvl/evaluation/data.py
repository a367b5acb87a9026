# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Data of evaluations: folders of classes, and lists of images or videos with their texts.

    folder/cat/1.jpg            the folder below the top is the class
    folder/dog/more/2.jpg

    {"image": "1.jpg", "caption": "a cat"}                          a line of a .jsonl, or an item of a .json list;
    {"image": "2.jpg", "captions": ["a dog", "a dog at home"]}      paths are relative to the file's folder
    {"video": "3.mp4", "caption": "a dog jumps"}

Nothing is skipped: a missing or unreadable file is an error that says where the file is named.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..processing.fetching import is_url
from ..processing.sources import DECODING_ERRORS, load_image, require_regular_file
from ..renamed_modules import alias_former_names


@dataclass(frozen=True)
class Item:
    """An image or video.

    Attributes:
        path: the file.
        where: the place that names it, for messages, such as `pairs.jsonl, line 3`.
        texts: its texts.
        label: the number of its class.
    """

    path: Path
    where: str
    texts: tuple[str, ...] = ()
    label: int = 0


class ItemImages(Sequence[Image.Image]):
    """The images of items, each read on access.

    Raises:
        ValueError: on access to an unreadable image; with the file and the place that names it.
    """

    def __init__(self, items: Sequence[Item]):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        item = self.items[index]
        try:
            return load_image(item.path)
        except (*DECODING_ERRORS, ValueError) as error:
            raise ValueError(f"{item.where}: cannot read the image {item.path}: {error}") from error


def read_class_folder(folder: str | Path) -> tuple[list[str], list[Item]]:
    """The classes of a folder, which are the names of the folders in it, and all files below these.

    Hidden files and folders, and files beside the folders of the classes, are ignored.

    Raises:
        ValueError: no such folder, no folders in it, or one without files.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder: give a folder with one folder of images for each class.")
    classes = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise ValueError(f"{root} holds no folders: there must be one for each class, with its images.")
    items: list[Item] = []
    for label, entry in enumerate(classes):
        found = [Item(path, f"class {entry.name}", label=label) for path in _files(entry)]
        if not found:
            raise ValueError(f"{entry} holds no files: put images there, or remove the folder.")
        items += found
    return [entry.name for entry in classes], items


def read_pairs(file: str | Path, kind: str = "image", *, needs_text: bool = True) -> list[Item]:
    """The items of a `.jsonl` or `.json` file.

    Args:
        file: the file; its paths are relative to its folder.
        kind: `"image"` or `"video"`, the key that holds the path.
        needs_text: whether an item without `caption` or `captions` is an error.

    Raises:
        ValueError: the file is missing, empty or no JSON, or an item has another form; with file and line.
    """
    source = Path(file)
    items = [_item(fields, where, source, kind, needs_text) for where, fields in read_entries(source)]
    if not items:
        raise ValueError(f"{source} holds nothing.")
    return items


def read_images(paths: Sequence[str | Path]) -> list[Item]:
    """The items of files and folders of images, in order; folders with all files below them.

    Raises:
        ValueError: a path that does not exist, or a folder without files.
    """
    items: list[Item] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"{path} does not exist.")
        found = _files(path) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path} holds no files.")
        items += [Item(file, f"folder {path}" if path.is_dir() else "arguments") for file in found]
    return items


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def read_entries(source: Path) -> Iterator[tuple[str, Any]]:
    """The place and the content of each entry of a `.jsonl` or `.json` file.

    Raises:
        ValueError: the file cannot be read, or is no JSON; with file and line.
    """
    try:
        require_regular_file(source)
        text = source.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {source}: {error}") from error
    if source.suffix == ".jsonl":
        # Not `splitlines`, which also splits at characters that a JSON string may hold, such as U+2028.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                where = f"{source}, line {number}"
                yield where, _parsed(line, where)
        return
    entries = _parsed(text, str(source))
    if not isinstance(entries, list):
        raise ValueError(f"{source} must hold a list of objects, or be a .jsonl with one a line.")
    for number, entry in enumerate(entries, start=1):
        yield f"{source}, item {number}", entry


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: no JSON: {error}") from error


def _item(fields: Any, where: str, source: Path, kind: str, needs_text: bool) -> Item:
    if not isinstance(fields, dict) or not isinstance(fields.get(kind), str):
        raise ValueError(f'{where}: expected an object with "{kind}", the path of the file, got {fields!r:.80}.')
    texts = fields.get("captions", fields.get("caption", []))
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f'{where}: "caption" must be a text and "captions" a list of texts, got {texts!r:.80}.')
    if needs_text and not texts:
        raise ValueError(f'{where}: there is neither "caption" nor "captions".')
    if is_url(fields[kind]):
        raise ValueError(f"{where}: URLs are not fetched: expected the path of a file, got {fields[kind]!r:.200}.")
    path = source.parent / fields[kind]
    if not path.is_file() and not (kind == "video" and path.is_dir()):  # a folder of frames
        raise ValueError(f"{where}: the {kind} {path} does not exist.")
    return Item(path, where, tuple(texts))


alias_former_names(__name__, Pictures="ItemImages", read_pictures="read_images")

__all__ = ["Item", "ItemImages", "read_class_folder", "read_entries", "read_images", "read_pairs"]
