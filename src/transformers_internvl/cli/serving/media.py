# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pictures and videos that clients send or point at: data URIs, and URLs that are fetched within bounds.

A client can name any URL, but it is this machine that fetches it, and it may reach what the client cannot: other
services of the machine and its network. So only public addresses are asked, the address that was looked at is the one
that is connected to, and every step of a redirection is looked at anew. Paths are never opened.
"""

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from threading import Timer
from urllib.parse import urljoin, urlsplit

from PIL import Image

from ...processing.sources import DECODING_ERRORS, decode_base64
from .requests import RequestError

_REDIRECTIONS = (301, 302, 303, 307, 308)
_MOST_REDIRECTIONS = 5
_CHUNK = 1 << 16
# Formats without code, other files or other URLs in them, unlike PostScript or playlists.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# What MP4 and MOV, Matroska and WebM, and AVI begin with: all of it, since a part can stand in other formats, too.
_VIDEO_MARKS = re.compile(rb"\0...ftyp|\x1a\x45\xdf\xa3.{,64}(?:matroska|webm)|RIFF....AVI LIST", re.DOTALL)


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes:
        bytes: most bytes of a picture or a video, and of a request's body.
        pixels: most pixels of a picture.
        items: most pictures and videos of a request.
        seconds: longest time to fetch a URL.
        hosts: hosts that are fetched from whatever their address is, such as `localhost`.
    """

    bytes: int = 64 << 20
    pixels: int = 64_000_000
    items: int = 64
    seconds: float = 20.0
    hosts: Collection[str] = ()


def read_source(url: str, limits: Limits) -> bytes:
    """The bytes of a data URI or an http(s) URL.

    Raises:
        RequestError: it is neither, is broken, too large or too slow, or points where it may not.
    """
    if url.startswith(("http://", "https://")):
        return _fetch(url, limits)
    head, comma, payload = url.partition(",")
    if not (head.startswith("data:") and comma and head.endswith(";base64")):
        raise RequestError(f"A picture or video must be an http(s) URL or data:...;base64,..., got {url!r:.80}.")
    try:
        return decode_base64(payload)
    except ValueError as error:
        raise RequestError(f"The base64 text of {head[:80]} is broken: {error}.") from error


def open_picture(data: bytes, limits: Limits) -> Image.Image:
    """The picture in `data`, of a bounded size, not decoded yet. Raises `RequestError`."""
    try:
        picture = Image.open(BytesIO(data), formats=PICTURE_FORMATS)
    except (*DECODING_ERRORS, ValueError) as error:
        raise RequestError(f"No picture in one of the formats {', '.join(PICTURE_FORMATS)}.") from error
    if picture.width * picture.height > limits.pixels:
        raise RequestError(
            f"A picture of {picture.width} x {picture.height} pixels is too large: at most {limits.pixels} are taken."
        )
    return picture


def check_video(data: bytes) -> None:
    """Raise `RequestError` unless `data` begins as a container of videos does."""
    if not _VIDEO_MARKS.match(data):
        raise RequestError("No video in one of the formats MP4, MOV, Matroska, WebM, AVI.")


def _fetch(url: str, limits: Limits) -> bytes:
    for _ in range(_MOST_REDIRECTIONS):
        try:
            answer = _get(url, limits)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RequestError(f"Cannot fetch {url[:200]}: {type(error).__name__}.") from error
        if not url.startswith(("http://", "https://")):
            break
    raise RequestError(f"Cannot fetch {url[:200]}: redirected too often, or to no http(s) URL.")


def _get(url: str, limits: Limits) -> bytes | str:
    """The body behind a URL, or where it is redirected to."""
    parts = urlsplit(url)
    host = parts.hostname
    if host is None or parts.username is not None or parts.password is not None:
        raise RequestError(f"A URL needs a host and no user name, got {url[:200]}.")
    connection = _Connection(host, parts.port or (443 if parts.scheme == "https" else 80), limits, parts.scheme)
    watch = Timer(limits.seconds, connection.abort)  # a timeout alone would let a server drip a byte at a time
    watch.daemon = True
    watch.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "transformers_internvl", "Accept": "image/*, video/*"})
        response = connection.getresponse()
        if response.status in _REDIRECTIONS:
            return response.headers.get("Location", "")
        if response.status != 200:
            raise RequestError(f"Cannot fetch {url[:200]}: status {response.status}.")
        data = bytearray()
        while chunk := response.read(_CHUNK):
            data += chunk
            if len(data) > limits.bytes:
                raise RequestError(f"What is at {url[:200]} has more than {limits.bytes} bytes.")
        if connection.aborted:
            raise RequestError(f"{url[:200]} took longer than {limits.seconds:g} s.")
        return bytes(data)
    finally:
        watch.cancel()
        connection.close()


class _Connection(http.client.HTTPConnection):
    """Connects to an address that was looked at, and can be cut off by another thread."""

    def __init__(self, host: str, port: int, limits: Limits, scheme: str):
        super().__init__(host, port, timeout=limits.seconds)
        self.default_port = 443 if scheme == "https" else 80  # what the Host header leaves out
        self.limits = limits
        self.encrypted = scheme == "https"
        self.aborted = False
        self.wire: socket.socket | None = None  # `sock` is None as soon as the response has it

    def connect(self) -> None:
        address = _address(self.host, self.port, self.limits.hosts)
        self.sock = socket.create_connection((address, self.port), timeout=self.limits.seconds)
        if self.encrypted:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        self.wire = self.sock

    def abort(self) -> None:
        self.aborted = True
        if self.wire is not None:
            try:
                self.wire.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already


def _address(host: str, port: int, trusted: Collection[str]) -> str:
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if host not in trusted:
        for address in addresses:
            known = ipaddress.ip_address(address.partition("%")[0])
            known = getattr(known, "ipv4_mapped", None) or known
            if not known.is_global or known.is_multicast:
                raise RequestError(
                    f"{host[:200]} has no public address: start the server with --allow-host {host[:200]} if it may "
                    "fetch from there."
                )
    return addresses[0]
