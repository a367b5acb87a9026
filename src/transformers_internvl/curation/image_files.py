# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The files of images: their bytes, and the ending of their format."""

import io
from typing import Any

from PIL import Image

from ..processing.sources import DECODING_ERRORS, open_source


def bytes_of(image: Any, where: str) -> bytes:
    """The bytes of an image's file.

    Raises:
        ValueError: it cannot be read; the message names the row.
    """
    if isinstance(image, bytes):
        return image
    try:
        with open_source(image) as file:
            return file.read()
    except OSError as error:
        raise ValueError(
            f"{where}: cannot read the image: {error} Put the step `images` into the pipeline to leave out such rows."
        ) from error


def ending(image: bytes) -> str:
    """The ending of an image's format, such as ".png"; ".img" of one that Pillow does not know."""
    try:
        with Image.open(io.BytesIO(image)) as opened:
            name = (opened.format or "").lower()
    except DECODING_ERRORS:
        return ".img"
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(name, f".{name}") if name else ".img"


__all__ = ["bytes_of", "ending"]
