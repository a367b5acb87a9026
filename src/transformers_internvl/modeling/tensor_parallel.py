# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tensor parallelism: heads of a language model that do not divide by the ranks, and weights that all heads share.

Stock's plans give every rank some of the heads. Where the heads or key-value heads cannot be shared out evenly (14 and
2 of Qwen2.5-0.5B on four ranks), loading would fail in the first forward pass. There the weights of the attention are
still cut, but their outputs are gathered and every rank computes all heads.

The norms of Qwen3's queries and keys are whole on every rank, which knows their gradient from its own heads.
transformers sums what a parameter has gathered over the ranks after each backward pass, and with several passes a step
(gradient accumulation) sums the earlier ones again and again. Here each pass is summed before it is added.
"""

import re
from functools import partial
from typing import Any

import torch
from torch import nn

_RULE = re.compile(r"(?P<body>.*?)\.?layers\.\*\.self_attn\.(?P<leaf>.+)")
_SUMMED = "replicated_with_grad_allreduce"  # the style of weights that the heads share
# A projection's style in stock's plans -> the one that keeps the heads together.
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


class KeepsHeadsWhole:
    """Mixin in front of `PreTrainedModel`, which asks it for its plan once the number of ranks is known."""

    tp_plan: dict[str, str]
    _summed: frozenset[str] = frozenset()  # modules and parameters whose gradients are sums over the ranks

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As transformers'; gradients of weights that the heads of all ranks share are summed, pass by pass."""
        loaded = super().from_pretrained(*args, **kwargs)  # type: ignore[misc]
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for name, parameter in model.named_parameters():
            if not model._summed.isdisjoint((name, name.rpartition(".")[0])):
                parameter.register_hook(partial(_sum_over, model._mesh_manager.get_mesh("tp").get_group()))
        return loaded

    def _resolve_parallel_plans(self, distributed_config: Any) -> Any:
        if distributed_config.tp_size > 1:
            self.tp_plan = with_whole_heads(self, self.tp_plan, distributed_config.tp_size)
        tp_plan, *others = super()._resolve_parallel_plans(distributed_config)  # type: ignore[misc]
        if distributed_config.dp_size == 1:  # FSDP2 has hooks of its own, and calls transformers' once a step
            self._summed = frozenset(name for name, style in tp_plan.items() if style == _SUMMED)
            tp_plan = {name: style for name, style in tp_plan.items() if style != _SUMMED}
        return tp_plan, *others


__all__ = ["KeepsHeadsWhole", "with_whole_heads"]
