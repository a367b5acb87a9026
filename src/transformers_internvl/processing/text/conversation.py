# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A conversation as the authors' `conversation.py` has it: turns are appended, and the prompt is read off.

It is for scripts that write prompts by hand. Its texts are taken as they are: special tokens in them count. `chat` and
the processor keep what a user types apart from them, and are the better way.
"""

import copy
from dataclasses import dataclass, field

from transformers.utils.chat_template_utils import render_jinja_template

from ..chat_templates import TEMPLATES, get_chat_template


@dataclass
class Conversation:
    """Turns and what is between them.

    Attributes:
        name: of the template, a key of `TEMPLATES`.
        system_message: "" sends an empty one.
        roles: what opens the user's and the assistant's turns.
        messages: pairs of role and text; None is a turn that is to be completed.
        sep, sep2: what closes turns.
        stop_str: accepted for the authors' class; None.
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
