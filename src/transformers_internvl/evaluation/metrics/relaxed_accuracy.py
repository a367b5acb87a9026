# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Relaxed accuracy of ChartQA (arXiv:2203.10244, section 5.1): numbers within 5 %, texts equal but for case."""

from collections.abc import Sequence

from .metric import Row, Scores, percent
from .reading import accepted_answers

TOLERANCE = 0.05


def relaxed_correctness(target: str, prediction: str, tolerance: float = TOLERANCE) -> bool:
    """Whether a prediction is within `tolerance` of the target, relative to the target, or equal to it but for case.

    Numbers are what `float` reads, `1e3`, `1_000`, `inf` and full-width digits among them, but not `1,000`. A percent
    sign divides by 100. A target of zero matches only as text, and not-a-number matches nothing.

    Source: pix2struct `metrics.py`; VLMEvalKit `vqa_eval.relaxed_correctness`; InternVL `eval/vqa/evaluate_vqa.py`.
    """
    expected, got = _number(target), _number(prediction)
    if got is not None and expected:
        return abs(got - expected) / abs(expected) <= tolerance
    return prediction.lower() == target.lower()


def relaxed_accuracy(answers: Sequence[str], prediction: str, tolerance: float = TOLERANCE) -> bool:
    """Whether the stripped prediction is right for any of the accepted answers. Source: VLMEvalKit `process_line`."""
    return any(relaxed_correctness(answer, prediction.strip(), tolerance) for answer in answers)


def relaxed_accuracy_internvl(answers: Sequence[str], prediction: str) -> bool:
    """As [`relaxed_accuracy`] with target and prediction exchanged: the tolerance is relative to the prediction.

    InternVL's `evaluate_relaxed_accuracy` passes the two in that order, and a prediction of zero matches only as text.
    """
    return any(relaxed_correctness(prediction.strip(), answer) for answer in answers)


def score_relaxed_accuracy_internvl(rows: Sequence[Row]) -> Scores:
    """Percent of right answers, [`relaxed_accuracy_internvl`]."""
    scores = [float(relaxed_accuracy_internvl(accepted_answers(row), row["prediction"])) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


__all__ = [
    "TOLERANCE",
    "relaxed_accuracy",
    "relaxed_accuracy_internvl",
    "relaxed_correctness",
    "score_relaxed_accuracy_internvl",
]
