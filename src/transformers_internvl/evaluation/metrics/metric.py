# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a metric is: a function from the answered questions of a data set to its scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]
"""An answered question: the columns of the data set, by VLMEvalKit's names, and `prediction`, what the model said."""


@dataclass(frozen=True)
class Scores:
    """Scores of a data set.

    Attributes:
        overall: the published number, on the scale of [`Metric`]'s `range`; None where the rows do not define it (no
            row, or a denominator of zero).
        table: the scores by split, category or task, as the official scorer reports them; may be nested.
        samples: one score for each row, in the order of the rows, None where a row has no score of its own. Empty for
            metrics that only exist for a whole set.
    """

    overall: float | None
    table: Mapping[str, Any] = field(default_factory=dict)
    samples: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Metric:
    """A row of `METRICS`.

    Attributes:
        name: the benchmark's own term; where two official scorers differ, with `_internvl` (the scripts of
            OpenGVLab/InternVL) or `_vlmevalkit` (open-compass/VLMEvalKit) at its end.
        score: from the rows of a data set to its scores. Pure.
        columns: what each row must have besides `prediction`.
        range: the lowest and the highest `overall`; None where there is no bound.
        source: repository and function whose scores these are.
        used_by: the papers whose published numbers were made with it.
        judge: whether the official scorer also asks a language model; the score is that of its rules alone.
    """

    name: str
    score: Callable[[Sequence[Row]], Scores]
    columns: tuple[str, ...]
    range: tuple[float, float | None]
    source: str
    used_by: tuple[str, ...] = ()
    judge: bool = False


def mean(values: Sequence[float]) -> float | None:
    """Mean of scores, None of no scores. Adds from the left, as the scripts of the benchmarks do."""
    return sum(values) / len(values) if values else None


def percent(values: Sequence[float]) -> float | None:
    """[`mean`], times 100."""
    average = mean(values)
    return None if average is None else 100 * average


__all__ = ["Metric", "Row", "Scores", "mean", "percent"]
