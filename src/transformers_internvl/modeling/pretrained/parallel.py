# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weights that are spread over ranks: FSDP2 (`torch.distributed.fsdp.fully_shard`) and DeepSpeed's ZeRO-3.

Both gather a module's weights when it is called, which every rank must then do equally often and in the same order: a
rank that calls a module once more, or not at all, waits forever. What a rank computes depends on its batch, so the
model asks here and calls what is sharded once a step, whatever the batch holds.
"""

from collections.abc import Callable
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


__all__ = [
    "gather_plans",
    "inside_call",
    "is_sharded",
    "register_fsdp_methods",
    "share_ranks",
]
