# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The one table: which of stock's suites runs on which classes. A new suite is a new row."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Suite:
    """One of our drivers, and the classes that it puts through stock's suite.

    Attributes:
        name: what `--suite` and `not_passed.txt` call it.
        driver: a file below `overlay/tests/internvl/`; it gets the classes from `given.given_classes()`.
        ours: classes by name, in the order in which the driver takes them; `module:Name` if not public.
        stock: stock's classes for the same places; None if it has none.
        long: runs with `--long` only.
    """

    name: str
    driver: str
    ours: tuple[str, ...]
    stock: tuple[str, ...] | None = None
    long: bool = False


MODEL = ("InternVLConfig", "InternVLForConditionalGeneration", "InternVLModel")

# The slowest first: two run at a time.
SUITES = (Suite("model", "test_model.py", ours=MODEL, stock=MODEL),)
