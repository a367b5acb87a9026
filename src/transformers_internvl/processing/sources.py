# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Opening what a user points at: a path, a URL, a data URI or base64 text."""

from __future__ import annotations

import base64
import os
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image

DECODING_ERRORS = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on data that is no picture, breaks off, or is too large to be honest."""


MAX_DOWNLOAD = 2**31
"""The most bytes that a URL may give, unpacked: 2 GiB."""

_WHITE_SPACE = b" \t\n\r\v\f"


def open_source(source: str | os.PathLike | bytes, timeout: float | None = 60.0) -> BinaryIO:
    """A readable binary file for a path, an `http(s)` URL, a `data:` URI, base64 text, or bytes as they are.

    Raises `ValueError` if the text is none of these, `FileNotFoundError` if it looks like a path to nothing, and
    `OSError` if the URL cannot be fetched within `timeout` seconds.
    """
    if isinstance(source, bytes):
        return BytesIO(source)
    text = os.fspath(source)
    if text.startswith(("http://", "https://")):
        return BytesIO(_fetch(text, timeout))
    if os.path.isfile(text):
        return open(text, "rb")
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return BytesIO(decode_base64(payload))
    except ValueError as error:
        shown = text if len(text) <= 240 else f"{text[:120]}…{text[-120:]}"  # a path, or broken base64
        raise FileNotFoundError(f"Neither a file, an http(s) URL, a data URI nor base64 text: {shown!r}.") from error


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text, white space allowed. Raises `ValueError` for other text."""
    return base64.b64decode(text.encode("ascii").translate(None, _WHITE_SPACE), validate=True)


def unwrapped(item: Any) -> Any:
    """What the cell of an image column that is not decoded holds, `{"bytes": ..., "path": ...}`: the bytes, else the
    path. Anything else as it is.

    Raises `ValueError` for a cell that holds neither.
    """
    if not isinstance(item, dict) or not item.keys() <= {"bytes", "path"}:
        return item
    held = item.get("bytes") or item.get("path")
    if not held:
        raise ValueError("holds neither `bytes` nor a `path`")
    return held


def open_image(source: str | os.PathLike | bytes, timeout: float | None = 60.0) -> Image.Image:
    """The picture at a path, URL, data URI, base64 text, or in bytes; not decoded yet.

    As in the authors' code its EXIF orientation is not applied, unlike with `transformers.image_utils.load_image`.
    Raises `ValueError` if there is no readable picture.
    """
    try:
        return Image.open(open_source(source, timeout))
    except DECODING_ERRORS as error:
        raise ValueError(f"Cannot open the picture: {error}") from error


def _fetch(url: str, timeout: float | None) -> bytes:
    from huggingface_hub.utils import httpx  # the client that transformers uses as well

    content = bytearray()
    try:
        with httpx.stream("GET", url, timeout=timeout, follow_redirects=True) as response:
            response.raise_for_status()
            for part in response.iter_bytes():
                content += part
                if len(content) > MAX_DOWNLOAD:  # whatever the header said
                    raise OSError(f"Cannot fetch {url}: it gives more than {MAX_DOWNLOAD} bytes.")
    except httpx.HTTPError as error:
        raise OSError(f"Cannot fetch {url}: {error}") from error
    return bytes(content)
