# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""MathVision and MathVerse: whether two answers are the same number, expression or option.

`latex2sympy2_extended` reads formulas: `pip install transformers_internvl[evaluation]`.

Source: VLMEvalKit `vlmeval/dataset/utils/mathv.py`, `vlmeval/dataset/utils/mathverse.py`.
"""

import json
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from .arithmetic import FAILURES, arithmetic_value
from .choices import can_infer
from .mathvista import count_table
from .metric import Row, Scores, percent
from .optional import needed
from .reading import read_answers

_CLOSE = 1e-6


def is_equal(prediction: Any, answer: Any) -> bool:
    """Whether two answers are equal texts but for case, or numbers within 1e-6: written out, computed, or as formulas.

    The official code evaluates both as Python with its own variables in reach, so that the prediction `A` equals every
    number. Other names, and calls of most functions, are not evaluated here.

    Raises:
        ImportError: `latex2sympy2_extended` is missing.
    """
    prediction, answer = str(prediction).lower().strip(), str(answer).lower().strip()
    if prediction == answer:
        return True
    try:
        value = arithmetic_value(answer)
        if abs(value - arithmetic_value(prediction, {"a": value})) < _CLOSE:
            return True
    except FAILURES:
        pass
    return _equal_formulas(prediction, answer)


def prefetch(row: Mapping[str, Any], response: Any) -> Any:
    """The option that a rule finds in a response, or the response where it equals the answer, or False.

    Args:
        row: with `answer`, and `choices`, a list or its text, empty for open questions.
    """
    if _lettered(row):
        return can_infer(str(response), _lettered(row)) or False
    return str(response) if is_equal(str(response), str(row["answer"])) else False


def post_check(row: Mapping[str, Any], response: Any) -> bool:
    """Whether an extracted answer of MathVision is right: the option found in it, or itself, equals the answer."""
    choices = _lettered(row)
    return is_equal((can_infer(str(response), choices) or False) if choices else str(response), row["answer"])


def score_mathvision(rows: Sequence[Row]) -> Scores:
    """MathVision in percent: by `category` and `Overall`, with the share that a rule decided.

    Where no rule decides, `extraction` (of a language model) is checked if the row has it.
    """
    known = [prefetch(row, row["prediction"]) for row in rows]
    hits = [
        post_check(row, one or row.get("extraction", row["prediction"])) for row, one in zip(rows, known, strict=True)
    ]
    table = mathvision_table(rows, [bool(one) for one in known], hits)
    return Scores(table["Overall"]["acc"] if rows else None, table, tuple(map(float, hits)))


def mathvision_table(
    rows: Sequence[Mapping[str, Any]], prefetched: Sequence[bool], hits: Sequence[bool]
) -> dict[str, dict[str, float]]:
    """`tot`, `prefetch`, `hit`, `prefetch_rate` and `acc` of each `category` and `Overall`."""
    counts: dict[str, list[int]] = {}
    for row, known, hit in zip(rows, prefetched, hits, strict=True):
        for name in ("Overall", row["category"]):
            count = counts.setdefault(name, [0, 0, 0])
            for place, one in enumerate((True, known, hit)):
                count[place] += bool(one)
    return count_table(counts)


def mathverse_post_check_score(answer: Any, extraction: Any) -> bool:
    """Whether the extracted answer is the right one, letter for letter but for spaces at the ends."""
    return str(extraction).strip() == str(answer).strip()


def mathverse_table(rows: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """Percent by `problem_version`: `Overall`, and of each subject and subfield in `metadata`, None of no row."""
    kinds = [_metadata(row) for row in rows]
    names = {column: dict.fromkeys(kind[column] for kind in kinds) for column in ("subject", "subfield")}
    table: dict[str, dict[str, float | None]] = {}
    for version in dict.fromkeys(row["problem_version"] for row in rows):
        chosen = [number for number, row in enumerate(rows) if version in ("Overall", row["problem_version"])]
        table[version] = {"Overall": percent([scores[number] for number in chosen])}
        for column, values in names.items():
            for value in values:
                table[version][value] = percent([scores[one] for one in chosen if kinds[one][column] == value])
    return table


def score_mathverse(rows: Sequence[Row]) -> Scores:
    """MathVerse in percent over all rows, with [`mathverse_table`].

    A row's `score` (of a language model) counts if it has one; else [`mathverse_post_check_score`] of `extraction`, or
    of the prediction.
    """
    scores = [
        float(row["score"])
        if "score" in row
        else float(mathverse_post_check_score(row["answer"], row.get("extraction", row["prediction"])))
        for row in rows
    ]
    return Scores(percent(scores), mathverse_table(rows, scores), tuple(scores))


def _equal_formulas(prediction: str, answer: str) -> bool:
    parse = needed("latex2sympy2_extended", "latex2sympy2_extended", "Comparing formulas").latex2sympy
    try:
        names = {"a": parse(answer), "b": parse(prediction)}
        first, second = (arithmetic_value(str(names[name]), names) for name in ("a", "b"))
        return bool(abs(first - second) < _CLOSE) or bool(abs(names["a"] - names["b"]) < _CLOSE)
    except Exception:  # noqa: BLE001 the parser raises Exception itself, and sympy whatever an expression leads to
        return False


def _lettered(row: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(ascii_uppercase, read_answers(row["choices"]), strict=False)) if row["choices"] else {}


def _metadata(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return json.loads(row["metadata"].replace("'", '"')) if isinstance(row["metadata"], str) else row["metadata"]


__all__ = [
    "is_equal",
    "mathverse_post_check_score",
    "mathverse_table",
    "mathvision_table",
    "post_check",
    "prefetch",
    "score_mathverse",
    "score_mathvision",
]
