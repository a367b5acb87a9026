# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Group sequence policy optimization (arXiv:2507.18071), the loss of InternVL3.5's online reinforcement stage.

Several answers to a question are rewarded. An answer is pushed up or down by how much better than the others it is, as
long as it is about as likely as when it was sampled:

    A_i     = (R_i - mean of the group) / (std of the group + 1e-6)
    s_i     = exp(mean over the tokens of log p - log p_old)              the ratio of a whole answer
    loss_t  = max(-A_i s_i, -A_i clip(s_i, 1 - low, 1 + high))            with the gradient of log p of token t
    loss    = mean over answers of the mean over their tokens

There is no KL term and no bonus for entropy, as in the published scripts.

Shape letters: B answers, L positions, V vocabulary.

Source: `compute_policy_loss_gspo` and `compute_grpo_outcome_advantage` of the original verl-internvl.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...modeling.losses import IGNORE_INDEX

# How far the ratio of an answer may be below and above 1: of the published scripts of 3.5, and of the GSPO paper.
RELEASED_CLIP = (0.2, 0.2)
PAPER_CLIP = (3e-4, 4e-4)

_MAX_EXPONENT = 10.0
_EPSILON = 1e-6  # of a standard deviation
_MEAN_EPSILON = 1e-8  # of the number of tokens, in figures that are logged


@dataclass(frozen=True)
class GSPOTerms:
    """What [`GSPOLoss`] gives.

    Attributes:
        loss: a scalar, with gradient.
        clip_fraction: the share of answer tokens whose ratio is cut off, a scalar.
        kl: mean of `old - new` log probabilities over all answer tokens, a scalar.
        ratios: of the answers, `(B,)`.
    """

    loss: torch.Tensor
    clip_fraction: torch.Tensor
    kl: torch.Tensor
    ratios: torch.Tensor


class GSPOLoss:
    """The loss of a batch of answers.

    Args:
        clip: how far a ratio may be below and above 1, such as `RELEASED_CLIP` and `PAPER_CLIP`.

    Raises:
        ValueError: a bound below outside [0, 1), or one above that is negative.
    """

    def __init__(self, clip: tuple[float, float] = RELEASED_CLIP):
        low, high = clip
        if not 0 <= low < 1 or not high >= 0:
            raise ValueError(f"`clip` is how far a ratio may be below 1, in [0, 1), and above, from 0; got {clip}.")
        self.clip = (low, high)

    def __call__(
        self,
        log_probs: torch.Tensor,
        old_log_probs: torch.Tensor,
        advantages: torch.Tensor,
        mask: torch.Tensor,
    ) -> GSPOTerms:
        """The loss, and figures to log.

        Args:
            log_probs: `(B, L)` log probabilities of the answers' tokens, with gradient.
            old_log_probs: `(B, L)` the same under the policy that sampled them.
            advantages: `(B,)` of the answers, or `(B, L)` of their tokens.
            mask: `(B, L)`, 1 at tokens of answers.

        Raises:
            ValueError: shapes that do not fit, or an answer without tokens.
        """
        advantages = advantages[:, None].expand_as(log_probs) if advantages.dim() == 1 else advantages
        shapes = {tuple(tensor.shape) for tensor in (log_probs, old_log_probs, advantages, mask)}
        if len(shapes) != 1 or log_probs.dim() != 2:
            raise ValueError(f"Log probabilities, advantages and mask must have one shape (B, L), got {shapes}.")
        mask = mask.to(log_probs.dtype)
        tokens = mask.sum(dim=1)  # (B,)
        if not tokens.all():
            empty = torch.nonzero(tokens == 0).flatten().tolist()
            raise ValueError(f"Answers {empty} of the batch have no token (their mask is 0): leave them out.")
        difference = log_probs - old_log_probs.detach()  # (B, L)
        of_answer = (difference * mask).sum(dim=1) / tokens  # (B,), log s
        exponent = log_probs - log_probs.detach() + of_answer.detach()[:, None]  # (B, L): log s, gradient of log p
        ratio = exponent.clamp(max=_MAX_EXPONENT).exp()
        plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - self.clip[0], 1 + self.clip[1])
        per_answer = (torch.maximum(plain, clipped) * mask).sum(dim=1) / tokens  # (B,)
        total = mask.sum() + _MEAN_EPSILON
        cut_off = ((clipped > plain).to(mask.dtype) * mask).sum() / total
        kl = (-difference * mask).sum() / total
        ratios = of_answer.clamp(max=_MAX_EXPONENT).exp()
        return GSPOTerms(per_answer.mean(), *(tensor.detach() for tensor in (cut_off, kl, ratios)))


def group_advantages(rewards: torch.Tensor, groups: torch.Tensor, by_deviation: bool = True) -> torch.Tensor:
    """How much better each answer is than those to the same question.

    Args:
        rewards: `(B,)` of the answers.
        groups: `(B,)` the number of the question of every answer.
        by_deviation: divide by the standard deviation (unbiased) of the group.

    Returns:
        `(B,)` float32: 0 where all answers of a question have one reward. A single answer to a question has nothing
        to be compared with: its advantage is its reward, as in the original code.

    Raises:
        ValueError: other shapes, or rewards that are no numbers.
    """
    if rewards.dim() != 1 or groups.shape != rewards.shape:
        raise ValueError(
            f"`rewards` and `groups` are (B,), one for each answer; got {tuple(rewards.shape)}, {tuple(groups.shape)}."
        )
    if not torch.isfinite(rewards).all():
        raise ValueError(f"Rewards must be finite numbers, got {rewards.tolist()}.")
    advantages = rewards.float().clone()
    for group in groups.unique():
        members = groups == group
        own = rewards[members].float()
        mean, deviation = (own.mean(), own.std()) if len(own) > 1 else (own.new_zeros(()), own.new_ones(()))
        advantages[members] = (own - mean) / (deviation + _EPSILON) if by_deviation else own - mean
    return advantages


def answer_log_probs(model: nn.Module, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities of the tokens of answers under a chat model, at temperature 1.

    Logits are made in chunks, at the answers' tokens alone, however large the vocabulary is.

    Args:
        model: a chat model, wrapped (peft, DDP) or not.
        batch: what the model takes, with `labels` `(B, L)`: the ids of answers, -100 elsewhere.

    Returns:
        `(B, L-1)` log probabilities of all tokens but the first, 0 where there is no label; and their mask.

    Raises:
        ValueError: there are no labels.
    """
    if batch.get("labels") is None:
        raise ValueError("A batch needs `labels` (B, L): the ids of answers, and -100 at all other positions.")
    entropies = model(**batch, loss_reduction="none", skip_logits=True).loss  # (B, L), in the labels' places
    mask = batch["labels"][:, 1:] != IGNORE_INDEX  # (B, L-1)
    return -entropies[:, 1:], mask.to(entropies.device)


__all__ = [
    "GSPOLoss",
    "GSPOTerms",
    "PAPER_CLIP",
    "RELEASED_CLIP",
    "answer_log_probs",
    "group_advantages",
]
