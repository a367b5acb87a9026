# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The losses of the chat model: of labels, and of the routers of a mixture of experts.

Shape letters: B rows, L positions, K positions that are kept where tiles are compressed or pruned, D width, V
vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

from ..flash.shortening import IGNORED, at_kept, shifted_at_kept
from ..losses import IGNORE_INDEX, share_of_step, step_of_labels, supervised_loss, token_losses
from ..outputs import InternVLModelOutputWithPast


@dataclass
class Supervision:
    """What a call of the chat model says about its loss.

    Attributes:
        labels: `(B, L)`, not shifted, -100 where a position is not supervised.
        loss_weight: `(B, L)`, or None: by `reduction`.
        reduction: None: the config's. `"none"`: the loss of every label.
        smoothing: the share of every label that is spread over the whole vocabulary.
        options: the other arguments of the call, `num_items_in_batch` and `shift_labels` among them.
    """

    labels: torch.Tensor
    loss_weight: torch.Tensor | None
    reduction: str | None
    smoothing: float
    options: dict[str, Any]

    def at_kept(self, kept: torch.Tensor | None) -> "Supervision":
        """The same of kept positions `(B, K)`; None: all are."""
        if kept is None:
            return self
        weight = None if self.loss_weight is None else at_kept(self.loss_weight, kept)
        options = dict(self.options)
        if options.get("shift_labels") is not None:
            options["shift_labels"] = shifted_at_kept(options["shift_labels"], kept)
        return replace(self, labels=at_kept(self.labels, kept, IGNORED), loss_weight=weight, options=options)


def losses_of(
    model: Any,
    outputs: InternVLModelOutputWithPast,
    logits: torch.Tensor | None,
    supervision: Supervision,
    attention_mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The loss of a batch, and the load-balancing loss that is part of it.

    Args:
        model: the chat model.
        outputs: of its body: hidden states `(B, L, D)`, and the logits of routers.
        logits: `(B, L, V)`, if they were computed.
        supervision: labels and weights.
        attention_mask: `(B, L)`, of the rows as they were given.

    Returns:
        The loss, a scalar or with the reduction `"none"` `(B, L)`; the load-balancing loss, None without experts.
    """
    supervision = supervision.at_kept(outputs.kept_positions)
    loss = language_modeling_loss(model, outputs.last_hidden_state, logits, supervision)
    if loss is None or not outputs.router_logits:
        return loss, None
    if attention_mask is not None and outputs.kept_positions is not None:
        attention_mask = (outputs.kept_positions >= 0).long()
    aux_loss = load_balancing_loss(model, outputs.router_logits, attention_mask, outputs.last_hidden_state)
    if supervision.reduction == "none":
        return loss, aux_loss
    options = supervision.options
    share = share_of_step(
        supervision.labels, supervision.loss_weight, options.get("num_items_in_batch"), options.get("shift_labels")
    )
    return loss + share * model.config.text_config.router_aux_loss_coef * aux_loss.to(loss.device), aux_loss


def language_modeling_loss(
    model: Any, hidden_states: torch.Tensor, logits: torch.Tensor | None, supervision: Supervision
) -> torch.Tensor:
    """The loss of labels `(B, L)`, by the user's `model.loss_function` if there is one.

    Args:
        model: the chat model.
        hidden_states: `(B, L, D)`.
        logits: `(B, L, V)`, if they were computed; a user's function is given them.
        supervision: labels and weights.

    Raises:
        ValueError: smoothing beside a loss function of the user.
    """
    labels, options = supervision.labels, supervision.options
    if (own_loss := own_loss_function(model)) is not None:
        if supervision.smoothing:
            raise ValueError("`smoothing` is not for a `loss_function` of your own: smooth labels in it.")
        return own_loss(logits=logits, labels=labels, vocab_size=model.config.text_config.vocab_size, **options)
    if model.model.shares_context():
        return share_of_loss(model, hidden_states, supervision)
    if supervision.reduction == "none":
        return token_losses(hidden_states, model.lm_head, labels, supervision.smoothing)
    return supervised_loss(
        hidden_states,
        model.lm_head,
        labels,
        supervision.reduction or model.config.loss_reduction,
        supervision.loss_weight,
        options.get("num_items_in_batch"),
        logits if logits is not None and logits.shape[1] == labels.shape[1] else None,
        options.get("shift_labels"),
        supervision.smoothing,
    )


def share_of_loss(model: Any, hidden_states: torch.Tensor, supervision: Supervision) -> torch.Tensor:
    """The loss of the positions of this rank, `(B, l, D)`, of labels `(B, L)`: those of all ranks add up to the loss.

    Raises:
        ValueError: the reduction `"none"`, which has no sum.
    """
    if supervision.reduction == "none":
        raise ValueError("Under context parallelism there is no loss of each label: leave out `loss_reduction`.")
    ranks, options = model.model.context_group, supervision.options
    reduction = supervision.reduction or model.config.loss_reduction
    given = (supervision.loss_weight, options.get("num_items_in_batch"), options.get("shift_labels"))
    targets, weights, total = step_of_labels(supervision.labels, reduction, *given)
    return supervised_loss(
        hidden_states,
        model.lm_head,
        supervision.labels,
        loss_weight=ranks.share(weights),
        num_items_in_batch=total,
        shift_labels=ranks.share(targets, fill=IGNORE_INDEX),
        label_smoothing=supervision.smoothing,
    )


def own_loss_function(model: Any) -> Any:
    """`model.loss_function` that a user has set, which takes logits; None: there is none."""
    return getattr(model, "_loss_function", None)


def load_balancing_loss(
    model: Any,
    router_logits: tuple[torch.Tensor, ...],
    attention_mask: torch.Tensor | None,
    hidden_states: torch.Tensor,
) -> torch.Tensor:
    """The loss that spreads tokens over experts (arXiv:2101.03961), over the positions that are not padding.

    Raises:
        ValueError: reentrant gradient checkpointing, which leaves it without a gradient.
    """
    text = model.config.text_config
    experts = getattr(text, "num_experts", None) or text.num_local_experts
    loss = load_balancing_loss_func(router_logits, experts, text.num_experts_per_tok, attention_mask)
    if model.is_activation_checkpointing and hidden_states.requires_grad and not loss.requires_grad:
        raise ValueError(
            "The load-balancing loss of the experts has no gradient: reentrant gradient checkpointing cuts it "
            'off. Set `gradient_checkpointing_kwargs={"use_reentrant": False}`.'
        )
    return loss


__all__ = [
    "Supervision",
    "language_modeling_loss",
    "load_balancing_loss",
    "losses_of",
    "own_loss_function",
    "share_of_loss",
]
