# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Large bodies: their JSON and data URIs are decoded outside of the event loop (see `helper`)."""

from typing import Any

from ..processing.fetching import is_url
from .guard import parse
from .media import Limits, Reading
from .requests import RequestError, check_request, media_parts, source_of, text_bytes


def read_body(data: bytes | bytearray, most_text: int, limits: Limits) -> tuple[dict[str, Any], list[bytes]]:
    """The object that a body holds, with numbers in place of data URIs, and the bytes behind these numbers.

    Args:
        data: the body.
        most_text: maximum number of bytes of its texts.
        limits: of the bytes of images and videos.

    Raises:
        RequestError: it cannot be served.
    """
    body = parse(data)
    check_request(body)
    check_text(body, most_text)
    reading, found = Reading(limits), []
    for part in media_parts(body["messages"]):
        source = source_of(part)
        if is_url(source):
            continue
        found.append(reading.read(source))
        _set_source(part, len(found) - 1)
    return body, found


def with_data(body: dict[str, Any], found: list[bytes]) -> dict[str, Any]:
    """The result of `read_body`, with bytes in place of the numbers."""
    for part in media_parts(body["messages"]):
        if isinstance(source_of(part), int):
            _set_source(part, found[source_of(part)])
    return body


def check_text(body: dict[str, Any], most: int) -> None:
    """Raise `RequestError` if the texts of a request have more than `most` bytes."""
    size = text_bytes(body["messages"])
    if size > most:
        raise RequestError(
            f"The texts have {size} bytes, and no more than {most} can fit into the model's context.",
            param="messages",
            code="context_length_exceeded",
        )


def _set_source(part: dict[str, Any], source: Any) -> None:
    kind = part["type"]
    part[kind] = {**part[kind], "url": source} if isinstance(part[kind], dict) else source
