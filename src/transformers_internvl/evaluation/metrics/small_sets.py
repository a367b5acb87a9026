# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""CRPE, TallyQA, CountBench, MME-RealWorld and video sets with options, as VLMEvalKit scores them."""

import re
from collections.abc import Sequence
from typing import Any

from .choices import extract_characters_regex
from .metric import Row, Scores, percent
from .spreadsheet import cell_text, through_spreadsheet
from .video import option_by_rule

CRPE_CATEGORIES = ("exist", "subject", "predicate", "object")
CRPE_ROTATIONS = 4
_SMALL = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")
_COUNTS = {word: number for number, word in enumerate(_SMALL + _TEENS)}
_COUNT = re.compile(rf"\b(?:\d|1\d|20)\b|\b(?:{'|'.join(_COUNTS)})\b".replace(r"\d", "[0-9]"))
_ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def crpe_is_correct(answer: str, prediction: str) -> bool | None:
    """Whether a prediction is right: its first letter, if it is A to D or stands alone, else the answer's text in it.

    The text is what stands behind the first four characters of the answer. None, which counts as wrong, of an empty
    prediction, where the official code raises.

    Source: VLMEvalKit `vlmeval/dataset/utils/crpe.py` `is_correct`.
    """
    if not prediction:
        return None
    if len(prediction) == 1 or prediction[0] in "ABCD":
        return prediction[0] == answer[:1]
    return answer[4:].lower() in prediction.lower()


def tallyqa_count(prediction: Any) -> int | None:
    """The first number from 0 to 20 in a prediction, as digits or a word, else None; `-2` is 2, `1.5` is 1.

    Source: VLMEvalKit `vlmeval/dataset/utils/tallyqa.py` `extract_count_from_prediction`.
    """
    if isinstance(prediction, int | float):
        return int(prediction) if 0 <= prediction <= 20 else None
    found = _COUNT.search(str(prediction).lower())
    return None if found is None else _COUNTS[found[0]] if found[0] in _COUNTS else int(found[0])


def score_crpe(rows: Sequence[Row]) -> Scores:
    """CRPE: share of questions right in all four rotations, by `category` and `total`, None of no question.

    Four rows that follow each other are a question; the category is that of the first wrong row, or the last.
    `overall` is in percent.

    Source: VLMEvalKit `vlmeval/dataset/image_vqa.py` `CRPE.evaluate`.

    Raises:
        ValueError: the number of rows is no multiple of four, or an unknown category.
    """
    if len(rows) % CRPE_ROTATIONS:
        raise ValueError(f"CRPE has four rows for each question, got {len(rows)} rows.")
    read = through_spreadsheet(rows)
    hits = [float(bool(crpe_is_correct(cell_text(row["answer"]), cell_text(row["prediction"])))) for row in read]
    groups: dict[str, list[float]] = {category: [] for category in CRPE_CATEGORIES}
    for start in range(0, len(rows), CRPE_ROTATIONS):
        four = hits[start : start + CRPE_ROTATIONS]
        category = read[start + (four.index(0.0) if 0.0 in four else CRPE_ROTATIONS - 1)]["category"]
        if category not in groups:
            raise ValueError(f"Row {start}: `category` must be one of {', '.join(CRPE_CATEGORIES)}, got {category!r}.")
        groups[category].append(min(four))
    every = [hit for found in groups.values() for hit in found]
    table = {name: sum(found) / len(found) if found else None for name, found in (groups | {"total": every}).items()}
    return Scores(percent(every), table, tuple(hits))


def score_tallyqa(rows: Sequence[Row]) -> Scores:
    """TallyQA: percent of predictions whose count, [`tallyqa_count`], is the answer's."""
    hits = [
        float(tallyqa_count(row["prediction"]) is not None and tallyqa_count(row["prediction"]) == int(row["answer"]))
        for row in rows
    ]
    return Scores(percent(hits), samples=tuple(hits))


def score_countbench(rows: Sequence[Row]) -> Scores:
    """CountBench: percent of predictions that contain the answer (`12` contains 1).

    Source: VLMEvalKit `vlmeval/dataset/image_vqa.py` `CountBenchQA.evaluate`.
    """
    hits = [float(cell_text(row["answer"]) in cell_text(row["prediction"])) for row in through_spreadsheet(rows)]
    return Scores(percent(hits), {"accuracy": percent(hits) if rows else 0.0}, tuple(hits))


def mme_realworld(prediction: str) -> str:
    """The letter of an answer to MME-RealWorld: in `<answer>` if there is such, by [`extract_characters_regex`].

    Source: VLMEvalKit `vlmeval/dataset/image_mcq.py` `MMERealWorld.evaluate`.
    """
    tagged = _ANSWER_TAG.search(prediction)
    return extract_characters_regex(tagged[1].strip().upper() if tagged else prediction)


def score_mme_realworld(rows: Sequence[Row]) -> Scores:
    """MME-RealWorld: percent right, [`mme_realworld`]; the table holds those of each `category`, if rows have one."""
    hits = [float(mme_realworld(row["prediction"]) == row["answer"]) for row in rows]
    table = {
        name: percent([hit for hit, row in zip(hits, rows, strict=True) if row.get("category") == name])
        for name in dict.fromkeys(row["category"] for row in rows if row.get("category"))
    }
    return Scores(percent(hits), table, tuple(hits))


def score_option_letter(rows: Sequence[Row]) -> Scores:
    """MLVU, LongVideoBench: percent of rows whose option, by [`option_by_rule`], is that of `answer`."""
    read = through_spreadsheet(rows)
    hits = [float(option_by_rule(row, cell_text(row["prediction"])) == row["answer"]) for row in read]
    return Scores(percent(hits), samples=tuple(hits))


__all__ = [
    "CRPE_CATEGORIES",
    "crpe_is_correct",
    "mme_realworld",
    "score_countbench",
    "score_crpe",
    "score_mme_realworld",
    "score_option_letter",
    "score_tallyqa",
    "tallyqa_count",
]
