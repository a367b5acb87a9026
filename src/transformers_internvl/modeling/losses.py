# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The language modeling loss, weighted as the authors weigh it (arXiv:2412.05271, section 3.4.2).

Shape letters: B rows, S positions, N positions that are predicted, V vocabulary.
"""

import torch
from torch import nn

IGNORE_INDEX = -100

# Reduction -> weight of each labelled token in a row that has `n` of them.
REDUCTIONS = {
    "token": lambda n: torch.ones_like(n),
    "sample": lambda n: 1 / n,
    "square": lambda n: n.rsqrt(),
}


def token_weights(labels: torch.Tensor, reduction: str) -> torch.Tensor:
    """The weight of every position, from how many labelled tokens its row has; 0 where nothing is labelled.

    Args:
        labels: `(B, S)`, -100 where a position is not supervised.
        reduction: `"token"`, `"sample"` or `"square"`.

    Returns:
        `(B, S)` float32.
    """
    supervised = labels != IGNORE_INDEX
    count = supervised.sum(dim=-1, keepdim=True).clamp(min=1).float()  # (B, 1)
    return REDUCTIONS[reduction](count) * supervised


def weighted_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum of the weighted cross entropies, computed in float32.

    Args:
        logits: `(N, V)`.
        targets: `(N,)` token ids, -100 to ignore.
        weights: `(N,)`.
    """
    entropies = nn.functional.cross_entropy(logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="none")
    return (entropies * weights).sum()


def supervised_loss(
    hidden_states: torch.Tensor,
    head: nn.Module,
    labels: torch.Tensor,
    reduction: str = "token",
    loss_weight: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    logits: torch.Tensor | None = None,
) -> torch.Tensor:
    """Next-token loss that needs logits at supervised positions only.

    Args:
        hidden_states: `(B, S, D)`, the decoder's output.
        head: maps hidden states to logits.
        labels: `(B, S)`, not shifted; position `i` is predicted from position `i - 1`.
        reduction: weight of the labelled tokens of a row, if neither of the next two is given.
        loss_weight: `(B, S)` weights by position, shifted like the labels. The weights of ignored positions count in the
            denominator, as the authors have it.
        num_items_in_batch: the plain sum of the entropies is divided by this, whatever the reduction: how `Trainer` keeps the
            token mean exact over accumulation steps and ranks.
        logits: `(B, S, V)`, if they are there already.

    Returns:
        The loss, float32. Zero, with a gradient path, when nothing is labelled.
    """
    labels = labels.to(hidden_states.device)
    if loss_weight is not None:
        weights = loss_weight.to(hidden_states.device, torch.float32)
    else:
        weights = token_weights(labels, "token" if num_items_in_batch is not None else reduction)
    targets, weights = labels[:, 1:], weights[:, 1:]  # (B, S-1)
    total = weights.sum() if num_items_in_batch is None else num_items_in_batch
    if torch.is_tensor(total):
        total = total.to(hidden_states.device).clamp(min=torch.finfo(torch.float32).tiny)

    if logits is not None:
        return weighted_cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), weights.flatten()) / total
    supervised = targets != IGNORE_INDEX  # (B, S-1)
    logits = head(hidden_states[:, :-1][supervised])  # (N, V)
    return weighted_cross_entropy(logits, targets[supervised], weights[supervised]) / total


__all__ = ["supervised_loss", "token_weights", "weighted_cross_entropy"]
