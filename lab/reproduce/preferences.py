# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Preference pairs as MMPR has them: answers of the model itself, of which right ones are chosen, wrong ones rejected
(arXiv:2411.10442, section 3)."""

from __future__ import annotations

from typing import Any

import torch

from .data import sample_of
from .scoring import generated
from .stages import Mix

ANSWERS = 4
"""Answers that are drawn for a question, at temperature 1."""


def pairs(model: Any, mix: Mix, seed: int) -> list[dict[str, Any]]:
    """Rows `image`, `question`, `chosen`, `rejected`: one of each question that is answered wrong at least once.

    The chosen answer is the right one, as in MMPR where the ground truth is known.

    Raises:
        ValueError: the model answers every question right every time, so that there is nothing to prefer.
    """
    samples = [sample_of(mix, index) for index in range(mix.samples)]
    torch.manual_seed(seed)
    drawn = [generated(model, samples, mix, sample=True) for _ in range(ANSWERS)]
    rows = []
    for index, sample in enumerate(samples):
        wrong = sorted({answers[index] for answers in drawn} - {sample.answer, ""})
        if wrong:
            row = {"image": list(sample.images), "question": sample.prompt(), "chosen": sample.answer}
            rows.append({**row, "rejected": wrong[index % len(wrong)]})
    if not rows:
        raise ValueError(f"All of {len(samples)} questions are answered right: draw harder pictures.")
    return rows


__all__ = ["ANSWERS", "pairs"]
