# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Both sides beside each other, as a table for an issue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .cases import Case
from .ours import Arrays

TOLERANCE = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Largest difference of features and logits that counts as equal, as a share of the largest value."""
PIXELS = 1e-5
"""The same for pixels, absolute; one step of a color value is 0.017."""


@dataclass(frozen=True)
class CaseComparison:
    """A case.

    Attributes:
        name: of the case.
        pixels, features, logits: largest absolute difference; None = not compared, inf = other shapes.
        largest: largest absolute value of `features` and `logits`.
        prompt: whether the ids of the prompt are equal.
        prompt_length: number of these ids.
        same, new: how many new ids are equal from the start, and how many there are.
        equal: whether all of it is equal, within the tolerance.
    """

    name: str
    pixels: float | None
    features: float | None
    logits: float | None
    largest: Mapping[str, float]
    prompt: bool
    prompt_length: int
    same: int
    new: int
    equal: bool


def compare(
    cases: Sequence[Case], original: Arrays, ours: Arrays, pixels: Arrays, *, dtype: str
) -> list[CaseComparison]:
    """Compare all cases.

    Args:
        cases: the questions.
        original, ours: what both sides computed.
        pixels: ours; the rest of `ours` is computed from the original ones where there are some.
        dtype: of both, which decides the tolerance.
    """
    return [_compared(case, f"{number}.", original, ours, pixels, dtype) for number, case in enumerate(cases)]


def _compared(case: Case, key: str, original: Arrays, ours: Arrays, pixels: Arrays, dtype: str) -> CaseComparison:
    prompt, new = (original[key + name] for name in ("prompt", "new"))
    our_new = ours[key + "new"]
    same = 0
    while same < min(len(new), len(our_new)) and new[same] == our_new[same]:
        same += 1
    equal_prompt = np.array_equal(prompt, ours[key + "prompt"])
    found = {"pixels": _distance(original, pixels, key + "pixels")}
    found |= {name: _distance(original, ours, key + name) for name in ("features", "logits")}
    largest = {name: float(np.abs(original[key + name]).max()) for name in found if key + name in original}
    allowed = {name: TOLERANCE[dtype] * value for name, value in largest.items()} | {"pixels": PIXELS}
    close = all(value is None or value <= allowed[name] for name, value in found.items())
    count = max(len(new), len(our_new))
    equal = close and equal_prompt and same == count
    return CaseComparison(
        case.name,
        **found,
        largest=largest,
        prompt=equal_prompt,
        prompt_length=len(prompt),
        same=same,
        new=count,
        equal=equal,
    )


def _distance(left: Arrays, right: Arrays, name: str) -> float | None:
    if name not in left or name not in right:
        return None
    one, other = left[name], right[name]
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def report(title: str, facts: Mapping[str, str], compared: Sequence[CaseComparison]) -> str:
    """The comparison in Markdown."""
    lines = [f"### Parity of {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [
        "| case | pixels | prompt ids | features | logits | greedy ids | equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in compared:
        prompt = f"{row.prompt_length} equal" if row.prompt else "different"
        cells = [row.name, _number(row.pixels), prompt, _share(row, "features"), _share(row, "logits")]
        cells += [f"{row.same} of {row.new}", "yes" if row.equal else "**no**"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Pixels, features and logits: largest absolute difference (largest value)."]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else ("other shape" if value == float("inf") else f"{value:.2g}")


def _share(row: CaseComparison, name: str) -> str:
    value = getattr(row, name)
    return (
        _number(value) if value is None or name not in row.largest else f"{_number(value)} ({row.largest[name]:.3g})"
    )


__all__ = ["PIXELS", "TOLERANCE", "CaseComparison", "compare", "report"]
