# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weights that are spread over ranks: FSDP2 (`torch.distributed.fsdp.fully_shard`) and DeepSpeed's ZeRO-3.

Both gather a module's weights when it is called, which every rank must then do equally often and in the same order: a
rank that calls a module once more, or not at all, waits forever. What a rank computes depends on its batch, so the
model asks here and calls what is sharded once a step, whatever the batch holds.

Tensor parallelism: heads of a language model that do not divide by the ranks, and weights that all heads share.

Upstream's plans give every rank some of the heads. Where the heads or key-value heads cannot be shared out evenly (14
and 2 of Qwen2.5-0.5B on four ranks), loading would fail in the first forward pass. There the weights of the attention
are still split, but their outputs are gathered and every rank computes all heads.

The norms of Qwen3's queries and keys are whole on every rank, which knows their gradient from its own heads.
transformers sums what a parameter has gathered over the ranks after each backward pass, and with several passes a step
(gradient accumulation) sums the earlier ones again and again. Here each pass is summed before it is added.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn


def is_sharded(module: nn.Module) -> bool:
    """Whether calling a module, or a part of it, gathers weights from other ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(part, FSDPModule) for part in module.modules()) or any(
        hasattr(parameter, "ds_id") for parameter in module.parameters()
    )


def inside_call(module: nn.Module, compute: Callable[[Callable, torch.Tensor], Any], inputs: torch.Tensor) -> Any:
    """Call a module once, but compute something else in the place of its `forward`, where its own weights are whole.

    Args:
        module: its hooks see `inputs` and what comes out.
        compute: takes the module's own `forward`, which is free of hooks, and `inputs` as the hooks leave them.
        inputs: of any shape.

    Returns:
        What `compute` returned, as the hooks leave it.
    """
    forward, replaced = module.forward, vars(module).get("forward")
    module.forward = lambda inputs: compute(forward, inputs)
    try:
        return module(inputs)
    finally:
        if replaced is None:
            del module.forward
        else:
            module.forward = replaced


def gather_plans(holder: nn.Module, parts: dict[str, Any]) -> None:
    """Give a plain module the plans of the models inside it, as far as they name parts that are there.

    A model asks its own children only.

    Args:
        holder: gets `_tp_plan` and `_fsdp_plan`.
        parts: name in the holder -> model.
    """
    for plan in ("_tp_plan", "_fsdp_plan"):
        rules = ((name, key, rule) for name, part in parts.items() for key, rule in getattr(part, plan).items())
        there = {f"{name}.{key}": rule for name, key, rule in rules if getattr(parts[name], key.split(".")[0])}
        setattr(holder, plan, there)


def share_ranks(source: Any, target: Any) -> None:
    """Record that the tensors of a model are spread over ranks as those of `source`, whose tensors they are.

    `save_pretrained` asks for it before it gathers them.
    """
    spread = getattr(source.config, "distributed_config", None)
    if spread is not None:
        target.config.distributed_config = spread
        target._device_mesh = source._device_mesh


# What users call beside `forward`, and what needs weights that FSDP2 gathers for `forward` alone.
_CALLED_BESIDES_FORWARD = ("generate", "get_image_features", "get_text_features", "encode_image", "encode_text")


def register_fsdp_methods(model: nn.Module) -> None:
    """Let FSDP2 gather weights for the methods that users call beside `forward`. Without FSDP2 nothing changes."""
    from torch.distributed.fsdp import register_fsdp_forward_method

    for name in _CALLED_BESIDES_FORWARD:
        if hasattr(model, name):
            register_fsdp_forward_method(model, name)


def tied_copies_joined(model: Any, weights: dict[str, Any]) -> dict[str, Any]:
    """Gathered weights, in which tied ones are one tensor again, and so written once."""
    live = dict(model.named_parameters(remove_duplicate=False))
    for copy, original in (model.all_tied_weights_keys or {}).items():
        if copy in weights and original in weights and live[copy] is live[original]:
            weights[copy] = weights[original]
    return weights


@contextmanager
def scalars_aside(model: nn.Module) -> Iterator[None]:
    """Take the parameters without dimensions, which FSDP2 refuses, out of the model within the context."""
    scalars = _scalars(model)
    for module, name, _ in scalars:
        del module._parameters[name]
    try:
        yield
    finally:
        for module, name, scalar in scalars:
            module.register_parameter(name, scalar)


def replicate_scalars(model: Any) -> None:
    """Make scalars of a sharded model distributed tensors as all others are, whole on every rank.

    Optimizers and the clipping of gradients take no mixture.
    """
    spread = model.config.distributed_config if model._mesh_manager is not None else None
    if spread is not None and spread.dp_size > 1:
        names = ("dp_replicate", "fsdp") if spread.dp_replicate_size > 1 else "fsdp"
        _replicate_scalars(model, model._mesh_manager.get_mesh(names))


def _scalars(model: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """Parameters without dimensions: their owner, their name in it, and they."""
    named = ((owner, name, p) for owner in model.modules() for name, p in owner.named_parameters(recurse=False))
    return [(owner, name, parameter) for owner, name, parameter in named if parameter.ndim == 0]


def _replicate_scalars(model: nn.Module, mesh: Any) -> None:
    """Make scalars distributed tensors as all others are: optimizers and the clipping of gradients take no mixture."""
    from torch.distributed.tensor import DTensor, Replicate

    for owner, name, scalar in _scalars(model):
        copies = DTensor.from_local(scalar.detach(), mesh, [Replicate()] * mesh.ndim, run_check=False)
        owner.register_parameter(name, nn.Parameter(copies, requires_grad=scalar.requires_grad))


def on_every_rank(scalar: torch.Tensor) -> torch.Tensor:
    """A parameter without dimensions for computing with it; its gradient is the mean over ranks, as FSDP2's are."""
    from torch.distributed.tensor import DTensor

    if not isinstance(scalar, DTensor):
        return scalar
    mesh = scalar.device_mesh
    local = scalar.to_local()

    def average(gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        for dimension in range(mesh.ndim):
            torch.distributed.all_reduce(gradient, group=mesh.get_group(dimension))
        return gradient / mesh.size()

    if local.requires_grad:
        local.register_hook(average)
    return local


_RULE = re.compile(r"(?P<body>.*?)\.?layers\.\*\.self_attn\.(?P<leaf>.+)")
_SUMMED = "replicated_with_grad_allreduce"  # the style of weights that the heads share
# A projection's style in upstream's plans -> the one that keeps the heads together.
_GATHERED = {"colwise": "colwise_gather_output", "rowwise": "rowwise_split_input"}


def with_whole_heads(model: nn.Module, plan: dict[str, str], ranks: int) -> dict[str, str]:
    """The plan, with outputs gathered in the attention of every decoder whose heads `ranks` does not divide.

    Args:
        model: what the names of the plan are relative to.
        plan: module, layer numbers written as `*`, to style.
        ranks: how many share the tensors.
    """
    changed = {}
    for name, style in plan.items():
        match = _RULE.fullmatch(name)
        if match is None or _divides(model.get_submodule(match["body"]).config, ranks):
            changed[name] = style
        elif match["leaf"].endswith("_proj"):
            changed[name] = _GATHERED.get(style, style)
        # What else has a rule (norms and sinks of some heads) is whole on every rank, as are its gradients.
    return changed


def _divides(config: Any, ranks: int) -> bool:
    heads = config.num_attention_heads
    return heads % ranks == 0 and (getattr(config, "num_key_value_heads", None) or heads) % ranks == 0


def _sum_over(group: Any, gradient: torch.Tensor) -> torch.Tensor:
    gradient = gradient.clone()
    torch.distributed.all_reduce(gradient, group=group)
    return gradient


def sum_shared_gradients(model: Any) -> None:
    """Sum the gradients of weights that the heads of all ranks share over the ranks, pass by pass."""
    for name, parameter in model.named_parameters():
        if not model._summed.isdisjoint((name, name.rpartition(".")[0])):
            parameter.register_hook(partial(_sum_over, model._mesh_manager.get_mesh("tp").get_group()))


def split_summed(tp_plan: dict[str, str]) -> tuple[frozenset[str], dict[str, str]]:
    """Whose gradients the model sums itself ([`sum_shared_gradients`]), and the plan without these rows."""
    summed = frozenset(name for name, style in tp_plan.items() if style == _SUMMED)
    return summed, {name: style for name, style in tp_plan.items() if style != _SUMMED}


__all__ = [
    "gather_plans",
    "inside_call",
    "is_sharded",
    "on_every_rank",
    "register_fsdp_methods",
    "replicate_scalars",
    "scalars_aside",
    "share_ranks",
    "split_summed",
    "sum_shared_gradients",
    "tied_copies_joined",
    "with_whole_heads",
]
