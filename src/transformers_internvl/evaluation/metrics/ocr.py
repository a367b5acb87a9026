# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""OCRBench and MTVQA: an answer counts where it stands anywhere in the prediction.

Source: open-compass/VLMEvalKit `vlmeval/dataset/image_vqa.py` `OCRBench`, `MTVQADataset`.
"""

from collections.abc import Sequence

from .metric import Row, Scores, percent
from .reading import read_answers
from .spreadsheet import cell_text, through_spreadsheet

FORMULAS = "Handwritten Mathematical Expression Recognition"
OCRBENCH_GROUPS = {
    "Regular Text Recognition": "Text Recognition",
    "Irregular Text Recognition": "Text Recognition",
    "Artistic Text Recognition": "Text Recognition",
    "Handwriting Recognition": "Text Recognition",
    "Digit String Recognition": "Text Recognition",
    "Non-Semantic Text Recognition": "Text Recognition",
    "Scene Text-centric VQA": "Scene Text-centric VQA",
    "Doc-oriented VQA": "Doc-oriented VQA",
    "Key Information Extraction": "Key Information Extraction",
    FORMULAS: FORMULAS,
}


def ocrbench(answers: Sequence[str], prediction: str, category: str) -> int:
    """1 where any answer is part of the prediction, else 0.

    Formulas are compared without spaces and line breaks, case included; other texts in lower case, a line break as a
    space.
    """
    return int(any(_ocr_text(answer, category) in _ocr_text(prediction, category) for answer in answers))


def mtvqa(answer: str, prediction: str) -> float:
    """1 where the answer is part of the prediction, both in lower case and without full stops, else 0."""
    return float(answer.strip().lower().replace(".", "") in prediction.strip().lower().replace(".", ""))


def score_ocrbench(rows: Sequence[Row]) -> Scores:
    """OCRBench: the number of right answers of its 1000 questions.

    Predictions are taken as they are; where VLMEvalKit reads them from a spreadsheet, `0123` may have become 123.

    Raises:
        ValueError: an unknown category.
    """
    counts = dict.fromkeys(OCRBENCH_GROUPS.values(), 0)
    hits = []
    for number, row in enumerate(rows):
        if row["category"] not in OCRBENCH_GROUPS:
            raise ValueError(
                f"Row {number}: `category` must be one of {', '.join(OCRBENCH_GROUPS)}, got {row['category']!r}."
            )
        answers = [str(answer) for answer in read_answers(row["answer"])]
        hits.append(ocrbench(answers, row["prediction"], row["category"]))
        counts[OCRBENCH_GROUPS[row["category"]]] += hits[-1]
    total = sum(counts.values())
    return Scores(
        total if rows else None, counts | {"Final Score": total, "Final Score Norm": total / 10}, tuple(hits)
    )


def score_mtvqa(rows: Sequence[Row]) -> Scores:
    """MTVQA: percent of right answers by language (`category`), and `Average` over all rows."""
    read = through_spreadsheet(rows)
    hits = [mtvqa(cell_text(row["answer"]), cell_text(row["prediction"])) for row in read]
    table = {
        language: percent([hit for hit, row in zip(hits, read, strict=True) if row["category"] == language])
        for language in dict.fromkeys(row["category"] for row in read)
    }
    if rows:
        table["Average"] = percent(hits)
    return Scores(percent(hits), table, tuple(hits))


def _ocr_text(text: str, category: str) -> str:
    if category == FORMULAS:
        return text.strip().replace("\n", " ").replace(" ", "")
    return text.lower().strip().replace("\n", " ")


__all__ = ["FORMULAS", "OCRBENCH_GROUPS", "mtvqa", "ocrbench", "score_mtvqa", "score_ocrbench"]
