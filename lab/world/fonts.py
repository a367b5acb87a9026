# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The fonts of the world: those that matplotlib and Pillow bring along, so that every machine draws the same.

None of them has Chinese characters, and no light and free font on a package index does: Chinese is in questions,
answers and captions, and never in pictures.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

FONTS: dict[str, tuple[str | None, ...]] = {
    "train": (
        "DejaVuSans.ttf",
        "DejaVuSans-Bold.ttf",
        "DejaVuSans-Oblique.ttf",
        "DejaVuSansMono.ttf",
        "DejaVuSansMono-Bold.ttf",
        "DejaVuSerif.ttf",
        "DejaVuSerif-Bold.ttf",
    ),
    "test": ("STIXGeneral.ttf", "STIXGeneralBol.ttf", "cmr10.ttf", "cmss10.ttf", None),
}
"""Split -> files of matplotlib's fonts; None is Pillow's built-in font. No family is in both."""


@lru_cache(maxsize=512)
def font(name: str | None, size: int) -> ImageFont.FreeTypeFont:
    """A font of `FONTS` at a size in pixels.

    Raises:
        ImportError: matplotlib, whose fonts these are, is not installed.
    """
    if name is None:
        return ImageFont.load_default(size=size)  # type: ignore[return-value]
    return ImageFont.truetype(str(_folder() / name), size)


@lru_cache(maxsize=1)
def _folder() -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


__all__ = ["FONTS", "font"]
