# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One line of training data, checked: what it says, and what is wrong with it.

The fields are the authors' (their page "Chat Data Format", and `internvl_chat_mpo.py` for preferences), or the columns
of `datasets` that trainers know:

| kind         | fields                                                                                  |
|--------------|-----------------------------------------------------------------------------------------|
| text         | `conversations`: `[{"from": "human", "value": ...}, {"from": "gpt", "value": ...}, ...]`   |
| image        | and `image`: a path; `width`, `height`                                                    |
| multi-image  | and `image`: paths; `width_list`, `height_list`                                           |
| video        | and `video`: a path; `clip`: `[start, end]` in seconds                                    |
| grounding    | an image, and `<box>[[x1, y1, x2, y2], ...]</box>` in a turn, 0 to 1000                    |
| pretraining  | turns from `pretrain`: a text without roles                                               |
| preference   | `question`, `chosen`, `rejected`; `image`, `system_prompt`                                 |
| messages     | `messages` as for `apply_chat_template`; `images`, `videos`                                |
"""

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from ..processing.placeholders import IMAGE, VIDEO
from .samples import ROLES

# Fields that carry meaning -> the types they may have. Others (`id`, scores, ...) are the user's own.
_TYPES: dict[str, tuple[type, ...]] = {
    "conversations": (list,),
    "messages": (list,),
    "question": (str,),
    "chosen": (str,),
    "rejected": (str,),
    "system_prompt": (str,),
    "clip": (list, tuple),
}
_BOX = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")


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
        images, videos: paths below the root, or pictures and frames themselves.
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
    """Turns in the authors' form. `kind` is a row of the table above."""

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
        """The conversation that ends with `answer` (`self.chosen` or `self.rejected`), in the authors' form."""
        system = [] if self.system_prompt is None else [{"from": "system", "value": self.system_prompt}]
        return [*system, {"from": "human", "value": self.question}, {"from": "gpt", "value": answer}]


def parse_row(data: Any, where: str, root: str = "") -> ConversationRow | MessagesRow | PreferenceRow:
    """Check a row and give it its type.

    Args:
        data: a dictionary of the fields above. Fields that are None count as missing.
        where: said in errors.
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

    forms = [name for name in ("conversations", "messages", "question") if name in data]
    check(len(forms) == 1, f"expected one of `conversations`, `messages` and `question`, got {forms or 'none'}")
    if forms == ["messages"]:
        check(data["messages"], "`messages` is empty")
        return MessagesRow(messages=data["messages"], **shared)
    if forms == ["question"]:
        for name in ("chosen", "rejected"):
            check(name in data, f"a preference needs `{name}`")
        names = ("question", "chosen", "rejected", "system_prompt")
        row = PreferenceRow(**{name: data[name] for name in names if name in data}, **shared)
        _check_turns(row.turns_with(row.chosen), row, check)
        return row
    conversation = ConversationRow(turns=data["conversations"], **shared)
    _check_turns(conversation.turns, conversation, check)
    return conversation


def _media(data: dict[str, Any], check: Any, root: str) -> dict[str, Any]:
    """`images`, `videos`, `clip` and `sizes` of a row."""
    found: dict[str, Any] = {}
    for one, several in (("image", "images"), ("video", "videos")):
        check(not (one in data and several in data), f"`{one}` and `{several}` exclude each other")
        items = data.get(several, data.get(one, []))
        items = items if isinstance(items, (list, tuple)) and several in data or isinstance(items, list) else [items]
        empty = [item is None or (isinstance(item, str) and not item) for item in items]  # arrays have no truth
        check(not any(empty), f"`{one}` is empty")
        found[several] = tuple(_below(root, item) if isinstance(item, str) else item for item in items)
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


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _below(root: str, path: str) -> str:
    if not root or "://" in path or path.startswith("data:"):
        return path
    return root + path if root.startswith("s3://") else os.path.join(root, path)


def _check_turns(turns: list[Any], row: Row, check: Any) -> None:
    """Roles and texts, as many placeholders as media, boxes that are boxes."""
    check(turns, "`conversations` is empty")
    for number, turn in enumerate(turns, start=1):
        right = isinstance(turn, dict) and isinstance(turn.get("value"), str) and turn.get("from") in ROLES
        check(right, f"turn {number} should be {{'from': one of {list(ROLES)}, 'value': text}}, got {turn!r:.80}")
    pretraining = any(turn["from"] == "pretrain" for turn in turns)
    check(
        pretraining or any(turn["from"] == "gpt" for turn in turns), "there is no answer to learn (no turn of 'gpt')"
    )
    questions = [turn["value"] for turn in turns if pretraining or turn["from"] == "human"]
    for mark, media, kind in ((IMAGE, row.images, "image"), (VIDEO, row.videos, "video")):
        marks = sum(text.count(mark) for text in questions)
        implied = marks == 0 and len(media) == 1 and questions and not pretraining
        check(marks == len(media) or implied, f"{len(media)} {kind}s, but {marks} times {mark} in the questions")
    for turn in turns:
        for match in _BOX.finditer(turn["value"]):
            check(
                _is_boxes(match[1]),
                f"a <box> should hold [[x1, y1, x2, y2], ...] from 0 to 1000, got {match[1]!r:.80}",
            )


def _is_boxes(text: str) -> bool:
    try:
        boxes = json.loads(text)
    except json.JSONDecodeError:
        return False
    if not isinstance(boxes, list) or not boxes:
        return False
    fours = all(isinstance(box, list) and len(box) == 4 for box in boxes)
    return fours and all(isinstance(x, (int, float)) and 0 <= x <= 1000 for box in boxes for x in box)


__all__ = ["ConversationRow", "MessagesRow", "PreferenceRow", "Row", "UnusableSample", "parse_row"]
