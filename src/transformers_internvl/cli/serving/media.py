# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The bytes of pictures and videos that clients send or point at: data URIs, and URLs that are fetched within bounds.

Only public addresses are asked (see `addresses`), and every step of a redirection is looked at anew. Paths are never
opened. What the bytes are is looked at elsewhere (see `inputs`).
"""

import http.client
import socket
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass
from threading import Timer
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...processing.sources import decode_base64
from .addresses import connect
from .requests import RequestError, source_of

_REDIRECTIONS = (301, 302, 303, 307, 308)
_MOST_REDIRECTIONS = 5
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        bytes: most bytes of the pictures and videos of a request together.
        pixels: most pixels of a picture, and of a frame of a video.
        all_pixels: most pixels of the pictures of a request together.
        items: most pictures and videos of a request.
        seconds: longest time to fetch all that a request points at, redirections included.
        hosts: hosts that are fetched from whatever their address is, such as `localhost`.
    """

    bytes: int = 64 << 20
    pixels: int = 64_000_000
    all_pixels: int = 128_000_000
    items: int = 64
    seconds: float = 20.0
    hosts: Collection[str] = ()


def is_url(source: str) -> bool:
    """Whether a source is to be fetched."""
    return source.startswith(("http://", "https://"))


class Reading:
    """Reads what one request sends and points at, in a thread. Another thread may `abort` it.

    Args:
        limits: of the request.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.left = limits.bytes
        self.end = time.monotonic() + limits.seconds
        self.aborted = False
        self._connection: _Connection | None = None

    def messages(self, given: list[dict]) -> list[dict]:
        """Messages in OpenAI's form with `data` (bytes) in place of the sources of pictures and videos.

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
                    raise RequestError(f"A request may have {self.limits.items} pictures and videos at most.")
                own = {"max_patches": 1} if _detail(part) == "low" else {}
                kind = part["type"].removesuffix("_url")
                converted.append({"type": kind, "data": self.read(source_of(part)), **own})
            role = "system" if message["role"] == "developer" else message["role"]
            result.append({"role": role, "content": converted})
        return result

    def read(self, source: str) -> bytes:
        """The bytes of a data URI or an http(s) URL.

        Raises:
            RequestError: it is neither, is broken, too large or too slow, or points where it may not.
        """
        data = self._fetch(source) if is_url(source) else _decode(source)
        if len(data) > self.left:
            raise RequestError(
                f"The pictures and videos of a request may have {self.limits.bytes} bytes together.", status=413
            )
        self.left -= len(data)
        return data

    def abort(self) -> None:
        """Nobody waits any more: cut off what is being fetched, and fetch nothing else."""
        self.aborted = True
        if self._connection is not None:
            self._connection.abort()

    def _fetch(self, url: str) -> bytes:
        watch = Timer(max(self.end - time.monotonic(), 0.01), self.abort)  # timeouts alone let a server drip bytes
        watch.daemon = True
        watch.start()
        try:
            return self._follow(url)
        finally:
            watch.cancel()

    def _follow(self, url: str) -> bytes:
        for _ in range(_MOST_REDIRECTIONS):
            try:
                answer = self._get(url)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if self.aborted or isinstance(error, TimeoutError):
                    raise self._slow(url) from error
                raise RequestError(f"Cannot fetch {url[:200]}: {type(error).__name__}.") from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
            if not is_url(url):
                break
        raise RequestError(f"Cannot fetch {url[:200]}: redirected too often, or to no http(s) URL.")

    def _get(self, url: str) -> bytes | str:
        """The body behind a URL, or where it is redirected to."""
        parts = urlsplit(url)
        if parts.hostname is None or parts.username is not None or parts.password is not None:
            raise RequestError(f"A URL needs a host and no user name, got {url[:200]}.")
        if self.aborted:
            raise self._slow(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = _Connection(parts.hostname, port, parts.scheme == "https", self.end, self.limits.hosts)
        self._connection = connection
        try:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = {"User-Agent": "transformers_internvl", "Accept": "image/*, video/*"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            if response.status in _REDIRECTIONS:
                return response.headers.get("Location", "")
            if response.status != 200:
                raise RequestError(f"Cannot fetch {url[:200]}: status {response.status}.")
            data = bytearray()
            while chunk := response.read(_CHUNK):
                data += chunk
                if len(data) > self.left:
                    raise RequestError(f"What is at {url[:200]} has more than {self.left} bytes.", status=413)
            if self.aborted:
                raise self._slow(url)
            return bytes(data)
        finally:
            connection.close()

    def _slow(self, url: str) -> RequestError:
        return RequestError(f"{url[:200]} took longer than {self.limits.seconds:g} s.")


def _detail(part: dict[str, Any]) -> Any:
    value = part.get("image_url")
    detail = value.get("detail") if isinstance(value, dict) else None
    if detail not in (None, "auto", "low", "high"):
        raise RequestError(f"`detail` of a picture must be auto, low or high, got {detail!r:.80}.")
    return detail


def _decode(source: str) -> bytes:
    head, comma, payload = source.partition(",")
    if not (head.startswith("data:") and comma and head.endswith(";base64")):
        raise RequestError(f"A picture or video must be an http(s) URL or data:...;base64,..., got {source!r:.80}.")
    try:
        return decode_base64(payload)
    except ValueError as error:
        raise RequestError(f"The base64 text of {head[:80]} is broken: {error}.") from error


class _Connection(http.client.HTTPConnection):
    """Connects to an address that was looked at, and can be cut off by another thread."""

    def __init__(self, host: str, port: int, encrypted: bool, end: float, hosts: Collection[str]):
        super().__init__(host, port)
        self.default_port = 443 if encrypted else 80  # what the Host header leaves out
        self.encrypted, self.end, self.hosts = encrypted, end, hosts
        self.aborted = False
        self.wire: socket.socket | None = None  # `sock` is None as soon as the response has it

    def connect(self) -> None:
        self.sock = self.wire = connect(self.host, self.port, self.end, self.hosts)
        if self.encrypted:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self.wire = self.sock
        if self.aborted:
            self.abort()

    def abort(self) -> None:
        self.aborted = True
        if self.wire is not None:
            try:
                self.wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already
