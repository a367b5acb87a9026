# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What curation reads and changes in a row of training data: its texts and its images, wherever a row holds them.

The forms of rows are those of `training/data/rows.py`. A row stays in its form; fields that are not known stay as they
are.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..processing.text.placeholders import IMAGE, VIDEO

Place = tuple[str | int, ...]
"""Keys and indices that lead to a value of a row, such as `("conversations", 1, "value")`."""

_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "pretrain": "assistant"}
# Field of a preference or of scored steps -> whose text it is.
_FIELDS = {
    "system_prompt": "system",
    "question": "user",
    "chosen": "assistant",
    "rejected": "assistant",
    "response": "assistant",
}
_PLACEHOLDERS = re.compile(f"(?:(?:Image|Frame)-?\\d+: *)?(?:{IMAGE}|{VIDEO})\n?")
_IMAGE_KEYS = ("image", "path", "url")


@dataclass(frozen=True)
class Text:
    """One text of a row.

    Attributes:
        place: where it is.
        role: "system", "user" or "assistant"; other roles as the row names them.
        value: the text.
    """

    place: Place
    role: str
    value: str


def texts_of(row: Mapping[str, Any]) -> list[Text]:
    """The texts of a row, in order. A row that `parse_row` accepts has at least one."""
    return list(_texts(row))


def _texts(row: Mapping[str, Any]) -> Iterator[Text]:
    for number, turn in enumerate(row.get("conversations") or ()):
        yield Text(("conversations", number, "value"), _ROLES.get(turn["from"], turn["from"]), turn["value"])
    for number, message in enumerate(row.get("messages") or ()):
        place, content = ("messages", number, "content"), message.get("content")
        if isinstance(content, str):
            yield Text(place, message["role"], content)
            continue
        for index, item in enumerate(content or ()):
            if isinstance(item, str):
                yield Text((*place, index), message["role"], item)
            elif item.get("type", "text") == "text" and isinstance(item.get("text"), str):
                yield Text((*place, index, "text"), message["role"], item["text"])
    if "conversations" in row or "messages" in row:
        return
    for name, role in _FIELDS.items():
        if isinstance(row.get(name), str):
            yield Text((name,), role, row[name])
    for number, step in enumerate(row.get("steps_with_score") or ()):
        yield Text(("steps_with_score", number, "step"), "assistant", step["step"])


def with_texts(row: Mapping[str, Any], values: Mapping[Place, str]) -> dict[str, Any]:
    """A copy of a row with other texts at some places."""
    new = _copied(row)
    for place, value in values.items():
        holder: Any = new
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    return new


def plain_text(row: Mapping[str, Any]) -> str:
    """All texts of a row without placeholders of images and videos, a blank line between them."""
    return "\n\n".join(_PLACEHOLDERS.sub("", text.value).strip() for text in texts_of(row))


def answers_of(row: Mapping[str, Any]) -> list[str]:
    """What a model would learn to write: the texts of the assistant."""
    return [text.value for text in texts_of(row) if text.role == "assistant"]


def images_of(row: Mapping[str, Any]) -> list[Any]:
    """The images of a row, in order: paths, URLs, or the bytes of files.

    Frames and videos are not among them.
    """
    found: list[Any] = []

    def note(image: Any) -> Any:
        found.append(image)
        return image

    map_images(row, note)
    return found


def has_media(row: Mapping[str, Any]) -> bool:
    """Whether a row has an image or a video."""
    items = [item for message in row.get("messages") or () for item in _items(message)]
    return bool(images_of(row) or row.get("video") or row.get("videos")) or any(
        item.get("type") == "video" for item in items
    )


def map_images(row: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """A copy of a row with every image exchanged for what `change` gives for it.

    Args:
        row: in any form.
        change: from an image, as [`images_of`] gives it, to what is to stand there.
    """
    new = _copied(row)
    for name in ("image", "images"):
        value = new.get(name)
        if isinstance(value, (list, tuple)):
            new[name] = [change(_held(item)) for item in value]
        elif value not in (None, ""):
            new[name] = change(_held(value))
    for message in new.get("messages") or ():
        for item in _items(message):
            key = next((key for key in _IMAGE_KEYS if item.get(key) not in (None, "")), None)
            if item.get("type") == "image" and key is not None:
                item[key] = change(_held(item[key]))
    return new


def _items(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    return [item for item in content if isinstance(item, dict)] if isinstance(content, (list, tuple)) else []


def _held(value: Any) -> Any:
    """What the cell of a table holds: the bytes of a file, else its path."""
    return value.get("bytes") or value.get("path") if isinstance(value, dict) else value


def _copied(row: Mapping[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(dict(row))  # bytes are shared, not copied


__all__ = [
    "Place",
    "Text",
    "answers_of",
    "has_media",
    "images_of",
    "map_images",
    "plain_text",
    "texts_of",
    "with_texts",
]
