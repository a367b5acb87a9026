# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The language modeling loss, weighted as in the original training (arXiv:2412.05271, section 3.4.2).

Shape letters: B rows, S positions, N positions that are predicted, V vocabulary.
"""

import torch
from torch import nn

from .chunked_cross_entropy import cross_entropies_of, weighted_cross_entropy

IGNORE_INDEX = -100

# Reduction -> weight of each labelled token in a row that has `n` of them.
REDUCTIONS = {
    "token": lambda n: torch.ones_like(n),
    "sample": lambda n: 1 / n,
    "square": lambda n: n.rsqrt(),
}


def token_weights(labels: torch.Tensor, reduction: str, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The weight of every position, from how many labelled tokens its row has; 0 where nothing is labelled.

    Args:
        labels: `(..., S)`, -100 where a position is not supervised. A label of the first position counts, too.
        reduction: `"token"`, `"sample"` or `"square"`.
        dtype: the weights are computed in it. Only float64 gives every bit of the original weights.

    Returns:
        `(..., S)` float32.
    """
    supervised = labels != IGNORE_INDEX
    count = supervised.sum(dim=-1, keepdim=True).clamp(min=1).to(dtype)
    return REDUCTIONS[reduction](count).float() * supervised


def predicted(values: torch.Tensor, shifted: bool) -> torch.Tensor:
    """Labels or weights `(B, S)` of the positions that are predicted: all where they are shifted already (as
    `shift_labels` is), else all but the first."""
    return values if shifted else values[:, 1:]


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy at every position, in float32, 0 where the target is -100. `(N, V)` and `(N,)` to `(N,)`."""
    return nn.functional.cross_entropy(
        logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=label_smoothing
    )


def supervised_loss(
    hidden_states: torch.Tensor,
    head: nn.Module,
    labels: torch.Tensor,
    reduction: str = "token",
    loss_weight: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    logits: torch.Tensor | None = None,
    shift_labels: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Next-token loss that needs logits at supervised positions only, and not of all of them at once.

    Args:
        hidden_states: `(B, S, D)`, the decoder's output.
        head: maps hidden states to logits.
        labels: `(B, S)`, not shifted; position `i` is predicted from position `i - 1`.
        reduction: weight of the labelled tokens of a row, if neither of the next two is given.
        loss_weight: `(B, S)` weights by position, shifted like the labels. The weights of ignored positions count in
            the denominator, as in the original code.
        num_items_in_batch: what the weights of all pieces of a step come to, and this one's sum is divided by: how
            `InternVLTrainer` keeps any mean exact over accumulation steps and ranks. Without `loss_weight` it is the
            number of their labels, as `Trainer` counts it: the mean over this piece then enters with its share of the
            labels, which is exact for the token mean, and for the others if there is one piece.
        logits: `(B, S, V)`, if they are there already.
        shift_labels: `(B, S)`, labels that were shifted already: position `i` predicts entry `i`. `labels` is then not
            read.
        label_smoothing: the share of every target that is spread over the whole vocabulary (arXiv:1512.00567).

    Returns:
        The loss, float32. Zero, with a gradient path, when nothing is labelled.
    """
    targets, weights, total = step_of_labels(labels, reduction, loss_weight, num_items_in_batch, shift_labels)
    targets, weights = targets.to(hidden_states.device), weights.to(hidden_states.device, torch.float32)  # (B, S)
    supervised = targets != IGNORE_INDEX
    # Before and not after: the head's gradient is large, and need not be divided then.
    weights = weights / _positive(total, weights)
    if logits is None:
        chosen = (hidden_states[supervised], targets[supervised], weights[supervised])
        return weighted_cross_entropy(head, *chosen, label_smoothing)
    return (cross_entropies(logits.flatten(0, 1), targets.flatten(), label_smoothing) * weights.flatten()).sum()


def step_of_labels(
    labels: torch.Tensor,
    reduction: str,
    loss_weight: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    shift_labels: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | int]:
    """What [`supervised_loss`] makes of its arguments, so that parts of the positions can be computed one by one.

    Args: as for [`supervised_loss`].

    Returns:
        For every position the label that it predicts, `(B, S)`, and its weight, `(B, S)` float32; and what the
        weighted sum is divided by.
    """
    shifted = shift_labels is not None
    weights = token_weights(labels, reduction) if loss_weight is None else loss_weight.float()
    targets = labels if shift_labels is None else shift_labels
    if not shifted:  # the last position predicts nothing
        targets = nn.functional.pad(targets[:, 1:], (0, 1), value=IGNORE_INDEX)
        weights = nn.functional.pad(weights[:, 1:], (0, 1))
    elif loss_weight is None:
        weights = token_weights(targets, reduction)
    if num_items_in_batch is None:
        return targets, weights, weights.flatten().sum()
    if loss_weight is None:
        weights = weights * ((targets != IGNORE_INDEX).sum() / _positive(weights.sum(), weights))
    return targets, weights, num_items_in_batch


def share_of_step(
    labels: torch.Tensor,
    loss_weight: torch.Tensor | None = None,
    num_items_in_batch: torch.Tensor | int | None = None,
    shift_labels: torch.Tensor | None = None,
) -> torch.Tensor | float:
    """How much a batch weighs among those of its optimizer step, by its labels.

    The shares of a step's batches, over accumulation steps and ranks, add up to 1. What is no sum over labels, such as
    a load-balancing loss, is averaged with them: it counts once a step, however many pieces the step is split into.

    Args: as for [`supervised_loss`].
    """
    if num_items_in_batch is None:
        return 1.0
    if loss_weight is None:
        loss_weight = (labels if shift_labels is None else shift_labels) != IGNORE_INDEX
    weight = predicted(loss_weight, shift_labels is not None).sum()
    return weight / _positive(num_items_in_batch, weight)


def _positive(total: torch.Tensor | float, like: torch.Tensor) -> torch.Tensor | float:
    """What a sum is divided by, where the sum lies; never 0, since nothing labelled is no loss, not NaN."""
    least = torch.finfo(torch.float32).tiny
    if not isinstance(total, torch.Tensor):
        return max(total, least)
    return total.to(like.device).clamp(min=least)


def token_losses(
    hidden_states: torch.Tensor, head: nn.Module, labels: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """The cross entropy of every label: minus the log probability of a token given what stands before it.

    Args:
        hidden_states: `(B, S, D)`, the decoder's output.
        head: maps hidden states to logits.
        labels: `(B, S)`, not shifted; position `i` is predicted from position `i - 1`.
        label_smoothing: as for [`supervised_loss`]; the entropies are no log probabilities then.

    Returns:
        `(B, S)` float32, in the labels' places; 0 where nothing is labelled, and at the first position.
    """
    labels = labels.to(hidden_states.device)
    supervised = labels[:, 1:] != IGNORE_INDEX
    chosen = (hidden_states[:, :-1][supervised], labels[:, 1:][supervised])
    found = cross_entropies_of(head, *chosen, label_smoothing)
    entropies = torch.zeros(labels[:, 1:].shape, dtype=torch.float32, device=labels.device)
    entropies = entropies.masked_scatter(supervised, found)
    return nn.functional.pad(entropies, (1, 0))


__all__ = [
    "cross_entropies",
    "predicted",
    "share_of_step",
    "step_of_labels",
    "supervised_loss",
    "token_losses",
    "token_weights",
]
