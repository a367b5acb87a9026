# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Checks of a request. They come before any use of a model, a file or the network."""

import difflib
import json
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

from ..processing.content import THOUGHTS

ROLES = ("system", "developer", "user", "assistant")
MOST_MESSAGES = 1000
MOST_PARTS = 1000
MOST_FIELDS = 100
MOST_STOPS = 16
MOST_OPTIONS = 1 << 16
"""Maximum number of characters and values in all fields but `messages`, which are kept until the answer."""
_LONGEST_NAME = 100  # of a field for which a similar name is suggested
COLDEST = 1e-4
"""Lower temperatures count as 0 (the most likely token): the scores would overflow float32."""
FAILED = "The server failed on this request; its log says why."

Check = Callable[[Any], bool]


class RequestError(Exception):
    """A request that cannot be served. The answer has this HTTP status and message."""

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """The answer in the form that OpenAI's clients read."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        message = str(self)[:1000].encode(errors="replace").decode()  # a lone surrogate cannot be encoded
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}


class _Shown(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80


shown = _Shown().repr
"""The beginning of a value's `repr`, without writing all of it."""


def _whole(least: int, most: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(least: float, most: float) -> Check:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _stops(value: Any) -> bool:
    texts = [value] if isinstance(value, str) else value
    return isinstance(texts, list) and 0 < len(texts) <= MOST_STOPS and all(isinstance(t, str) and t for t in texts)


def _bias(value: Any) -> bool:
    fits = _number(-100, 100)
    return isinstance(value, dict) and len(value) <= 1000 and all(_token(k) and fits(v) for k, v in value.items())


def _token(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


_POSITIVE = _whole(1, 2**31 - 1)
# Field -> description of its values, and the check.
FIELDS: dict[str, tuple[str, Check]] = {
    "model": ("a string", _text),
    "max_tokens": ("a whole number from 1", _POSITIVE),
    "max_completion_tokens": ("a whole number from 1", _POSITIVE),
    "temperature": ("a number from 0 to 2", _number(0, 2)),
    "top_p": ("a number above 0 and up to 1", _number(1e-6, 1)),
    "frequency_penalty": ("a number from 0 to 2", _number(0, 2)),
    "seed": ("a whole number from 0", _whole(0, 2**63 - 1)),
    "stop": (f"a string, or up to {MOST_STOPS} of them, none empty", _stops),
    "logit_bias": ("numbers from -100 to 100 by token id", _bias),
    "stream": ("true or false", _boolean),
    "generation_config": ("a JSON object as a string", _text),
}
# Variables of the template and options of images and videos that a request may set. None is a risk: another
# template and `trust_text` are not among them.
TEMPLATE_FIELDS: dict[str, tuple[str, Check]] = {
    "enable_thinking": ("true or false", _boolean),
    "max_patches": ("a whole number from 1", _whole(1, 10_000)),
    "num_frames": ("a whole number from 1", _whole(1, 10_000_000)),
}
# Fields of a `GenerationConfig` in JSON, which `transformers chat` sends.
GENERATION_FIELDS: dict[str, tuple[str, Check]] = {
    "do_sample": ("true or false", _boolean),
    "max_new_tokens": ("a whole number from 1", _POSITIVE),
    "temperature": ("a number above 0 and up to 2", _number(1e-3, 2)),
    "top_k": ("a whole number from 0", _whole(0, 2**31 - 1)),
    "top_p": FIELDS["top_p"],
    "min_p": ("a number from 0 to 1", _number(0, 1)),
    "repetition_penalty": ("a number above 0 and up to 10", _number(1e-3, 10)),
}
_BOOKKEEPING = ("transformers_version", "_from_model_config")
# Fields of OpenAI's API that are not supported, with the values that have no effect.
NOT_SERVED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0, 0.0),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}


def check_request(body: dict[str, Any]) -> None:
    """Check the fields of a chat request. Raises `RequestError` for the first that cannot be served."""
    if len(body) > MOST_FIELDS:
        raise RequestError(f"A request has {MOST_FIELDS} fields at most, got {len(body)}.")
    if _amount([{name: value} for name, value in body.items() if name != "messages"], MOST_OPTIONS) > MOST_OPTIONS:
        raise RequestError(f"The fields beside `messages` have more than {MOST_OPTIONS} characters and values.", 413)
    for name, harmless in NOT_SERVED.items():
        if body.get(name) is not None and body[name] not in harmless:
            raise RequestError(f"`{name}` is not served here: leave it out.", param=name)
    _check_fields(body, FIELDS)
    options = body.get("chat_template_kwargs")
    if options is not None:
        if not isinstance(options, dict) or not set(options) <= set(TEMPLATE_FIELDS):
            raise RequestError(
                f"`chat_template_kwargs` may hold {', '.join(TEMPLATE_FIELDS)}.", param="chat_template_kwargs"
            )
        _check_fields(options, TEMPLATE_FIELDS)
    generation_options(body)
    check_messages(body.get("messages"))


def _amount(value: Any, enough: int) -> int:
    """The size of a JSON value: the characters of its texts, and one a value. Counts no further than `enough`."""
    amount, waiting = 0, [value]
    while waiting and amount <= enough:
        one = waiting.pop()
        amount += 1 + (len(one) if isinstance(one, str) else 0)
        if isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
    return amount


def _check_fields(given: dict[str, Any], table: dict[str, tuple[str, Check]]) -> None:
    for name, (words, fits) in table.items():
        if given.get(name) is not None and not fits(given[name]):
            raise RequestError(f"`{name}` must be {words}, got {shown(given[name]):.80}.", param=name)


def generation_options(body: dict[str, Any]) -> dict[str, Any]:
    """The options within `generation_config`. Raises `RequestError` for one that clients may not set."""
    text = body.get("generation_config")
    if text is None:
        return {}
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError("`generation_config` is no JSON.", param="generation_config") from error
    if not isinstance(options, dict):
        raise RequestError("`generation_config` must be a JSON object.", param="generation_config")
    options = {k: v for k, v in options.items() if v is not None and k not in _BOOKKEEPING}
    if not set(options) <= set(GENERATION_FIELDS):
        raise RequestError(
            f"`generation_config` may hold {', '.join(GENERATION_FIELDS)}; got {sorted(options)!r:.200}.",
            param="generation_config",
        )
    _check_fields(options, GENERATION_FIELDS)
    return options


def check_messages(messages: Any) -> None:
    """Check messages in OpenAI's form. Raises `RequestError` that names the message."""
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise RequestError(f"`messages` must be a list of 1 to {MOST_MESSAGES} messages.", param="messages")
    parts = 0
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            raise RequestError(f"`{place}` must be an object with role and content.", param=place)
        if message.get("role") not in ROLES:
            raise RequestError(
                f"The role of `{place}` must be one of {', '.join(ROLES)}, got {shown(message.get('role')):.80}.",
                param=f"{place}.role",
            )
        if message.get("tool_calls") or message.get("function_call"):
            raise RequestError(f"`{place}` calls tools, which are not served here.", param=place)
        thoughts = THOUGHTS if message["role"] == "assistant" else ()
        _refuse_unknown(message, ("role", "content", *thoughts), place)
        content = message.get("content")
        if isinstance(content, list):
            parts += len(content)
            if parts > MOST_PARTS:
                raise RequestError(f"The messages may have {MOST_PARTS} parts together.", param="messages")
            for number, part in enumerate(content):
                _check_part(part, f"{place}.content[{number}]")
        elif not isinstance(content, str) or not _encodable(content):
            raise RequestError(f"The content of `{place}` must be Unicode text or a list of parts.", param=place)


def text_bytes(messages: list[dict[str, Any]]) -> int:
    """The bytes of all texts, as UTF-8; images and videos do not count."""
    texts = [message["content"] for message in messages if isinstance(message["content"], str)]
    texts += [part["text"] for part in _parts(messages) if part["type"] == "text"]
    return sum(len(text.encode()) for text in texts)


def media_parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of messages that are images or videos."""
    return [part for part in _parts(messages) if part["type"] != "text"]


def _parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = [message["content"] for message in messages]
    return [part for content in contents if isinstance(content, list) for part in content]


def _check_part(part: Any, place: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        right = isinstance(part.get("text"), str) and _encodable(part["text"])
    elif kind in ("image_url", "video_url"):
        right = isinstance(source_of(part), (str, bytes))  # bytes: a decoded data URI
    else:
        raise RequestError(
            f"`{place}` must be of type text, image_url or video_url, got {shown(kind):.80}.", param=place
        )
    if not right:
        wanted = "Unicode text as `text`" if kind == "text" else f'{{"url": ...}} as `{kind}`'
        raise RequestError(f"`{place}` needs {wanted}.", param=place)

    _refuse_unknown(part, ("type", kind), place)
    if isinstance(part[kind], dict):
        _refuse_unknown(part[kind], ("url", "detail") if kind == "image_url" else ("url",), f"{place}.{kind}")


def _refuse_unknown(fields: dict[str, Any], known: Sequence[str], place: str) -> None:
    """Raise `RequestError` for an unknown field: nothing that a client asks for is ignored."""
    for name, value in fields.items():
        if name not in known and value not in (None, "", [], {}):
            near = difflib.get_close_matches(name, known, n=1) if len(name) <= _LONGEST_NAME else []
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise RequestError(
                f"`{place}` has an unknown field {shown(name):.80}.{hint}", param=f"{place}.{name[:100]}"[:100]
            )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def source_of(part: dict[str, Any]) -> Any:
    """The URL of an image or a video, or its bytes."""
    value = part.get(part["type"])
    return value.get("url") if isinstance(value, dict) else value
