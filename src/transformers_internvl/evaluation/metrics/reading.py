# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reads the answers in the cells of a row as the scorers of VLMEvalKit do."""

from collections.abc import Mapping
from typing import Any

from .arithmetic import FAILURES, arithmetic_value


def accepted_answers(row: Mapping[str, Any]) -> list[str]:
    """The accepted answers of a question: the list in `answer`, or the one text there, as texts."""
    return [str(answer) for answer in read_answers(row["answer"])]


def read_answers(answer: Any) -> list[Any]:
    """The answers in a cell.

    A text that reads as a Python list becomes that list, so the plain answer `[1, 2]` is two answers, and `[1/2]` is
    0.5: tables of VLMEvalKit hold several answers in one cell that way.
    """
    if isinstance(answer, list | tuple):
        return list(answer)
    listed = literal_list(answer) if isinstance(answer, str) else None
    return [answer] if listed is None else listed


def literal_list(text: str) -> list[Any] | None:
    """The Python list that a text spells, None where it spells none. Sums and products of numbers are computed."""
    try:
        value = arithmetic_value(text)
    except FAILURES:
        return None
    return value if isinstance(value, list) else None


__all__ = ["accepted_answers", "literal_list", "read_answers"]
