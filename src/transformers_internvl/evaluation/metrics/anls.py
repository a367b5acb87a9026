# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""ANLS, the average normalised Levenshtein similarity of documents (DocVQA, InfoVQA) and scene text (ST-VQA)."""

from collections.abc import Mapping, Sequence

from .metric import Row, Scores, mean, percent
from .reading import accepted_answers

ANSWER_TYPES = {
    "image span": "Image-Span",
    "question span": "Question-Span",
    "multiple spans": "Multi-Span",
    "non span": "None span",
}
EVIDENCE_TYPES = {
    "table/list": "Table/list",
    "textual": "Text",
    "photo/pciture/visual_objects": "Visual/Layout",  # the data set spells it so
    "figure": "Figure",
    "map": "Map",
}
OPERATION_TYPES = {"comparison": "Sorting", "arithmetic": "Arithmetic", "counting": "Counting"}


def levenshtein_distance(first: Sequence, second: Sequence) -> int:
    """Insertions, deletions and replacements that turn one sequence into the other."""
    above = list(range(len(second) + 1))
    for row, left in enumerate(first, start=1):
        here = [row]
        for column, right in enumerate(second):
            cost = above[column] + (left != right)
            here.append(min(cost, above[column + 1] + 1, here[column] + 1))
        above = here
    return above[-1]


def normalised_distance(answer: str, prediction: str) -> float:
    """Distance of two texts, from 0 (equal) to 1.

    The distance is that of the lower-case texts with single spaces, the length that of the texts as they came (in
    upper case): further spaces lower it. Two empty texts are equal.

    Source: `evaluate_method` of the Robust Reading Competition (InternVL `eval/vqa/infographicsvqa_eval.py`);
    VLMEvalKit `anls_compute`.
    """
    distance = levenshtein_distance(_collapsed(answer), _collapsed(prediction))
    length = max(len(answer.upper()), len(prediction.upper()))
    return distance / length if length else 0.0


def anls(answers: Sequence[str], prediction: str, threshold: float = 0.5) -> float:
    """Similarity, 0 to 1, to the closest of the accepted answers; 0 where it is below `threshold`.

    Raises:
        ValueError: there is no accepted answer.
    """
    if not answers:
        raise ValueError(f"ANLS needs at least one accepted answer for the prediction {prediction!r}, got none.")
    score = 1 - min(normalised_distance(answer, prediction) for answer in answers)
    return score if score >= threshold else 0.0


def stvqa_anls(answers: Sequence[str], prediction: str) -> float:
    """Similarity as InternVL's `STVQAANLSEvaluator` takes it: the length is that of the stripped lower-case texts.

    Two texts that are empty once stripped score 1, where the official code divides by zero.

    Raises:
        ValueError: there is no accepted answer.
    """
    if not answers:
        raise ValueError(f"ANLS needs at least one accepted answer for the prediction {prediction!r}, got none.")
    return max(_stripped_similarity(answer, prediction) for answer in answers)


def anls_by_type(rows: Sequence[Row], threshold: float = 0.5) -> dict[str, dict[str, float | None]]:
    """ANLS by the types that InfoVQA's annotations name: `answer_type`, `evidence`, `operation/reasoning`.

    Each column holds a list of types. A type without a question has None, where the official code divides by zero.

    Raises:
        ValueError: an unknown type.
    """
    scores = [anls(accepted_answers(row), row["prediction"], threshold) for row in rows]
    columns = {
        "answer_types": ("answer_type", ANSWER_TYPES),
        "evidence_types": ("evidence", EVIDENCE_TYPES),
        "operation_types": ("operation/reasoning", OPERATION_TYPES),
    }
    return {name: _by_type(rows, scores, column, names) for name, (column, names) in columns.items()}


def _by_type(
    rows: Sequence[Row], scores: Sequence[float], column: str, names: Mapping[str, str]
) -> dict[str, float | None]:
    groups: dict[str, list[float]] = {name: [] for name in names}
    for number, (row, score) in enumerate(zip(rows, scores, strict=True)):
        for kind in row[column]:
            if kind not in groups:
                raise ValueError(f"Row {number}: `{column}` must hold names of {sorted(names)}, got {kind!r}.")
            groups[kind].append(score)
    return {names[kind]: mean(group) for kind, group in groups.items()}


def score_anls(rows: Sequence[Row]) -> Scores:
    """ANLS of DocVQA and InfoVQA in percent."""
    scores = [anls(accepted_answers(row), row["prediction"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


def score_stvqa_anls(rows: Sequence[Row]) -> Scores:
    """ANLS of ST-VQA in percent, [`stvqa_anls`]."""
    scores = [stvqa_anls(accepted_answers(row), row["prediction"]) for row in rows]
    return Scores(percent(scores), samples=tuple(scores))


def _collapsed(text: str) -> str:
    return " ".join(text.strip().lower().split())


def _stripped_similarity(answer: str, prediction: str) -> float:
    answer, prediction = answer.lower().strip(), prediction.lower().strip()
    length = max(len(answer), len(prediction))
    similarity = 1 - levenshtein_distance(answer, prediction) / length if length else 1.0
    return similarity if similarity >= 0.5 else 0.0


__all__ = [
    "ANSWER_TYPES",
    "EVIDENCE_TYPES",
    "OPERATION_TYPES",
    "anls",
    "anls_by_type",
    "levenshtein_distance",
    "normalised_distance",
    "score_anls",
    "score_stvqa_anls",
    "stvqa_anls",
]
