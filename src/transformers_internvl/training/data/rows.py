# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One line of training data: parsed, and checked.

The fields are the original ones (the page "Chat Data Format", and `internvl_chat_mpo.py` for preferences), or the
columns of `datasets` that trainers know:

| kind         | fields                                                                                  |
|--------------|-----------------------------------------------------------------------------------------|
| text         | `conversations`: `[{"from": "human", "value": ...}, {"from": "gpt", "value": ...}, ...]`   |
| image        | and `image`: a path; `width`, `height`. `""` is none                                      |
| multi-image  | and `image`: paths; `width_list`, `height_list`                                           |
| video        | and `video`: a path, of a file or a folder of frames; `clip`: `[start, end]` in seconds    |
| grounding    | an image, and `<box>[[x1, y1, x2, y2], ...]</box>` (or points) in a turn, 0 to 1000        |
| pretraining  | turns from `pretrain`: a text without roles                                               |
| preference   | `question`, `chosen`, `rejected`; `image`, `system_prompt`                                 |
| scored steps | `question`, `steps_with_score`: `[{"step": ..., "score": 0 to 1}, ...]`; `image`, `response` |
| messages     | `messages` as for `apply_chat_template`; `images`, `videos`                                |

In place of a path there may be an image, the bytes of a file, or the cell of a table, `{"bytes": ..., "path": ...}`.
"""

import json
import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...processing.sources import unwrapped
from ...processing.text.placeholders import IMAGE, VIDEO
from .samples import ROLES

# Fields that carry meaning -> the types they may have. Others (`id`, scores, ...) are the user's own.
_TYPES: dict[str, tuple[type, ...]] = {
    "conversations": (list,),
    "messages": (list,),
    "question": (str,),
    "chosen": (str,),
    "rejected": (str,),
    "system_prompt": (str,),
    "steps_with_score": (list,),
    "response": (str,),
    "clip": (list, tuple),
}
# What an image, a video or a frame may be, beside lists of frames.
_MEDIA_TYPES = (str, os.PathLike, bytes, Image.Image, np.ndarray, torch.Tensor)
_BOX = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class UnusableSample(ValueError):
    """A sample that cannot be trained on. `str(error)` says where it is and why.

    Attributes:
        where: file and line, or data set and row.
        reason: what is wrong.
    """

    def __init__(self, where: str, reason: str):
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Row:
    """What all rows have.

    Attributes:
        where: file and line, or data set and row.
        images, videos: paths below the root, bytes of files, or images and frames themselves.
        clip: the part of the video in seconds; None = all of it.
        sizes: `(width, height)` of each image, if the row tells.
    """

    where: str
    images: tuple[Any, ...] = ()
    videos: tuple[Any, ...] = ()
    clip: tuple[float, float] | None = None
    sizes: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class ConversationRow(Row):
    """Turns in the original form. `kind` is a row of the table above."""

    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """ "text", "image", "multi-image", "video", "grounding" or "pretraining"."""
        if any(turn["from"] == "pretrain" for turn in self.turns):
            return "pretraining"
        if self.videos:
            return "video"
        if self.images and any(_BOX.search(turn["value"]) for turn in self.turns):
            return "grounding"
        return ("text", "image", "multi-image")[min(len(self.images), 2)]


@dataclass(frozen=True)
class MessagesRow(Row):
    """Messages as `apply_chat_template` takes them."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    kind = "messages"


@dataclass(frozen=True)
class PreferenceRow(Row):
    """A question with a better and a worse answer."""

    question: str = ""
    chosen: str = ""
    rejected: str = ""
    system_prompt: str | None = None
    kind = "preference"

    def turns_with(self, answer: str) -> list[dict[str, str]]:
        """The conversation that ends with `answer` (`self.chosen` or `self.rejected`), in the original form."""
        system = [] if self.system_prompt is None else [{"from": "system", "value": self.system_prompt}]
        return [*system, {"from": "human", "value": self.question}, {"from": "gpt", "value": answer}]


@dataclass(frozen=True)
class StepsRow(Row):
    """A solution whose steps have scores: texts, and shares of continuations that end in the right answer."""

    question: str = ""
    steps: tuple[tuple[str, float], ...] = ()
    response: str | None = None
    kind = "scored steps"


ParsedRow = ConversationRow | MessagesRow | PreferenceRow | StepsRow


def parse_row(data: Any, where: str, root: str = "") -> ParsedRow:
    """Check a row and give it its type.

    Args:
        data: a dictionary of the fields above. Fields that are None count as missing.
        where: for errors.
        root: what paths of images and videos are below.

    Raises:
        UnusableSample: a field is missing or has the wrong type, placeholders and media do not fit, a box is none.
    """

    def check(condition: Any, reason: str) -> None:
        if not condition:
            raise UnusableSample(where, reason)

    check(isinstance(data, dict), f"expected an object with fields, got {data!r:.80}")
    data = {name: value for name, value in data.items() if value is not None}
    for name in data.keys() & _TYPES.keys():
        wanted = " or ".join(kind.__name__ for kind in _TYPES[name])
        check(isinstance(data[name], _TYPES[name]), f"`{name}` should be a {wanted}, got {data[name]!r:.80}")
    shared = _media(data, check, root) | {"where": where}
    blank = [name for name in ("image", "video") if isinstance(data.get(name), str) and not data[name]]

    forms = [name for name in ("conversations", "messages", "question") if name in data]
    check(len(forms) == 1, f"expected one of `conversations`, `messages` and `question`, got {forms or 'none'}")
    if forms == ["messages"]:
        check(data["messages"], "`messages` is empty")
        return MessagesRow(messages=_messages(data["messages"], root, check), **shared)
    if forms == ["question"] and "steps_with_score" in data:
        return _scored_steps(data, shared, blank, check)
    if forms == ["question"]:
        for name in ("chosen", "rejected"):
            check(name in data, f"a preference needs `{name}`")
        names = ("question", "chosen", "rejected", "system_prompt")
        for name in data.keys() & set(names):
            check(_is_text(data[name]), f"`{name}` should be Unicode text, got {data[name]!a:.80}")
        row = PreferenceRow(**{name: data[name] for name in names if name in data}, **shared)
        _check_turns(row.turns_with(row.chosen), row, check, blank)
        return row
    conversation = ConversationRow(turns=data["conversations"], **shared)
    _check_turns(conversation.turns, conversation, check, blank)
    return conversation


def _scored_steps(data: dict[str, Any], shared: dict[str, Any], blank: Collection[str], check: Any) -> StepsRow:
    """A row of a solution whose steps have scores."""
    other = sorted(data.keys() & {"chosen", "rejected", "system_prompt"})
    check(not other, f"`steps_with_score` excludes {', '.join(other)}")
    check(data["steps_with_score"], "`steps_with_score` is empty")
    for number, step in enumerate(data["steps_with_score"], start=1):
        right = isinstance(step, dict) and _is_text(step.get("step")) and type(step.get("score")) in (int, float)
        right = right and 0 <= step["score"] <= 1
        check(right, f"step {number} should be {{'step': text, 'score': number from 0 to 1}}, got {step!a:.80}")
    for name in data.keys() & {"question", "response"}:
        check(_is_text(data[name]), f"`{name}` should be Unicode text, got {data[name]!a:.80}")
    steps = tuple((step["step"], float(step["score"])) for step in data["steps_with_score"])
    row = StepsRow(question=data["question"], steps=steps, response=data.get("response"), **shared)
    check(not row.videos, "a solution is about images, and the row has a video")
    turns = [{"from": "human", "value": row.question}, {"from": "gpt", "value": "+"}]
    _check_turns(turns, row, check, blank)
    return row


def _media(data: dict[str, Any], check: Any, root: str) -> dict[str, Any]:
    """`images`, `videos`, `clip` and `sizes` of a row."""
    found: dict[str, Any] = {}
    for one, several in (("image", "images"), ("video", "videos")):
        check(not (one in data and several in data), f"`{one}` and `{several}` exclude each other")
        items = data.get(several, data.get(one, []))
        items = items if isinstance(items, (list, tuple)) and several in data or isinstance(items, list) else [items]
        if len(items) == 1 and isinstance(items[0], str) and not items[0] and several not in data:
            items = []  # a text, as the original code reads it
        found[several] = tuple(_medium(item, one, root, check) for item in items)
    if "clip" in data:
        clip = data["clip"]
        ordered = len(clip) == 2 and all(isinstance(at, (int, float)) for at in clip) and 0 <= clip[0] < clip[1]
        check(ordered, f"`clip` should be [start, end] in seconds, got {clip}")
        check(len(found["videos"]) == 1, "`clip` needs one video")
        found["clip"] = tuple(clip)
    widths, heights = (_as_list(data.get(f"{side}_list", data.get(side))) for side in ("width", "height"))
    if found["images"] and widths and heights:
        counts = {len(widths), len(heights), len(found["images"])}
        check(len(counts) == 1, f"{len(found['images'])} images with {len(widths)} widths, {len(heights)} heights")
        positive = all(isinstance(side, int) and side > 0 for side in (*widths, *heights))
        check(positive, f"widths and heights should be whole numbers above 0, got {widths} and {heights}")
        found["sizes"] = tuple(zip(widths, heights, strict=True))
    return found


def _medium(item: Any, name: str, root: str, check: Any) -> Any:
    """An image or a video of a row: paths below the root, the cell of a table as what it holds, frames one by one."""
    try:
        item = unwrapped(item)
    except ValueError as error:
        check(False, f"`{name}` {error}")
    check(item is not None and not (isinstance(item, str) and not item), f"`{name}` is empty")
    if isinstance(item, (list, tuple)):
        return [_medium(frame, name, root, check) for frame in item]
    check(isinstance(item, _MEDIA_TYPES), f"`{name}` should be a path, an image or its bytes, got {item!r:.80}")
    return _below(root, item) if isinstance(item, str) else item


def read_medium(item: Any, name: str, root: str, where: str) -> Any:
    """An image or video as a row has it, with its path below the root; see the table above.

    Args:
        item: what the row holds.
        name: of the field, for errors.
        root: what paths are below.
        where: for errors.

    Raises:
        UnusableSample: it is none.
    """

    def check(condition: Any, reason: str) -> None:
        if not condition:
            raise UnusableSample(where, reason)

    return _medium(item, name, root, check)


def _messages(messages: list[Any], root: str, check: Any) -> list[Any]:
    """Messages whose content items carry media as those of a row: cells of tables, and files below the root."""

    def carried(item: Any) -> Any:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind not in ("image", "video"):
            return item
        item = dict(item)
        for name in ("image", "video", "path"):
            value = item.get(name)
            if isinstance(value, dict):
                item[name] = _medium(value, kind, root, check)
            elif isinstance(value, str) and os.path.isfile(_below(root, value)):  # else a URL, or base64 text
                item[name] = _below(root, value)
        return item

    def rooted(number: int, message: Any) -> Any:
        if isinstance(message, dict):
            _check_message(message, f"message {number}", check)
        content = message.get("content") if isinstance(message, dict) else None
        return {**message, "content": [carried(item) for item in content]} if isinstance(content, list) else message

    return [rooted(number, message) for number, message in enumerate(messages, start=1)]


def _check_message(message: dict[str, Any], name: str, check: Any) -> None:
    """Types of what templates and processors read of a message; they end in errors of Python's own on others."""
    role, content = message.get("role"), message.get("content")
    check(_is_text(role), f"the role of {name} should be a text, got {role!r:.80}")
    items = content if isinstance(content, (list, tuple)) else [] if content is None else [content]
    for item in items:
        right = _is_item(item) if isinstance(item, dict) else _is_text(item)
        check(right, f"{name} should hold Unicode text, or items of type text, image and video, got {item!a:.80}")


def _is_item(item: dict[str, Any]) -> bool:
    kind = item.get("type")
    if kind in ("image", "video"):
        held = [item[key] for key in (kind, "path", "url", "base64") if item.get(key) is not None]
        return all(isinstance(value, (*_MEDIA_TYPES, dict, list, tuple)) for value in held)
    return (kind is None or isinstance(kind, str)) and ("text" not in item or _is_text(item["text"]))


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written: half a surrogate pair cannot."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _below(root: str, path: str) -> str:
    if not root or "://" in path or path.startswith("data:"):
        return path
    return root + path if root.startswith("s3://") else os.path.join(root, path)


def _check_turns(turns: list[Any], row: Row, check: Any, blank: Collection[str] = ()) -> None:
    """Roles and texts, as many placeholders as media (of which `blank` are named without a path), boxes."""
    check(turns, "`conversations` is empty")
    for number, turn in enumerate(turns, start=1):
        right = isinstance(turn, dict) and _is_text(turn.get("value")) and _is_text(turn.get("from"))
        right = right and turn["from"] in ROLES
        check(right, f"turn {number} should be {{'from': one of {list(ROLES)}, 'value': text}}, got {turn!a:.80}")
    pretraining = any(turn["from"] == "pretrain" for turn in turns)
    check(
        pretraining or any(turn["from"] == "gpt" for turn in turns), "there is no answer to learn (no turn of 'gpt')"
    )
    questions = [turn["value"] for turn in turns if pretraining or turn["from"] == "human"]
    for mark, media, kind in ((IMAGE, row.images, "image"), (VIDEO, row.videos, "video")):
        marks = sum(text.count(mark) for text in questions)
        check(media or not marks or kind not in blank, f"`{kind}` is empty, but the questions have {marks} {mark}")
        implied = marks == 0 and len(media) == 1 and questions and not pretraining
        check(marks == len(media) or implied, f"{len(media)} {kind}s, but {marks} times {mark} in the questions")
    for turn in turns:
        for match in _BOX.finditer(turn["value"]):
            check(
                _is_boxes(match[1]) or (turn["from"] != "gpt" and _is_format(match[1])),
                "a <box> should hold [[x1, y1, x2, y2], ...] or points [[x, y], ...] from 0 to 1000, got "
                f"{match[1]!r:.80}",
            )


def _is_boxes(text: str) -> bool:
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if not isinstance(boxes, list) or not boxes:
        return False
    sides = all(isinstance(box, list) and len(box) in (2, 4) for box in boxes)
    return sides and all(isinstance(x, (int, float)) and 0 <= x <= 1000 for box in boxes for x in box)


def _is_format(text: str) -> bool:
    """Whether a question says how boxes are to be written, such as `[[x1, y1, x2, y2]]`, instead of naming one."""
    return not text.strip() or any(sign.isalpha() or sign in "…{_" for sign in text) or "..." in text


__all__ = [
    "ConversationRow",
    "MessagesRow",
    "ParsedRow",
    "PreferenceRow",
    "Row",
    "StepsRow",
    "UnusableSample",
    "parse_row",
    "read_medium",
]
