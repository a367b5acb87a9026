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
    """Give a plain module the plans of the models inside it: a model asks its own children only.

    Args:
        holder: gets `_tp_plan` and `_fsdp_plan`.
        parts: name in the holder -> model.
    """
    for plan in ("_tp_plan", "_fsdp_plan"):
        rules = {f"{name}.{key}": rule for name, part in parts.items() for key, rule in getattr(part, plan).items()}
        setattr(holder, plan, rules)


class NamesOwnBlocks:
    """Mixin in front of `PreTrainedModel`: `_no_split_modules` names only what the model has.

    accelerate shards a model by these classes, and refuses one that it does not find.
    """

    _no_split_modules: Any

    def post_init(self) -> None:
        super().post_init()  # type: ignore[misc]
        self._no_split_modules &= {type(module).__name__ for module in self.modules()}  # type: ignore[attr-defined]


__all__ = ["NamesOwnBlocks", "gather_plans", "inside_call", "is_sharded"]
