# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The bytes of images and videos that clients send or point at: data URIs, and URLs that are fetched within bounds.

URLs are fetched from public addresses only (see `processing/fetching.py`). Paths are never opened. `inputs` checks
what the bytes are.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..processing.addresses import NotPublic
from ..processing.fetching import FetchError, Fetching, TooLarge, is_url
from ..processing.sources import decode_base64
from .requests import RequestError, shown, source_of


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        bytes: maximum number of bytes of the images and videos of a request together.
        pixels: maximum number of pixels of an image, and of a frame of a video.
        all_pixels: maximum number of pixels of the images of a request together.
        items: maximum number of images and videos of a request.
        seconds: maximum time to fetch all URLs of a request, redirections included.
        hosts: hosts whose addresses need not be public, such as `localhost`.
    """

    bytes: int = 64 << 20
    pixels: int = 64_000_000
    all_pixels: int = 128_000_000
    items: int = 64
    seconds: float = 20.0
    hosts: Collection[str] = ()


class Reading:
    """Reads the media of one request, in a thread. Another thread may `abort` it.

    Args:
        limits: of the request.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.left = limits.bytes
        self._fetching = Fetching(limits.seconds, limits.hosts)

    def messages(self, given: list[dict]) -> list[dict]:
        """Messages in OpenAI's form with `data` (bytes) in place of the sources of images and videos.

        Raises:
            RequestError: one cannot be read, or together they are too many, too large or too slow.
        """
        result, items = [], 0
        for message in given:
            content = message["content"]
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            converted: list[dict[str, Any]] = []
            for part in parts:
                if part["type"] == "text":
                    converted.append({"type": "text", "text": part["text"]})
                    continue
                items += 1
                if items > self.limits.items:
                    raise RequestError(f"A request may have {self.limits.items} images and videos at most.")
                own = {"max_patches": 1} if _detail(part) == "low" else {}
                kind = part["type"].removesuffix("_url")
                converted.append({"type": kind, "data": self.read(source_of(part)), **own})
            role = "system" if message["role"] == "developer" else message["role"]
            result.append({"role": role, "content": converted})
        return result

    def read(self, source: str | bytes) -> bytes:
        """The bytes of a data URI or an http(s) URL. Bytes are returned as they are, and counted.

        Raises:
            RequestError: it is neither, is broken, too large or too slow, or points where it may not.
        """
        data = source if isinstance(source, bytes) else self._behind(source)
        if len(data) > self.left:
            raise RequestError(
                f"The images and videos of a request may have {self.limits.bytes} bytes together.", status=413
            )
        self.left -= len(data)
        return data

    def _behind(self, source: str) -> bytes:
        return self._fetch(source) if is_url(source) else _decode(source)

    def abort(self) -> None:
        """The client has left: abort all fetches, and begin no others."""
        self._fetching.abort()

    def _fetch(self, url: str) -> bytes:
        try:
            return self._fetching.get(url, self.left)
        except NotPublic as error:
            advice = f"start the server with --allow-host {error.host} to allow this host."
            raise RequestError(f"{error}: {advice}") from error
        except FetchError as error:
            raise RequestError(str(error), status=413 if isinstance(error, TooLarge) else 400) from error


def _detail(part: dict[str, Any]) -> Any:
    value = part.get("image_url")
    detail = value.get("detail") if isinstance(value, dict) else None
    if detail not in (None, "auto", "low", "high"):
        raise RequestError(f"`detail` of an image must be auto, low or high, got {shown(detail):.80}.")
    return detail


def _decode(source: str) -> bytes:
    head, comma, payload = source.partition(",")
    if not (head.startswith("data:") and comma and head.endswith(";base64")):
        raise RequestError(
            f"An image or video must be an http(s) URL or data:...;base64,..., got {shown(source):.80}."
        )
    try:
        return decode_base64(payload)
    except ValueError as error:
        raise RequestError(f"The base64 text of {head[:80]} is broken: {error}.") from error
