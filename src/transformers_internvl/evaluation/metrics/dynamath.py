# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""DynaMath: answers as JSON, else by rule, else as a language model put them shortly.

Source: open-compass/VLMEvalKit `vlmeval/dataset/dynamath.py`.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from .metric import Row, Scores, percent

_LETTERS = "ABCDE"
_PI = "\u03c0"
_CLOSE = 0.001


def without_backslashes(text: str) -> str:
    """What stands between the first and the last brace, where there are any, without backslashes."""
    first, last = text.find("{"), text.rfind("}")
    return (text[first : last + 1] if 0 <= first < last else text).replace("\\", "")


def parse_answer(answer: str, kind: str) -> Any:
    """A short answer as it is compared, None where it cannot be read.

    Args:
        answer: the text.
        kind: `float` (digits, or the first word as a number, in multiples of pi where it is there), `multiple choice`
            (one character, or the only letter A to E among all characters), or anything else: the text as it is.
    """
    if kind == "float":
        word = answer.split(" ")[0]
        try:
            if answer.isdigit():
                return float(answer)
            return float(word.split(_PI)[0]) * math.pi if _PI in word else float(word)
        except ValueError:
            return None
    if kind == "multiple choice":
        if len(answer) == 1:
            return answer.upper()
        found = [letter for letter in _LETTERS if letter in answer.upper()]
        return found[0] if len(found) == 1 else None
    return answer


def short_answer(row: Row) -> Any:
    """The answer that a rule finds in a prediction: the JSON field `short answer`, else the text; None: none does."""
    text = without_backslashes(str(row["prediction"]))
    try:
        said = json.loads(text, strict=False)["short answer"]
        found = parse_answer(said, row["answer_type"]) if isinstance(said, str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        found = None
    return parse_answer(text, row["answer_type"]) if found is None else found


def is_right(row: Row) -> bool:
    """Whether an answer is right: by rule, else by the column `extraction`, what a language model made of it.

    Floats may differ by 0.001; a choice that nobody can read is right if the letter is among the first three
    characters; of other answers the text must be part of the right one. A short answer that is no text is none, where
    the official code fails.
    """
    kind, answer = row["answer_type"], str(row["answer"])
    found = short_answer(row)
    if found is None and "extraction" in row:
        found = parse_answer(str(row["extraction"]), kind)
    if kind == "float":
        return found is not None and abs(float(found) - float(answer)) <= _CLOSE
    if kind == "multiple choice":
        return answer in without_backslashes(row["prediction"])[:3].upper() if found is None else found == answer
    return str(found).lower() in answer.lower()


def score_dynamath(rows: Sequence[Row]) -> Scores:
    """DynaMath in percent of all variants; the table has the worst case, too: all variants of a question right.

    Rows have `answer`, `answer_type`, `subject`, `knowledge_level` and `qid`, the question of which they are variants.
    """
    hits = [float(is_right(row)) for row in rows]
    worst: dict[Any, float] = {}
    for row, hit in zip(rows, hits, strict=True):
        worst[row["qid"]] = min(hit, worst.get(row["qid"], 1.0))
    firsts = list({row["qid"]: row for row in reversed(rows)}.values())[::-1]
    table = {
        "average": _groups(rows, hits),
        "worst case": _groups(firsts, [worst[row["qid"]] for row in firsts]),
    }
    return Scores(percent(hits), table, tuple(hits))


def _groups(rows: Sequence[Row], hits: Sequence[float]) -> dict[str, float | None]:
    """Percent of all, and of each subject and level."""
    table = {"overall": percent(hits)}
    for column in ("subject", "knowledge_level"):
        for value in dict.fromkeys(row[column] for row in rows):
            table[str(value)] = percent([hit for row, hit in zip(rows, hits, strict=True) if row[column] == value])
    return table


__all__ = ["is_right", "parse_answer", "score_dynamath", "short_answer", "without_backslashes"]
