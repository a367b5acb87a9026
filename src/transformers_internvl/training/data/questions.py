# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Questions with the answers that are right: rows that a model answers itself, to be rewarded, compared or scored.

| fields of a row                             | question                  | answer                                |
|---------------------------------------------|---------------------------|---------------------------------------|
| `question`, `answer`; `system_prompt`       | the text, with `<image>`  | a text, a number, or a list           |
| `conversations`                             | the turns before the last | the last turn, of `gpt`, or `answer`  |
| `messages`                                  | the messages before it    | the last, of `assistant`, or `answer` |

Images stand beside them as in `rows.py`. Any other field (`choices`, `width`, `A` to `D`, ...) is handed on to rewards
and metrics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from ...processing.sources import DECODING_ERRORS, load_image
from ...processing.text.messages import normalized
from ...processing.text.placeholders import IMAGE
from .records import DataSet, SkipPolicy
from .rows import ConversationRow, MessagesRow, UnusableSample, parse_row
from .samples import ROLES
from .urls import Fetched, UrlRules, url_rules

Message = dict[str, Any]

_SOURCES = ("image", "path", "url", "base64")
_OF_PROMPTS = frozenset(
    ("conversations", "messages", "question", "system_prompt", "image", "images", "video", "videos", "answer")
)


@dataclass(frozen=True)
class Question:
    """A question, and what is known of its answer.

    Attributes:
        where: file and line, or data set and row.
        messages: of the prompt; contents are lists of items, `{"type": "text", "text": ...}` and `{"type": "image"}`.
        images: of the items, in their order: paths, bytes or images.
        answer: the right one, as the row has it; None where it has none.
        fields: the row's further fields.
    """

    where: str
    messages: list[Message]
    images: tuple[Any, ...]
    answer: Any
    fields: dict[str, Any]

    @property
    def text(self) -> str:
        """The last question, with `<image>` in the place of every image."""
        last = next(message for message in reversed(self.messages) if message["role"] == "user")
        return "".join(item.get("text", IMAGE) for item in last["content"])


def read_question(fields: Any, where: str, root: str = "") -> Question:
    """The question of a row; see the table above.

    Raises:
        UnusableSample: it has none, or a video; images and placeholders do not fit.
    """
    if not isinstance(fields, dict):
        raise UnusableSample(where, f"expected an object with fields, got {fields!r:.80}")
    fields = {name: value for name, value in fields.items() if value is not None}
    prompt = {name: value for name, value in fields.items() if name in _OF_PROMPTS and name != "answer"}
    prompt |= {name: fields[name] for name in ("width", "height", "width_list", "height_list") if name in fields}
    if "question" in prompt:
        turns = [{"from": "human", "value": prompt.pop("question")}, {"from": "gpt", "value": ""}]
        if "system_prompt" in prompt:
            turns.insert(0, {"from": "system", "value": prompt.pop("system_prompt")})
        prompt["conversations"] = turns
    elif "answer" in fields and isinstance(prompt.get("conversations"), list):
        last = prompt["conversations"][-1:]
        if not (last and isinstance(last[0], dict) and last[0].get("from") == "gpt"):
            prompt["conversations"] = [*prompt["conversations"], {"from": "gpt", "value": ""}]
    row = parse_row(prompt, where, root)
    if row.videos:
        raise UnusableSample(where, "questions are asked about images, and the row has a video")
    if isinstance(row, MessagesRow):
        messages = normalized(row.messages)[0][0]
    elif isinstance(row, ConversationRow) and row.kind != "pretraining":
        messages = _messages_of(row)
    else:
        raise UnusableSample(where, "expected a question, got a text without turns")
    messages, images = _with_items(messages, row.images, where)
    answer = fields.get("answer")
    if messages and messages[-1]["role"] == "assistant":
        *messages, last = messages
        said = "".join(item.get("text", "") for item in last["content"])
        answer = said if answer is None and "question" not in fields else answer
    if not any(message["role"] == "user" for message in messages):
        raise UnusableSample(where, "there is no question (no turn of a user before the answer)")
    others = {name: value for name, value in fields.items() if name not in _OF_PROMPTS}
    return Question(where, messages, images, answer, others)


def _messages_of(row: ConversationRow) -> list[Message]:
    """The turns as messages, with an image without a placeholder in front of the first question."""
    messages = [{"role": ROLES[turn["from"]], "content": turn["value"]} for turn in row.turns]
    asked = [message for message in messages if message["role"] == "user"]
    if len(row.images) == 1 and asked and not any(IMAGE in message["content"] for message in asked):
        asked[0]["content"] = f"{IMAGE}\n{asked[0]['content']}"
    for message in asked:
        message["content"] = _items(message["content"])
    return messages


def _items(text: str) -> list[dict[str, Any]]:
    """A text with placeholders as items."""
    first, *others = text.split(IMAGE)
    items: list[dict[str, Any]] = [{"type": "text", "text": first}] if first else []
    for part in others:
        items += [{"type": "image"}, *([{"type": "text", "text": part}] if part else [])]
    return items


def _with_items(messages: list[Message], images: Sequence[Any], where: str) -> tuple[list[Message], tuple[Any, ...]]:
    """Messages whose contents are items without images, and the images in their order.

    Raises:
        UnusableSample: images and places do not fit together.
    """
    found: list[Any] = []
    changed = []
    beside = list(images)
    for message in messages:
        content = message.get("content") or []
        items = []
        for item in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            item = {"type": "text", "text": item} if isinstance(item, str) else dict(item)
            if item.get("type") not in ("text", "image"):
                raise UnusableSample(where, f"expected items of type text and image, got {item.get('type')!r}")
            if item["type"] == "image":
                sources = [item.pop(name) for name in _SOURCES if item.get(name) is not None]
                if not sources and not beside:
                    raise UnusableSample(where, f"there are more places of images than the {len(images)} images")
                found.append(sources[0] if sources else beside.pop(0))
            items.append(item)
        changed.append({"role": message["role"], "content": items})
    if beside:
        raise UnusableSample(where, f"{len(images)} images are beside the row, of which {len(beside)} have no place")
    return changed, tuple(found)


class Questions:
    """The questions of data sets, by number; each once.

    All rows are read at the start, images when they are needed.

    Args:
        sets: of rows with questions.
        policy: what happens to rows that cannot be used.
        allow_urls: as for [`ChatDataset`].
        check: a further test of a question; returns why it cannot be used, or None.

    Raises:
        UnusableSample: a row cannot be used, unless the policy leaves it out.
        ValueError: a set is repeated or augmented; no question is left.
    """

    def __init__(
        self,
        sets: Sequence[DataSet],
        policy: SkipPolicy | None = None,
        allow_urls: bool | UrlRules = False,
        check: Callable[[Question], str | None] = lambda question: None,
    ):
        self.policy, self.url_rules = SkipPolicy() if policy is None else policy, url_rules(allow_urls)
        self.questions: list[Question] = []
        for part in sets:
            if part.repeat != 1 or part.augment:
                raise ValueError(
                    f"Set {part.name!r}: questions are neither repeated nor augmented; set `repeat_time` to 1 and "
                    "`data_augment` to false."
                )
            rows: Any = part.rows
            for index in range(len(rows)):
                try:
                    question = read_question(rows.fields(index), rows.where(index), rows.root)
                    if reason := check(question):
                        raise UnusableSample(question.where, reason)
                except UnusableSample as error:
                    self.policy(error)
                else:
                    self.questions.append(question)
        if not self.questions:
            raise ValueError("No question is left.")

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Question:
        """A question whose images are decoded.

        Raises:
            UnusableSample: an image cannot be read.
        """
        question = self.questions[index]
        fetched = Fetched(self.url_rules)
        try:
            images = tuple(_decoded(fetched.medium(image)) for image in question.images)
        except (*DECODING_ERRORS, ValueError) as error:
            raise UnusableSample(question.where, f"cannot read an image: {error}") from error
        return replace(question, images=images)


def _decoded(image: Any) -> Image.Image:
    image = image if isinstance(image, Image.Image) else load_image(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def prompt_of(question: Question, breaks_lines: bool) -> list[Message]:
    """The messages of a question for a chat template.

    Args:
        question: the question.
        breaks_lines: whether the template writes a line break behind every image: the text's own is left out.
    """
    messages = []
    for message in question.messages:
        items: list[dict[str, Any]] = []
        for item in message["content"]:
            if breaks_lines and items and items[-1]["type"] == "image" and item["type"] == "text":
                item = {**item, "text": item["text"].removeprefix("\n")}
            if item["type"] == "image" or item["text"]:
                items.append(item)
        messages.append({"role": message["role"], "content": items})
    return messages


def refuse_few(count: int, asked_at_once: int) -> None:
    """Refuse fewer questions than are asked at once: no step of training would come of them.

    Raises:
        ValueError: there are fewer.
    """
    if count < asked_at_once:
        raise ValueError(
            f"There are {count} questions, but {asked_at_once} are asked at once: give more, or lower `batch_size` or "
            "`steps_per_rollout`, the steps on answers that are sampled at once."
        )


__all__ = ["Question", "Questions", "prompt_of", "read_question", "refuse_few"]
