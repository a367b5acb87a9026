# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images and captions as retrieval and captioning benchmarks publish them, and in this package's own form.

| file | form |
|---|---|
| `flickr30k_test_karpathy.txt` | a heading, then lines `1.jpg,a caption`; images in `Images` beside the file |
| `coco_test_karpathy.json`, NoCaps | `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}` |
| `multilingual_mscoco_captions-es.json` | `{"image_paths": [...], "annotations": [...]}`, one caption an image |
| `.jsonl`, or a `.json` list | see [`read_pairs`] |

COCO's images are in `val2014`, `train2014`, `images` or the folder of the file.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .data import Item, read_pairs

_FOLDERS = ("", "Images", "val2014", "train2014", "images", "val")
_DROPPED = re.compile(r"[.!\"()*#:;~]")
_MOST_WORDS = 50


def read_captions(file: str | Path, kind: str = "image") -> list[Item]:
    """The images (or videos) of a file with their captions, in the order of the file.

    Args:
        file: in one of the forms above.
        kind: `image`, or `video` for this package's own form.

    Raises:
        ValueError: another form, no entry, or an image that is not there; with file and place.
    """
    source = Path(file)
    if source.suffix == ".jsonl":
        return read_pairs(source, kind)
    try:
        text = source.read_text(encoding="utf-8-sig")
        data = json.loads(text) if source.suffix == ".json" else None
    except (OSError, ValueError) as error:
        raise ValueError(f"Cannot read {source}: {error}") from error
    if isinstance(data, list):
        return read_pairs(source, kind)
    try:
        found = _of_lines(text) if data is None else _of_object(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{source} is no file of captions of a known form: {error!r}.") from error
    items = [Item(_image(source, name), f"{source}, image {name}", tuple(texts)) for name, texts in found.items()]
    if not items:
        raise ValueError(f"{source} holds no captions.")
    return items


def _of_lines(text: str) -> dict[str, list[str]]:
    """Captions by image, of lines with the name of an image, a comma and a caption."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n")[1:]:
        if line.strip():
            name, comma, caption = line.strip().partition(".jpg,")
            if not comma:
                raise ValueError(f"expected `NAME.jpg,CAPTION`, got {line[:80]!r}")
            found.setdefault(f"{name}.jpg", []).append(caption)
    return found


def _of_object(data: Any) -> dict[str, list[str]]:
    """Captions by image, of COCO's form or of the multilingual one."""
    if "image_paths" in data:
        return _grouped(zip(data["image_paths"], data["annotations"], strict=True))
    names = {image["id"]: str(image["file_name"]) for image in data["images"]}
    captions = _grouped((entry["image_id"], entry["caption"]) for entry in data["annotations"])
    return {names[number]: captions[number] for number in names if number in captions}


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[str]]:
    found: dict[Any, list[str]] = {}
    for name, caption in pairs:
        found.setdefault(name, []).append(str(caption))
    return found


def _image(source: Path, name: str) -> Path:
    for folder in _FOLDERS:
        path = source.parent / folder / name
        if path.is_file():
            return path
    raise ValueError(
        f"{source}: the image {name} is in none of {', '.join(f'{source.parent}/{f}' for f in _FOLDERS)}."
    )


def former_caption(text: str) -> str:
    """A caption in lower case, with spaces for ``.!"()*#:;~``, and at most 50 words, as the original retrieval has it.

    >>> former_caption('A dog (brown) jumps.')
    'a dog brown jumps'

    Source: `clip_benchmark/datasets/tools.py` of OpenGVLab/InternVL.
    """
    text = re.sub(r"\s{2,}", " ", _DROPPED.sub(" ", text.lower())).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:_MOST_WORDS])


__all__ = ["former_caption", "read_captions"]
