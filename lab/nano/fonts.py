# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The fonts that images are written with: those found on the machine that hold all ten digits."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Families = tuple[tuple[str, ...], ...]
"""Font files, by family."""


def font_directories() -> list[Path]:
    """Where the fonts of this system lie."""
    home = Path.home()
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".fonts", home / ".local/share/fonts"]


@lru_cache(maxsize=1)
def font_families() -> dict[str, tuple[str, ...]]:
    """The font files on this machine that hold all ten digits, by family; empty where there are none."""
    families: dict[str, list[str]] = {}
    files = [path for folder in font_directories() if folder.is_dir() for path in folder.rglob("*")]
    for path in sorted(path for path in files if path.suffix.lower() in {".ttf", ".otf"}):
        family = _family_with_digits(path)
        if family:
            families.setdefault(family, []).append(str(path))
    return {family: tuple(paths) for family, paths in sorted(families.items())}


def _family_with_digits(path: Path) -> str | None:
    try:
        font = ImageFont.truetype(str(path), 24)
        masks = {bytes(font.getmask(digit)) for digit in "0123456789"}
        missing = bytes(font.getmask("\U0010fffd"))
        upright = font.getbbox("0")
    except OSError:  # a file that FreeType cannot read is no font to us
        return None
    tall = upright[3] - upright[1]
    if len(masks) < 10 or missing in masks or not 10 <= tall <= 26:
        return None
    family = font.getname()[0] or path.stem
    if any(word in family for word in ("Symbol", "Dingbat", "D050000L", "Initials", "Keyboard")):
        return None  # images in the places of digits
    for prefix in ("Noto Sans", "Noto Serif"):  # the digits of their many scripts are the same
        if family.startswith(prefix) and "Mono" not in family:
            return prefix
    return family


_FONT_WEIGHTS = {
    "DejaVu Sans": 12, "DejaVu Sans Mono": 4, "DejaVu Serif": 4, "Liberation Sans": 8, "Liberation Serif": 4,
    "Liberation Mono": 3, "FreeSans": 2, "FreeSerif": 2, "FreeMono": 2, "Noto Sans": 3, "Roboto": 3, "Open Sans": 2,
}  # fmt: skip


def common_families(families: dict[str, tuple[str, ...]], exclude: tuple[str, ...] = ()) -> Families:
    """Font files by family without the `exclude`d families, the most used families several times over."""
    names = [name for name in families if name not in exclude]
    return tuple(families[name] for name in names for _ in range(_FONT_WEIGHTS.get(name, 1)))
