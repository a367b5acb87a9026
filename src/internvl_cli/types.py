# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Types of arguments: whole numbers, ports, and number formats."""

import argparse
import warnings
from collections.abc import Callable
from fractions import Fraction

# Names of the layouts of checkpoints, see `internvl convert --help`.
LAYOUTS = ("original", "hf")
# Short names of number formats -> torch's.
_DTYPES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "f16": "float16",
    "half": "float16",
    "fp32": "float32",
    "f32": "float32",
    "float": "float32",
}


def positive(text: str) -> int:
    """The type of an argument that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """The type of an argument that is a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def fraction(text: str) -> float:
    """The type of an argument that is a number, such as 0.25 or 1/4."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"expected a number such as 1/4 or 0.25, got {text!r}") from None


def number(least: float, most: float, *, above: bool = False) -> Callable[[str], float]:
    """The type of an argument that is a number from `least` to `most`; with `above`, greater than `least`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most or (above and value == least):
            words = f"above {least:g} and up to" if above else f"from {least:g} to"
            raise argparse.ArgumentTypeError(f"expected a number {words} {most:g}, got {text!r}")
        return value

    return parse


def whole_numbers(text: str) -> list[int]:
    """The type of an argument that lists whole numbers, such as 0,1,-1."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,-1, got {text!r}") from None


def port(text: str) -> int:
    """The type of an argument that is a port, 0 for a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, got {text!r}")
    return int(text)


def layout(text: str) -> str:
    """The type of an argument that is a layout of checkpoints, by its present name."""
    if text == "authors":
        warnings.warn("The layout 'authors' is called 'original' now.", FutureWarning, stacklevel=2)
        return "original"
    return text


def dtype_name(text: str) -> str:
    """The type of `--dtype`: torch's name of a dtype; short names such as `bf16` are accepted."""
    name = text.lower().removeprefix("torch.")
    return _DTYPES.get(name, name)
