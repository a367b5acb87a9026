# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What messages hold is used or refused: a key that neither the template nor the processors know is an error."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .media import IMAGE_OPTIONS, SOURCES, VIDEO_OPTIONS

# Type of a content item -> its keys.
ITEM_KEYS = {
    "text": ("text",),
    "ref": ("text",),
    "image": (*SOURCES["image"], *IMAGE_OPTIONS),
    "video": (*SOURCES["video"], *VIDEO_OPTIONS),
}
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What servers call the thoughts of an answer. Prompts of the family hold earlier answers without their thoughts."""

_TOOLS = ("tool", "function")
_CALLS = ("tool_calls", "function_call")
_OF_RESULTS = ("name", "tool_call_id")  # which call a result belongs to: templates of the family go by the order


def check_content(
    conversations: Sequence[list[dict[str, Any]]], template: str, *, thoughts: bool = True, tools: Any = None
) -> None:
    """Look for what would be ignored in normalized conversations.

    Args:
        conversations: lists of messages.
        template: the text of the chat template. What it reads by name is used.
        thoughts: whether the thoughts of answers may be left out, as at inference.
        tools: what is given to the template under this name.

    Raises:
        ValueError: a message or item with an unknown key, an image with two sources, text without text, or tools
            that the template does not know.
    """
    if tools and not re.search(r"\btools\b", template):
        raise ValueError("The chat template does not know `tools`: describe them in the system message.")
    for number, chat in enumerate(conversations):
        for index, message in enumerate(chat):
            place = f"Message {index}" if len(conversations) == 1 else f"Conversation {number}, message {index}"
            _check_message(message, f"{place} ({message.get('role')})", template, thoughts)


def _check_message(message: dict[str, Any], place: str, template: str, thoughts: bool) -> None:
    for name in _unknown(message, ("role", "content"), template):
        role = message.get("role")
        if (name in THOUGHTS and thoughts and role == "assistant") or (name in _OF_RESULTS and role in _TOOLS):
            continue
        if name in _CALLS:
            raise ValueError(
                f"{place}: the chat template has no form for `{name}`. Write the call into the content, as the text "
                "that the model is to write, and its result into a message of its own; or pass a `chat_template` that "
                "has a form for calls."
            )
        raise ValueError(f"{place}: {_advice(name, ('role', 'content'))} A message has role and content.")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, (list, tuple)):
        raise ValueError(f"{place}: expected a text or a list of items as content, got {content!r:.80}.")
    for at, item in enumerate(content):
        if isinstance(item, dict) and item.get("type") in ITEM_KEYS:
            _check_item(item, f"{place}, item {at}", template)


def _check_item(item: dict[str, Any], place: str, template: str) -> None:
    kind = item["type"]
    for name in _unknown(item, ("type", *ITEM_KEYS[kind]), template):
        keys = ITEM_KEYS[kind]
        raise ValueError(f"{place}: {_advice(name, keys)} An item of type {kind!r} may have {', '.join(keys)}.")
    given = {name: item[name] for name in SOURCES.get(kind, ()) if item.get(name) is not None}
    first, *others = given.values() or [None]
    if any(other is not first and not (isinstance(other, str) and other == first) for other in others):
        raise ValueError(f"{place}: {' and '.join(given)} both say which {kind} it is. Give one of them.")
    if ITEM_KEYS[kind] == ("text",) and item.get("text") is None:
        raise ValueError(f"{place}: an item of type {kind!r} needs `text`.")


def _unknown(holder: dict[str, Any], known: Sequence[str], template: str) -> Iterator[str]:
    """Keys with a value that are not known, and that the template does not read by name."""
    for name, value in holder.items():
        empty = value is None or (isinstance(value, (str, list, tuple, dict)) and len(value) == 0)
        if name not in known and not empty and not _reads(template, str(name)):
            yield str(name)


def _reads(template: str, name: str) -> bool:
    quoted = re.escape(name)
    return re.search(rf"\.{quoted}\b|(['\"]){quoted}\1", template) is not None


def _advice(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"unknown key {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


__all__ = ["ITEM_KEYS", "THOUGHTS", "check_content"]
