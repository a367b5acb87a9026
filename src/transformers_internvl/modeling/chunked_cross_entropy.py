# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Cross entropy of a large vocabulary without the logits of all positions at once.

Logits are made for some positions, used, and dropped. With a plain linear head, their gradient is taken on the spot:
it is `softmax(logits) - target` (one-hot, or smoothed), so nothing has to be computed twice. Any other head (adapters,
quantized, hooks) is called as the module it is and computed again in the backward pass. A head whose weights are
spread over ranks (`sharding.py`) is called once, however many chunks the labels of a rank make.

Shape letters: N positions, n positions of a chunk, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from .pretrained.parallel import inside_call, is_sharded

# Logits that are held at a time: 256 MiB in float32, 442 positions of a vocabulary of 151,674.
CHUNK_ELEMENTS = 2**26
# Of these, a CPU works through so many at a time, which stay in its cache from one pass to the next.
CACHED_ELEMENTS = 2**18


def cross_entropies_of(
    head: nn.Module, hidden_states: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Cross entropy at every position, through any head.

    Args:
        head: maps `(n, D)` to logits `(n, V)`.
        hidden_states: `(N, D)`.
        targets: `(N,)`, ids.
        label_smoothing: the share of every target that is spread over the whole vocabulary.

    Returns:
        `(N,)` float32.
    """
    return _with_head(head, lambda opened, hidden: _in_chunks(opened, hidden, targets, label_smoothing), hidden_states)


def weighted_cross_entropy(
    head: nn.Module,
    hidden_states: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The weighted sum of the cross entropies of all positions.

    Args:
        head: maps `(n, D)` to logits `(n, V)`.
        hidden_states: `(N, D)`.
        targets: `(N,)`, ids.
        weights: `(N,)` float32, without gradient.
        label_smoothing: as of [`cross_entropies_of`].

    Returns:
        A scalar, float32.
    """
    return _with_head(
        head,
        lambda opened, hidden: _weighted_sum(opened, hidden, targets, weights, label_smoothing),
        hidden_states,
    )


class _Head(NamedTuple):
    """A head in use: what makes logits, its weight `(V, D)` if they are a product with it and nothing else, and how
    many positions it may be given at a time."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    weight: nn.Parameter | None
    rows: int


def _with_head(
    head: nn.Module, compute: Callable[[_Head, torch.Tensor], torch.Tensor], hidden_states: torch.Tensor
) -> torch.Tensor:
    """`compute` with the head and hidden states, where the head's weights are whole."""
    rows = max(1, CHUNK_ELEMENTS // (getattr(head, "out_features", None) or 2**17))
    if not is_sharded(head):
        weight = head.weight if _is_product(head) and not _has_hooks(head) else None
        return compute(_Head(head, weight, rows), hidden_states)
    if any(True for _ in head.children()):  # they gather as often as they are called
        rows = max(1, len(hidden_states))
    return inside_call(
        head,
        lambda forward, inputs: compute(_Head(forward, head.weight if _is_product(head) else None, rows), inputs),
        hidden_states,
    )


def _weighted_sum(
    head: _Head, hidden_states: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    if torch.is_grad_enabled() and head.weight is not None:
        return _LinearCrossEntropy.apply(hidden_states, head.weight, targets, weights, smoothing)
    return (_in_chunks(head, hidden_states, targets, smoothing) * weights).sum()


def _in_chunks(head: _Head, hidden_states: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    parts = zip(hidden_states.split(head.rows), targets.split(head.rows), strict=True)
    calls = [(head.forward, *part, smoothing) for part in parts]
    if torch.is_grad_enabled() and len(calls) > 1:
        return torch.cat([checkpoint(_entropies, *call, use_reentrant=False) for call in calls])
    return torch.cat([_entropies(*call) for call in calls])


def _entropies(
    forward: Callable[[torch.Tensor], torch.Tensor],
    hidden_states: torch.Tensor,
    targets: torch.Tensor,
    smoothing: float,
) -> torch.Tensor:
    scores = forward(hidden_states).float()
    return nn.functional.cross_entropy(scores, targets, reduction="none", label_smoothing=smoothing)


def _is_product(head: nn.Module) -> bool:
    """Whether the head's logits are a product with its weight, as that lies in memory."""
    return (
        isinstance(head, nn.Linear)
        and type(head).forward is nn.Linear.forward
        and head.bias is None
        and type(head.weight) is nn.Parameter  # not quantized, not split
    )


def _has_hooks(head: nn.Module) -> bool:
    """Whether calling the head does more than its `forward`."""
    return (
        "forward" in vars(head)  # accelerate's offloading
        or bool(head._forward_hooks or head._forward_pre_hooks or head._backward_hooks or head._backward_pre_hooks)
    )


class _LinearCrossEntropy(torch.autograd.Function):
    """`sum(weights * cross_entropy(hidden_states @ weight.T, targets))`, gradients made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        ctx.save_for_backward(hidden_states, weight, targets, weights)
        ctx.smoothing = smoothing
        device = hidden_states.device.type
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        tensors, wanted = (hidden_states, weight, targets, weights), ctx.needs_input_grad[:2]
        loss, ctx.gradients = _sweep(tensors, smoothing, ctx.dtype, *wanted)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None  # given away: who accumulates may write into them
        if gradients is None:  # a second time, with retain_graph
            tensors, wanted = ctx.saved_tensors, ctx.needs_input_grad[:2]
            _, gradients = _sweep(tensors, ctx.smoothing, ctx.dtype, *wanted)
        if upstream.device.type != "cpu" or upstream != 1:  # a look at it is cheaper than a pass, but not on a GPU
            gradients = tuple(None if gradient is None else gradient.mul_(upstream) for gradient in gradients)
        return *gradients, None, None, None


def _sweep(
    tensors: tuple[torch.Tensor, ...],
    smoothing: float,
    autocast: torch.dtype | None,
    for_hidden_states: bool,
    for_weight: bool,
) -> tuple[torch.Tensor, tuple[torch.Tensor | None, torch.Tensor | None]]:
    """The loss, and its gradients `(N, D)` and `(V, D)` where they are wanted, chunk by chunk."""
    hidden_states, weight, targets, weights = tensors
    with torch.autocast(hidden_states.device.type, enabled=False):
        dtype = autocast or hidden_states.dtype
        table = weight.to(dtype)  # (V, D)
        entropies = torch.empty(len(targets), dtype=torch.float32, device=targets.device)
        toward_hidden = torch.empty_like(hidden_states) if for_hidden_states else None
        toward_weight = torch.zeros_like(weight) if for_weight else None
        rows = max(1, min(CHUNK_ELEMENTS // len(weight), len(targets)))
        buffer = torch.empty(rows, len(weight), dtype=torch.float32, device=weight.device)  # fresh memory is slow
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            hidden, target, scale = hidden_states[part].to(dtype), targets[part, None], weights[part, None]
            scores = buffer[: len(hidden)]  # (n, V)
            if dtype == torch.float32:
                torch.mm(hidden, table.t(), out=scores)
            else:
                scores.copy_(hidden @ table.t())
            block = max(1, CACHED_ELEMENTS // len(weight)) if scores.device.type == "cpu" else len(scores)
            blocks = (tensor.split(block) for tensor in (scores, target, scale))
            pieces = zip(*blocks, strict=True)
            entropies[part] = torch.cat([_to_gradient_(logits, goal, by, smoothing) for logits, goal, by in pieces])
            gradient = scores.to(dtype)  # (n, V)
            if toward_hidden is not None:
                toward_hidden[part] = gradient @ table
            if toward_weight is not None and toward_weight.dtype == dtype:
                toward_weight.addmm_(gradient.t(), hidden)
            elif toward_weight is not None:
                toward_weight += gradient.t() @ hidden
        return (entropies * weights).sum(), (toward_hidden, toward_weight)


def _to_gradient_(scores: torch.Tensor, target: torch.Tensor, scale: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Entropies `(n,)` of logits `(n, V)`, which become the gradient of their sum, weighted by `scale` `(n, 1)`."""
    scores -= scores.amax(dim=-1, keepdim=True)
    picked = scores.gather(1, target)  # (n, 1)
    if smoothing:
        picked = picked.lerp(scores.mean(dim=-1, keepdim=True), smoothing)
    normalizer = scores.exp_().sum(dim=-1, keepdim=True)  # (n, 1)
    scores.mul_(scale / normalizer).scatter_add_(1, target, scale * (smoothing - 1))
    if smoothing:
        scores -= scale * (smoothing / scores.shape[-1])
    return (normalizer.log() - picked).squeeze(1)


__all__ = ["cross_entropies_of", "weighted_cross_entropy"]
