# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of metrics: a name, the function that scores a data set, what it takes and whose it is."""

from collections.abc import Sequence

from .anls import score_anls
from .metric import Metric, Row, Scores
from .relaxed_accuracy import score_relaxed_accuracy_internvl
from .vqa_table import score_chartqa_vlmevalkit

_ROWS = [
    Metric(
        name="anls",
        score=score_anls,
        columns=("answer",),
        range=(0, 100),
        source="OpenGVLab/InternVL eval/vqa/infographicsvqa_eval.py; VLMEvalKit gives the same",
        used_by=("1.5", "2.5", "3", "3.5"),
    ),
    Metric(
        name="relaxed_accuracy_internvl",
        score=score_relaxed_accuracy_internvl,
        columns=("answer",),
        range=(0, 100),
        source="OpenGVLab/InternVL eval/vqa/evaluate_vqa.py",
        used_by=("1.5", "2.5"),
    ),
    Metric(
        name="relaxed_accuracy_vlmevalkit",
        score=score_chartqa_vlmevalkit,
        columns=("answer",),
        range=(0, 100),
        source="open-compass/VLMEvalKit vlmeval/dataset/utils/vqa_eval.py",
        used_by=("3", "3.5"),
    ),
]
METRICS: dict[str, Metric] = {row.name: row for row in _ROWS}


def score_answers(metric: str, rows: Sequence[Row]) -> Scores:
    """Score the answers of a data set by a metric of `METRICS`.

    Args:
        metric: a name of `METRICS`.
        rows: the questions, each with the columns that the metric names, and `prediction`, a text.

    Raises:
        ValueError: an unknown metric, or a row that lacks a column or whose prediction is no text.
    """
    if metric not in METRICS:
        raise ValueError(f"`metric` must be one of {', '.join(sorted(METRICS))}, got {metric!r}.")
    chosen = METRICS[metric]
    for number, row in enumerate(rows):
        missing = [column for column in (*chosen.columns, "prediction") if column not in row]
        if missing:
            raise ValueError(f"Row {number} lacks {', '.join(missing)}, which the metric {metric!r} reads.")
        if not isinstance(row["prediction"], str):
            raise ValueError(f"Row {number}: `prediction` must be a text, got {row['prediction']!r}.")
    return chosen.score(rows)


__all__ = ["METRICS", "score_answers"]
