# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Opening what a user points at: a path, a URL, a data URI or base64 text."""

from __future__ import annotations

import base64
import io
import os
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image

DECODING_ERRORS = (OSError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises on data that is no image, breaks off, or is too large to be honest."""


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


class _Reopening(io.RawIOBase):
    """A file that is open only while it is read from.

    Images are opened by the hundred before the first one is decoded, more than a process may hold open.
    """

    def __init__(self, path: str):
        self._path, self._position = path, 0
        self._file: BinaryIO | None = None

    def __repr__(self) -> str:
        return repr(self._path)  # Pillow names what it cannot read by this

    def release(self) -> None:
        """Close the file; the next `read` goes on where the last one ended."""
        if self._file is not None:
            self._position = self._file.tell()
            self._file.close()
            self._file = None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = open(self._path, "rb")  # noqa: SIM115 (closed by `release`)
            self._file.seek(self._position)
        return self._file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._opened().read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._opened().seek(offset, whence)

    def tell(self) -> int:
        return self._position if self._file is None else self._file.tell()

    def close(self) -> None:
        self.release()
        super().close()


def require_regular_file(path: str | os.PathLike) -> None:
    """Raise `ValueError` for folders, and for pipes and devices, which would be waited for or have no end."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{os.fspath(path)} is a folder, a pipe or a device: expected a regular file.")


def open_image(source: str | os.PathLike | bytes, timeout: float | None = 60.0) -> Image.Image:
    """The image at a path, URL, data URI, base64 text, or in bytes; not decoded yet, and no file is held open.

    As in the original code its EXIF orientation is not applied, unlike with `transformers.image_utils.load_image`.
    Raises `ValueError` if there is no readable image.
    """
    path = None if isinstance(source, bytes) else os.fspath(source)
    try:
        if path is None or not os.path.isfile(path):
            return Image.open(open_source(source, timeout))
        file = _Reopening(path)
        try:
            image = Image.open(file)  # type: ignore[arg-type]
        finally:
            file.release()
        image.reopening = file  # type: ignore[attr-defined]  # Pillow drops its own name for it, not the file
        return image
    except DECODING_ERRORS as error:
        raise ValueError(f"Cannot open the image: {error}") from error


def release(image: Any) -> None:
    """Close the file of an image of `open_image`, which Pillow keeps open; reading further frames opens it again."""
    file = getattr(image, "reopening", None)
    if isinstance(file, _Reopening):
        file.release()


def load_image(source: str | os.PathLike | bytes) -> Image.Image:
    """As `open_image`, and decoded. Raises what Pillow raises, too (`DECODING_ERRORS`)."""
    image = open_image(source)
    try:
        image.load()
    finally:
        release(image)
    return image


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
