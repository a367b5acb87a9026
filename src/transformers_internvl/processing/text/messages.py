# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversations as `apply_chat_template` takes them: messages in several spellings, templates by name, options."""

import re
from typing import Any

from transformers.utils.chat_template_utils import _message_objects_to_dicts

from .bounded_templates import check_length

_MEDIA = ("images", "videos")
"""Options of a processor's call that no template is given, though templates have variables of such names."""


def normalized(conversation: Any) -> tuple[list[list[dict[str, Any]]], bool]:
    """Conversations as lists of fresh messages, and whether there were several.

    A message, and what is in it, may be an object as clients of servers have them: a dataclass, or a pydantic model.
    Keys without a value are left out, since templates would write "None". OpenAI's `image_url` items become `image`;
    with `"detail": "low"` they are seen in one tile.

    Raises:
        ValueError: no messages, or a message that is neither a dictionary nor such an object.
    """
    if not isinstance(conversation, (list, tuple)) or not conversation:
        raise ValueError(f"Expected a list of messages, or a list of such lists, got {conversation!r:.100}.")
    batched = isinstance(conversation[0], (list, tuple)) or hasattr(conversation[0], "messages")
    chats = [getattr(chat, "messages", chat) for chat in (conversation if batched else [conversation])]
    return [[_normalized_message(message) for message in chat] for chat in chats], batched


def _normalized_message(message: Any) -> dict[str, Any]:
    message = _message_objects_to_dicts(message)
    if not isinstance(message, dict):
        raise ValueError(f"Expected a message {{'role': ..., 'content': ...}}, got {message!r:.100}.")
    message = {key: value for key, value in message.items() if value is not None}
    if isinstance(message.get("content"), (list, tuple)):
        message["content"] = [_normalized_item(item) for item in message["content"]]
    return message


def _normalized_item(item: Any) -> Any:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    if not isinstance(item, dict):
        return item
    item = {key: value for key, value in item.items() if value is not None}  # tables have every key in every item
    if item.get("type") != "image_url":
        return item
    source = item.pop("image_url", None)
    fields = dict(source) if isinstance(source, dict) else {"url": source}
    if (detail := fields.pop("detail", None)) not in (None, "auto", "low", "high"):
        raise ValueError(f"`detail` of an `image_url` is auto, low (one tile) or high; got {detail!r:.80}.")
    tiles = {"max_patches": 1} if detail == "low" else {}
    return {**item, "type": "image", **fields, **tiles}


def choose_template(templates: str | dict[str, str] | None, chosen: str | None) -> str:
    """The text of the chat template to use, which is not longer than any is.

    Args:
        templates: those of a processor, one text or texts by name.
        chosen: a name, or another text; None = the only one, or the one called "default".

    Raises:
        ValueError: there is none, several and none is chosen, or it is too long.
    """
    template = _chosen(templates, chosen)
    check_length(template)
    return template


def _chosen(templates: str | dict[str, str] | None, chosen: str | None) -> str:
    if isinstance(templates, dict):
        name = "default" if chosen is None else chosen
        if name in templates:
            return templates[name]
        if chosen is None:
            raise ValueError(f"Choose one of the processor's templates with `chat_template`: {sorted(templates)}.")
    if chosen is not None:
        return chosen
    if not isinstance(templates, str):
        raise ValueError(
            "This processor does not have a chat template. Set `processor.chat_template = get_chat_template(name)`, "
            "or pass `chat_template`."
        )
    return templates


def chat_options(
    template: str,
    options: dict[str, Any],
    processor_kwargs: dict[str, Any] | None,
    *,
    return_tensors: Any,
    for_training: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `apply_chat_template` was given: variables of the template, and options of the processor's call.

    Args:
        template: the text of the chat template.
        options: further keyword arguments, which may be either.
        processor_kwargs: options of the processor's call, which win over `options`.
        return_tensors: "auto" leaves the choice to `options`.
        for_training: what the template's variable of this name is set to, if it is not given.

    Raises:
        ValueError: the template does not use a variable of InternVL's own, so that the argument would have no effect;
            or the call is given a prompt or videos beside the conversation.
    """
    variables, call = split_options(template, options)
    if for_training:
        variables.setdefault("for_training", True)
    call.update(processor_kwargs or {})
    for name in ("text", "videos"):
        if call.pop(name, None) is not None:
            kind = name.removesuffix("s")
            raise ValueError(
                f"`{name}` cannot be given beside a conversation. Write it as a content item, {{'type': '{kind}', "
                f"'{kind}': ...}}. Only `images` may be given beside, for image items that carry none."
            )
    if return_tensors != "auto":
        call["return_tensors"] = return_tensors
    if any(call.get(name) is not None for name in ("fps", "num_frames")):
        call.setdefault("do_sample_frames", True)
    return variables, call


def split_options(template: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort keyword arguments into variables that the template uses, and the rest, to which media always belong.

    Raises:
        ValueError: the template does not use a variable of InternVL's own, so that the argument would have no effect.
    """
    names = [name for name in options if name not in _MEDIA and re.search(rf"\b{re.escape(name)}\b", template)]
    used = {name: options[name] for name in names}
    for name in ("enable_thinking", "image_labels"):
        if options.get(name) is not None and name not in used:
            raise ValueError(f"The chat template does not know `{name}`: leave it out, or use another template.")
    return used, {name: value for name, value in options.items() if name not in used and value is not None}


def refuse_contradictions(audio: bool, mask_of_text: bool, open_and_closed: Any) -> None:
    """Raise `ValueError` for arguments of `apply_chat_template` that cannot be had, or not together."""
    if audio:
        raise ValueError("InternVL has no audio: leave `load_audio_from_video` out.")
    if mask_of_text:
        raise ValueError("`return_assistant_tokens_mask=True` requires `tokenize=True` and `return_dict=True`.")
    if open_and_closed:
        raise ValueError(
            "`continue_final_message` leaves the last message open: it cannot be combined with "
            "`add_generation_prompt` or `return_assistant_tokens_mask`."
        )
