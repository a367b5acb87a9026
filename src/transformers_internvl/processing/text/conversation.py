# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompts as the original code writes them: its class of conversations, and the prompt of its `chat()`.

`Conversation` is for scripts that write their own prompts. Its texts are trusted: special tokens in them count. Prefer
`chat` and the processor, which do not trust the user's text.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from ..chat_templates import TEMPLATES, chat_messages, get_chat_template
from .placeholders import END_IMAGE, IMAGE, IMAGE_CONTEXT, START_IMAGE
from .untrusted_text import Prompt, Span, control_pattern, render_prompts, replace


@dataclass
class Conversation:
    """Turns and what is between them.

    Attributes:
        name: of the template, a key of `TEMPLATES`.
        system_message: "" sends an empty one.
        roles: what opens the user's and the assistant's turns.
        messages: pairs of role and text; None is a turn that is to be completed.
        sep, sep2: what closes turns.
        stop_str: accepted for the original class; None.
    """

    name: str
    system_message: str
    roles: tuple[str, str]
    messages: list[list[str | None]] = field(default_factory=list)
    sep: str = ""
    sep2: str | None = None
    stop_str: str | None = None

    def set_system_message(self, system_message: str) -> None:
        """Set the system message."""
        self.system_message = system_message

    def append_message(self, role: str, message: str | None) -> None:
        """Append a turn; `message` None leaves it open.

        Raises:
            ValueError: a role that is none of `roles`.
        """
        if role not in self.roles:
            raise ValueError(f"`role` must be one of {self.roles}, got {role!r}.")
        self.messages.append([role, message])

    def update_last_message(self, message: str | None) -> None:
        """Write the text of the last turn.

        Raises:
            ValueError: there is no turn.
        """
        if not self.messages:
            raise ValueError("There is no message yet: append one with `append_message`.")
        self.messages[-1][1] = message

    def get_prompt(self) -> str:
        """The prompt.

        Raises:
            ValueError: a turn is open that is not the last one, or not the assistant's.
        """
        turns = list(self.messages)
        is_open = bool(turns) and turns[-1][1] is None
        turns = turns[:-1] if is_open else turns
        if any(text is None for _, text in turns) or (is_open and self.messages[-1][0] != self.roles[1]):
            raise ValueError("Only the last turn may be open (None), and it must be the assistant's.")
        names = dict(zip(self.roles, ("user", "assistant"), strict=True))
        messages = [{"role": names[str(role)], "content": text} for role, text in turns]
        template = get_chat_template(self.name, system_message=self.system_message)
        return render_jinja_template(conversations=[messages], chat_template=template, add_generation_prompt=is_open)[
            0
        ][0]

    def copy(self) -> "Conversation":
        """A copy with turns of its own."""
        return copy.deepcopy(self)


def get_conv_template(name: str) -> Conversation:
    """An empty conversation by the name of its template.

    Raises:
        ValueError: unknown name.
    """
    if name not in TEMPLATES:
        raise ValueError(f"Unknown chat template {name!r}: expected one of {', '.join(map(repr, TEMPLATES))}.")
    row = TEMPLATES[name]
    ends = (row.separator + row.gap, None if row.last_separator == row.separator else row.last_separator)
    sep, sep2 = ends[::-1] if row.grammar == "named_turns" else ends
    roles = (row.user_prefix, row.assistant_prefix)
    return Conversation(name, row.system_message or "", roles, sep=sep or "", sep2=sep2)


__all__ = ["Conversation", "get_conv_template"]


def chat_prompt(
    name: str,
    question: str,
    history: Sequence[tuple[str, str]] = (),
    *,
    answer: str | None = None,
    num_patches: Sequence[int] = (),
    num_image_token: int = 256,
    system_message: str | None = None,
    tokenizer: Any = None,
) -> Prompt:
    """The prompt of `InternVLChatModel.chat`, as the original `chat()` gives it to the tokenizer.

    `<image>` marks the place of an image. Markers are filled from left to right over the whole prompt, history and
    answers included; markers beyond the images stay text. A first question without a marker gets `<image>` and a line
    break in front when there are images.

    Args:
        name: a key of `TEMPLATES`.
        question: the user's last turn.
        history: earlier turns, pairs of question and answer.
        answer: closes the last turn; None leaves it open.
        num_patches: the number of tiles of every image, thumbnail included.
        num_image_token: tokens of one tile.
        system_message: instead of the template's default.
        tokenizer: keeps question and history from writing its special tokens; None trusts them.

    Raises:
        ValueError: fewer markers than images, or an unknown template.
    """
    messages = chat_messages(question, history, with_images=bool(num_patches))
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    template = get_chat_template(name, system_message=system_message)
    pattern = re.compile("(?!)") if tokenizer is None else control_pattern(tokenizer, template)
    (prompt,) = render_prompts(
        [messages], template, pattern, trusted=tokenizer is None, variables={}, add_generation_prompt=answer is None
    )
    marks = [match.span() for match in re.finditer(IMAGE, prompt.text)]
    if len(marks) < len(num_patches):
        raise ValueError(
            f"There are {len(num_patches)} images (`num_patches_list` {list(num_patches)}), but {len(marks)} "
            f"`{IMAGE}` in question and history: {len(num_patches) - len(marks)} lacking. Write `{IMAGE}` into the "
            "question at the place of every image."
        )
    marks = marks[: len(num_patches)]
    prompt.data = _without(prompt.data or [], marks)  # what stands for an image is not the user's text
    runs = [f"{START_IMAGE}{IMAGE_CONTEXT * num_image_token * count}{END_IMAGE}" for count in num_patches]
    return replace(prompt, [(start, end, run) for (start, end), run in zip(marks, runs, strict=True)])


def _without(spans: list[Span], holes: list[Span]) -> list[Span]:
    """Sorted spans of text without what the sorted holes cover."""
    for start, end in holes:
        pieces = [piece for a, b in spans for piece in ((a, min(b, start)), (max(a, end), b))]
        spans = sorted({(a, b) for a, b in pieces if a < b})
    return spans
