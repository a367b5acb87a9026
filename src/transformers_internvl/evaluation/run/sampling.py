# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Sampling whose random numbers belong to the question: the same whatever batch, rank or resumed run it is in.

The largest of `log p + Gumbel noise` is a draw from `p` (Gumbel, 1954): with noise added to the filtered logits, a
greedy `generate` samples, and each row has a random generator of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

_OFFICIAL_TOP_K = 50
"""The default of both engines with which sampled answers were published."""


class SeededNoise(LogitsProcessor):
    """Adds Gumbel noise to logits `(rows, vocabulary)`.

    Args:
        seeds: one a row.
    """

    def __init__(self, seeds: Sequence[int]):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(rows, vocabulary)` with noise."""
        size = scores.shape[-1]
        rows = [torch.rand(size, generator=generator, dtype=torch.float64) for generator in self.generators]
        uniform = torch.stack(rows).clamp_(1e-300)  # (rows, vocabulary)
        noise = -torch.log(-torch.log(uniform))
        return (scores.double() + noise.to(scores.device)).to(torch.float32)


def seeded_sampling(generation: Mapping[str, Any], seeds: Sequence[int]) -> tuple[dict[str, Any], LogitsProcessorList]:
    """Arguments of `generate`, and the processors with which it samples by these seeds.

    Args:
        generation: the settings; `temperature`, `top_p` and `top_k` count if `do_sample` is true. None is a default.
        seeds: one a row.
    """
    given = {name: value for name, value in generation.items() if value is not None}
    sampled = bool(given.pop("do_sample", False))
    temperature, top_p = float(given.pop("temperature", 1.0)), float(given.pop("top_p", 1.0))
    top_k = int(given.pop("top_k", _OFFICIAL_TOP_K))
    arguments = {**given, "do_sample": False}
    if not sampled:
        return arguments, LogitsProcessorList()
    processors: list[Any] = [TemperatureLogitsWarper(temperature)] if temperature != 1.0 else []
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        processors.append(TopPLogitsWarper(top_p))
    return arguments, LogitsProcessorList([*processors, SeededNoise(seeds)])


__all__ = ["SeededNoise", "seeded_sampling"]
