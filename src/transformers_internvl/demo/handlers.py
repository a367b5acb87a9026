# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What happens when the parts of the page are used. Nothing here knows gradio."""

import html
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from PIL import Image

from .answering import Answerer, Settings, question, text_message
from .views import draw_boxes, draw_looks, draw_seen, figures

# Setting -> its type, the least and the greatest number.
NUMBERS: dict[str, tuple[type, float, float]] = {
    "max_new_tokens": (int, 1, 32768),
    "max_patches": (int, 0, 1000),
    "num_frames": (int, 0, 1000),
    "temperature": (float, 0, 2),
    "top_p": (float, 0.01, 1),
    "top_k": (int, 0, 1_000_000),
    "repetition_penalty": (float, 0.1, 10),
}


@dataclass
class Talk:
    """The conversation of one visitor.

    Attributes:
        messages: questions and answers.
        asked: the messages that the last answer answered, for `look`.
        settings: with which it did.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    settings: Settings = Settings()


@dataclass(frozen=True)
class Step:
    """What the page shows next. None leaves a part as it is.

    Attributes:
        bubbles: the conversation, in the form of gradio's chatbot.
        talk: the conversation, with an answer when that is complete.
        line: figures.
        drawings: of the tiles of each image, and of frames.
        located: the image with the boxes of the answer.
        first, last: the question was taken, the answer is complete.
    """

    bubbles: list[dict[str, Any]]
    talk: Talk
    line: str | None = None
    drawings: list[Image.Image] | None = None
    located: Image.Image | None = None
    first: bool = False
    last: bool = False


def bubbles(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages in the form of gradio's chatbot: a file and a text are one bubble each.

    Texts are escaped: the chatbot takes them as HTML, also where it is told not to read Markdown.
    """
    found = []
    for message in messages:
        for item in message["content"]:
            content: Any = html.escape(item["text"], quote=False) if item["type"] == "text" else {"path": item["path"]}
            found.append({"role": message["role"], "content": content})
    return found


class Handlers:
    """The events of the page. Each visitor has a `Talk`, and one answer at a time.

    Args:
        answerer: answers.
        scratch: a folder for drawings.
    """

    def __init__(self, answerer: Answerer, scratch: Path):
        self.answerer, self.scratch = answerer, scratch
        self._stops: dict[str, threading.Event] = {}

    def ask(self, visitor: str, given: dict[str, Any], talk: Talk, *settings: Any) -> Iterator[Step]:
        """Answer a question with its files.

        Args:
            visitor: who asks.
            given: `text`, and `files`, a list of paths.
            talk: the conversation so far, which is not changed.
            settings: values in the order of `Settings`; see `read_settings`.

        Raises:
            ValueError: what is wrong with the question, a file or a setting.
        """
        chosen = read_settings(*settings)
        asked = [*talk.messages, question(given.get("text") or "", given.get("files") or [], self.answerer.limits)]
        stop = self._stops[visitor] = threading.Event()
        first = True
        try:
            for progress in self.answerer.answer(asked, chosen, stop):
                answered = [*asked, text_message("assistant", progress.text)]
                if first:
                    drawings = draw_seen(progress, self.answerer.processor)
                    yield Step(bubbles(answered), talk, figures(progress), drawings, first=True)
                elif progress.tokens is None:
                    yield Step(bubbles(answered), talk)
                else:
                    talk = Talk(answered, asked, chosen)
                    yield Step(bubbles(answered), talk, figures(progress), located=draw_boxes(progress), last=True)
                first = False
        finally:
            if self._stops.get(visitor) is stop:
                del self._stops[visitor]

    def stop(self, visitor: str) -> None:
        """End the answer that is being written for a visitor."""
        if visitor in self._stops:
            self._stops[visitor].set()

    def look(self, talk: Talk) -> tuple[str, str]:
        """The file of a drawing of the last answer's attention, and what it shows.

        Raises:
            ValueError: nothing was answered yet, or there is no attention over images.
        """
        if not talk.asked:
            raise ValueError("Ask about a picture first.")
        answer = self.answerer.look(talk.asked, talk.settings)
        with tempfile.NamedTemporaryFile(dir=self.scratch, suffix=".png", delete=False) as file:
            path = Path(file.name)
        return str(path), draw_looks(answer, path)


def read_settings(*values: Any) -> Settings:
    """Settings from the values of the page's fields, in the order of `Settings`. The seed is a text, empty for none.

    Raises:
        ValueError: a number is missing or out of range.
    """
    given = dict(zip((item.name for item in fields(Settings)), values, strict=True))
    seed = (given["seed"] or "").strip()
    if seed and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
        raise ValueError(f"The seed is a whole number from 0, or nothing; got {seed!r:.40}.")
    found: dict[str, Any] = {"system": (given["system"] or "").strip(), "seed": int(seed) if seed else None}
    for name, (kind, least, most) in NUMBERS.items():
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise ValueError(f"The setting {name} is a number from {least} to {most}, got {value!r:.40}.")
        found[name] = kind(value)
    return Settings(**found)


__all__ = ["Handlers", "Step", "Talk", "bubbles", "read_settings"]
