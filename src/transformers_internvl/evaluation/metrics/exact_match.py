# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Exact match but for case and spaces at the ends: AI2D, OCR-VQA, GQA."""

from collections.abc import Sequence

from .metric import Row, Scores, percent
from .reading import accepted_answers

_MARKERS = ("is ", "are ", "a ", "an ", "the ")


def exact_matches(answers: Sequence[str], prediction: str) -> list[float]:
    """For each accepted answer, 1 where the prediction equals it but for case and spaces at the ends, else 0."""
    return [float(answer.strip().lower() == prediction.strip().lower()) for answer in answers]


def accuracy(answers: Sequence[str], prediction: str) -> float:
    """1 where the prediction equals any of the accepted answers, else 0.

    Source: OpenGVLab/InternVL `eval/vqa/evaluate_vqa.py` `evaluate_exact_match_accuracy`; VLMEvalKit for OCR-VQA.

    Raises:
        ValueError: there is no accepted answer.
    """
    if not answers:
        raise ValueError(f"Exact match needs an accepted answer for the prediction {prediction!r}, got none.")
    return max(exact_matches(answers, prediction))


def gqa_accuracy_vlmevalkit(answers: Sequence[str], prediction: str) -> float:
    """Share of the accepted answers that the prediction equals. Source: VLMEvalKit `hit_calculate` for GQA.

    Raises:
        ValueError: there is no accepted answer.
    """
    if not answers:
        raise ValueError(f"Exact match needs an accepted answer for the prediction {prediction!r}, got none.")
    matches = exact_matches(answers, prediction)
    return sum(matches) / len(matches)


def gqa_prediction(prediction: str) -> str:
    """A prediction as InternVL hands it to GQA's own scorer: no full stops at its end, lower case.

    GQA's scorer then compares texts as they are. Source: OpenGVLab/InternVL `eval/vqa/convert_gqa_for_eval.py`.
    """
    return prediction.rstrip(".").lower()


def vqa_post_process(response: str) -> str:
    """The answer in a sentence: `It is a dog.` is `dog`.

    Source: OpenGVLab/InternVL `eval/vqa/evaluate_vqa.py` `post_process`, which no published number has passed through.
    """
    answer = response.strip().split(".")[0].split(",")[0].split("!")[0].lower()
    for marker in _MARKERS:
        if marker in answer:
            answer = answer.split(marker)[1]
    return answer.split(" of")[0].strip()


def score_accuracy_internvl(rows: Sequence[Row]) -> Scores:
    """Percent of exact matches, [`accuracy`]."""
    scores = [accuracy(accepted_answers(row), row["prediction"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


def score_gqa(rows: Sequence[Row]) -> Scores:
    """Percent of rows whose [`gqa_prediction`] is the answer, letter for letter."""
    scores = [float(gqa_prediction(row["prediction"]) == row["answer"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


__all__ = [
    "accuracy",
    "exact_matches",
    "gqa_accuracy_vlmevalkit",
    "gqa_prediction",
    "score_accuracy_internvl",
    "score_gqa",
    "vqa_post_process",
]
