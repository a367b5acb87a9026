# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tensor parallelism where the heads of a language model do not divide by the ranks.

Stock's plans give every rank some of the heads. Where the heads or key-value heads cannot be shared out evenly (14 and
2 of Qwen2.5-0.5B on four ranks), loading would fail in the first forward pass. There the weights of the attention are
still cut, but their outputs are gathered and every rank computes all heads.
"""

import re
from typing import Any

from torch import nn

_RULE = re.compile(r"(?P<body>.*?)\.?layers\.\*\.self_attn\.(?P<leaf>.+)")
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


class KeepsHeadsWhole:
    """Mixin in front of `PreTrainedModel`, which asks it for its plan once the number of ranks is known."""

    tp_plan: dict[str, str]

    def _resolve_parallel_plans(self, distributed_config: Any) -> Any:
        if distributed_config.tp_size > 1:
            self.tp_plan = with_whole_heads(self, self.tp_plan, distributed_config.tp_size)
        return super()._resolve_parallel_plans(distributed_config)  # type: ignore[misc]


__all__ = ["KeepsHeadsWhole", "with_whole_heads"]
