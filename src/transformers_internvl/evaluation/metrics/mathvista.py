# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""MathVista: how an extracted answer is read and compared, by InternVL's scripts and by VLMEvalKit.

Both let a language model extract the answer where no rule can. Here the rules stand alone; an extraction that was made
elsewhere is taken from the column `extraction`.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from .anls import levenshtein_distance
from .choices import can_infer
from .extraction import final_answer
from .metric import Row, Scores, percent
from .reading import literal_list, read_answers

MULTIPLE_CHOICE = "multi_choice"
GROUPS = ("question_type", "answer_type", "language", "source", "category", "task", "context", "grade", "skills")
_LETTER = re.compile(r"\(([a-zA-Z])\)")


def extract_answer(response: str, question: Mapping[str, Any], quick: bool = False) -> str | None:
    """The answer in a response, None where the official code asks a language model.

    An empty response, the text of an option, and a number of the question's type are taken at once; with `quick`, as
    for chains of thought, what follows `Final answer:` ([`final_answer`]).

    Args:
        question: with `question_type`, `answer_type` and `choices`.

    Source: OpenGVLab/InternVL `eval/mathvista/extract_answer.py`.
    """
    if response == "" or (question["question_type"] == MULTIPLE_CHOICE and response in (question["choices"] or ())):
        return response
    kinds: dict[str, Any] = {"integer": int, "float": float}
    if question["answer_type"] in kinds:
        try:
            return str(kinds[question["answer_type"]](response))
        except (ValueError, OverflowError):
            pass
    return final_answer(response) if quick else None


def most_similar_choice(prediction: str, choices: Sequence[str]) -> str:
    """The option with the least edit distance to the prediction, the first of equals. Source: `get_most_similar`."""
    return min(choices, key=lambda choice: levenshtein_distance(prediction, choice))


def normalize_extracted_answer(extraction: Any, question: Mapping[str, Any]) -> Any:
    """An extracted answer as it is compared with the right one: the text of an option, a number's text, or as it is.

    Of options, the one whose letter stands in brackets or alone, else the most similar. Integers pass through
    `int(float())`, floats are rounded to the question's `precision`. None where it is no number.

    Args:
        question: with `question_type`, `answer_type`, `choices` and `precision`.

    Source: OpenGVLab/InternVL `eval/mathvista/calculate_score.py`.
    """
    kind = question["answer_type"]
    if question["question_type"] == MULTIPLE_CHOICE:
        text = extraction.strip() if isinstance(extraction, str) else str(extraction)
        letters = _LETTER.findall(text)
        text = letters[0].upper() if letters else text
        choices = question["choices"]
        options = ascii_uppercase[: len(choices)]
        return (
            choices[options.index(text)] if len(text) == 1 and text in options else most_similar_choice(text, choices)
        )
    try:
        if kind == "integer":
            return str(int(float(extraction)))
        if kind == "float":
            return str(round(float(extraction), int(question["precision"])))
    except (TypeError, ValueError, OverflowError):
        return None
    return str(extraction) if kind == "list" else extraction


def score_mathvista_internvl(rows: Sequence[Row]) -> Scores:
    """MathVista of InternVL in percent, two decimals. The table holds `average` and the groups of `GROUPS`.

    Rows have `answer`, `question_type`, `answer_type`, `choices`, `precision` and `metadata` with the further groups.
    The extracted answer is `extraction`, else by [`extract_answer`] with `quick`.
    """
    hits = []
    for row in rows:
        extraction = row["extraction"] if "extraction" in row else extract_answer(row["prediction"], row, quick=True)
        hits.append(bool(normalize_extracted_answer(extraction, row) == row["answer"]))
    table: dict[str, Any] = {name: {} for name in GROUPS}
    for name in GROUPS:
        counts: dict[Any, list[bool]] = {}
        for row, hit in zip(rows, hits, strict=True):
            value = {**row, **row.get("metadata", {})}.get(name)
            for one in value if isinstance(value, list) else [value]:
                counts.setdefault(one, []).append(hit)
        table[name] = {
            one: {"accuracy": f"{sum(found) / len(found) * 100:.2f}", "correct": sum(found), "total": len(found)}
            for one, found in counts.items()
        }
    average = percent([float(hit) for hit in hits])
    accuracy = None if average is None else round(sum(hits) / len(hits) * 100, 2)
    table["average"] = {"accuracy": str(accuracy), "correct": sum(hits), "total": len(hits)}
    return Scores(accuracy, table, tuple(map(float, hits)))


def prefetch(row: Mapping[str, Any], response: Any) -> str | int | float | bool:
    """The answer that a rule finds in a response, or False: an option's letter, right or wrong, or the right number.

    Args:
        row: with `question_type`, `answer_type`, `choices`, `answer` and, for options, `answer_option`.

    Source of this function and the next: VLMEvalKit `vlmeval/dataset/utils/mathvista.py` `post_check`.
    """
    if row["question_type"] == MULTIPLE_CHOICE:
        return can_infer(str(response), _lettered(row["choices"])) or False
    found, answer = _read(row, response)
    return found if found == answer else False


def post_check(row: Mapping[str, Any], response: Any) -> bool:
    """Whether an extracted answer is right.

    Of questions that are neither choices nor numbers the official code compares `None` with the answer: answers that
    are lists or texts are never right.
    """
    if row["question_type"] == MULTIPLE_CHOICE:
        return can_infer(str(response), _lettered(row["choices"])) == row["answer_option"]
    found, answer = _read(row, response)
    return bool(found == answer)


def mathvista_table(
    rows: Sequence[Mapping[str, Any]], prefetched: Sequence[bool], hits: Sequence[bool]
) -> dict[str, dict[str, float]]:
    """`tot`, `prefetch`, `hit`, `prefetch_rate` and `acc` of each `task`, of each of the `skills`, and `Overall`."""
    counts: dict[str, list[int]] = {}
    for row, known, hit in zip(rows, prefetched, hits, strict=True):
        skills = row["skills"]
        if isinstance(skills, str):
            skills = literal_list(skills) or [skills]
        for name in ("Overall", *skills, row["task"]):
            count = counts.setdefault(name, [0, 0, 0])
            for place, one in enumerate((True, known, hit)):
                count[place] += bool(one)
    return count_table(counts)


def count_table(counts: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float]]:
    """From names to how many rows there were, how many a rule decided and how many were right: VLMEvalKit's table."""
    return {
        name: {
            "tot": total,
            "prefetch": known,
            "hit": right,
            "prefetch_rate": known / total * 100,
            "acc": right / total * 100,
        }
        for name, (total, known, right) in counts.items()
    }


def score_mathvista_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """MathVista of VLMEvalKit in percent, with [`mathvista_table`].

    Where no rule decides, `extraction` (of a language model) is checked if the row has it.
    """
    found = [prefetch(row, row["prediction"]) for row in rows]
    hits = [
        post_check(row, known or row.get("extraction", row["prediction"]))
        for row, known in zip(rows, found, strict=True)
    ]
    table = mathvista_table(rows, [bool(known) for known in found], hits) if rows else {}
    return Scores(table["Overall"]["acc"] if rows else None, table, tuple(map(float, hits)))


def _lettered(choices: Any) -> dict[str, Any]:
    return dict(zip(ascii_uppercase, read_answers(choices), strict=False))


def _read(row: Mapping[str, Any], response: Any) -> tuple[Any, Any]:
    """What the official code compares: the number in the response, or None, and the answer."""
    kinds: dict[str, Any] = {"integer": int, "float": float}
    if row["answer_type"] not in kinds:
        return "None", str(row["answer"])
    found = None
    try:
        found = kinds[row["answer_type"]](response)
        return found, kinds[row["answer_type"]](row["answer"])
    except (TypeError, ValueError, OverflowError):
        return found, row["answer"]


__all__ = [
    "GROUPS",
    "count_table",
    "extract_answer",
    "mathvista_table",
    "most_similar_choice",
    "normalize_extracted_answer",
    "post_check",
    "prefetch",
    "score_mathvista_internvl",
    "score_mathvista_vlmevalkit",
]
