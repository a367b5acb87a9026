# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mixed preference optimization (arXiv:2411.10442): which answer is better, how good each is, and how to write it.

    loss = 0.8 * preference + 0.2 * quality + 1.0 * generation

With rewards `r = beta * (log p - log p_reference)` of the chosen (c) and the rejected (r) answer, and the running mean
`d` of past rewards:

    preference = -log sigmoid(r_c - r_r)                              (DPO, arXiv:2305.18290; TRL: "sigmoid")
    quality    = -log sigmoid(r_c - d) - log sigmoid(-(r_r - d))      (BCO, arXiv:2404.04656; TRL: "bco_pair")
    generation = mean cross entropy of the chosen answers' tokens

Shape letters: B pairs, L positions, T tiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid, pad

IGNORE_INDEX = -100


@dataclass(frozen=True)
class MPOTerms:
    """What [`MPOLoss`] gives: `loss`, a scalar with gradient, and by pair, without: the other fields, `(B,)`."""

    loss: torch.Tensor
    preference: torch.Tensor
    quality: torch.Tensor
    chosen_rewards: torch.Tensor
    rejected_rewards: torch.Tensor


class RunningMean:
    """The mean of the means of batches, over all ranks.

    Attributes:
        value: the mean; 0 before the first update.
        count: how many means of batches it holds, one for each rank and update.
    """

    def __init__(self, value: float = 0.0, count: int = 0):
        self.value, self.count = value, count

    def update(self, values: torch.Tensor) -> None:
        """Add a batch, on every rank at once; one without values adds nothing to those of the others."""
        found = values.detach().float()
        total = torch.stack([found.sum() / max(len(found), 1), found.new_ones(()) * (len(found) > 0)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
        if not (added := int(total[1].item())):
            return
        self.count += added
        self.value += (total[0].item() - added * self.value) / self.count

    def state(self) -> dict[str, float | int]:
        """What `RunningMean(**state)` continues from."""
        return {"value": self.value, "count": self.count}


class MPOLoss:
    """The three terms, weighted.

    Args:
        beta: scale of the rewards. The papers take 0.1.
        weights: of preference, quality and generation.
        label_smoothing: the share of pairs, in [0, 0.5), whose preference is taken to be the wrong way round.

    Attributes:
        rewards: the running mean that the quality term compares with. Part of the state of a training run.
    """

    def __init__(
        self,
        beta: float = 0.1,
        weights: tuple[float, float, float] = (0.8, 0.2, 1.0),
        label_smoothing: float = 0.0,
    ):
        if beta <= 0:
            raise ValueError(f"`beta` must be positive, got {beta}.")
        if not 0 <= label_smoothing < 0.5:
            raise ValueError(f"`label_smoothing` is a share in [0, 0.5), got {label_smoothing}.")
        self.beta, self.weights, self.label_smoothing = beta, weights, label_smoothing
        self.rewards = RunningMean()

    def __call__(
        self,
        chosen: torch.Tensor,
        rejected: torch.Tensor,
        reference_chosen: torch.Tensor,
        reference_rejected: torch.Tensor,
        generation: torch.Tensor | float = 0.0,
        update: bool = True,
    ) -> MPOTerms:
        """The loss of a batch of pairs.

        Args:
            chosen, rejected: `(B,)` log probabilities of the answers, summed over their tokens.
            reference_chosen, reference_rejected: `(B,)` the same of the reference model.
            generation: mean cross entropy of the chosen answers' tokens.
            update: whether the batch's rewards enter the running mean first, as in training.
        """
        chosen_rewards = self.beta * (chosen - reference_chosen)  # (B,)
        rejected_rewards = self.beta * (rejected - reference_rejected)  # (B,)
        if update:
            self.rewards.update(torch.cat([chosen_rewards, rejected_rewards]))
        margin, smoothing, mean = chosen_rewards - rejected_rewards, self.label_smoothing, self.rewards.value
        preference = -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)
        quality = -logsigmoid(chosen_rewards - mean) - logsigmoid(mean - rejected_rewards)
        loss = (self.weights[0] * preference + self.weights[1] * quality).mean() + self.weights[2] * generation
        return MPOTerms(loss, *(t.detach() for t in (preference, quality, chosen_rewards, rejected_rewards)))


def join_pairs(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Chosen and rejected answers as one batch for the model: `2B` rows, the chosen first, padded on the right.

    Args:
        batch: `chosen_` and `rejected_` `input_ids`, `labels` and `attention_mask` `(B, L)`, whose lengths may differ;
            the tiles `pixel_values` and `image_flags` `(T, ...)`, which both answers share. Anything else is left out.

    Raises:
        ValueError: a tensor is missing, or the two halves have not as many rows.
    """
    fills = {"input_ids": 0, "labels": IGNORE_INDEX, "attention_mask": 0}
    missing = [f"{side}_{key}" for side in ("chosen", "rejected") for key in fills if f"{side}_{key}" not in batch]
    if missing:
        raise ValueError(f"A batch of pairs lacks {', '.join(missing)}. It has: {', '.join(sorted(batch))}.")
    rows = {side: len(batch[f"{side}_input_ids"]) for side in ("chosen", "rejected")}
    if rows["chosen"] != rows["rejected"]:
        raise ValueError(f"Pairs have one chosen and one rejected answer each, got {rows}.")
    length = max(batch["chosen_input_ids"].shape[1], batch["rejected_input_ids"].shape[1])
    joined = {}
    for key, fill in fills.items():
        halves = [batch[f"{side}_{key}"] for side in ("chosen", "rejected")]
        joined[key] = torch.cat([pad(half, (0, length - half.shape[1]), value=fill) for half in halves])
    for key in ("pixel_values", "image_flags"):
        if batch.get(key) is not None:
            joined[key] = batch[key]
    return joined


def pair_log_probs(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Log probabilities of the answers of pairs, every tile encoded once for both.

    Args:
        model: a chat model, wrapped (peft, DDP) or not.
        batch: as for [`join_pairs`].

    Returns:
        Log probabilities of all `2B` answers, summed over their tokens, the chosen first; the mean cross entropy of
        the chosen answers' tokens; the model's outputs.
    """
    inputs = join_pairs(batch)
    outputs = model(**inputs, image_copies=2, loss_reduction="none", skip_logits=True)
    entropies = outputs.loss  # (2B, L)
    pairs = len(entropies) // 2
    tokens = (inputs["labels"][:pairs, 1:] != IGNORE_INDEX).sum().clamp(min=1)
    return -entropies.sum(dim=1), entropies[:pairs].sum() / tokens, outputs


__all__ = ["MPOLoss", "MPOTerms", "RunningMean", "join_pairs", "pair_log_probs"]
