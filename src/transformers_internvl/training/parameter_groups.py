# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Parameter groups of the optimizer: no decay of norms and biases, learning rates by part and by depth.

    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-5, 0.05, layer_decay={"vision": 0.9}))
    Trainer(model, arguments, optimizers=(optimizer, None), ...)

Source: `internvl_g/internvl/train/trainer_monkey_patch.py` of the authors' repository, after BEiT (arXiv:2106.08254).
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from .freezing import part_of

# What stands before the first block of a part, and what is one of its blocks.
_FIRST = re.compile(r"(^|\.)(embeddings|embed_tokens)\.|(^|\.)(query_tokens|logit_scale)$")
_BLOCK = re.compile(r"\.layers?\.(\d+)\.")

# Parts whose depth another part's blocks give: the head is behind the last block of its decoder, and so on.
_DEPTH_OF = {"head": "language", "bridge": "text", "temperature": "text"}


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    part_learning_rates: Mapping[str, float] | None = None,
    layer_decay: Mapping[str, float] | None = None,
    no_decay: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Groups of the parameters that train, for any torch optimizer.

    Args:
        model: what trains must be marked already (`requires_grad`).
        learning_rate: of every part that the next argument does not name.
        weight_decay: of matrices. Vectors (norms, biases, LayerScale) are not decayed.
        part_learning_rates: part of `freezing.PARTS` -> its learning rate.
        layer_decay: part -> factor in (0, 1]. Block `k` of a part of `n` learns at its rate times `factor ** (n - k)`,
            what stands before the blocks at `factor ** (n + 1)`, what stands behind them at the full rate.
        no_decay: ends of the names of further parameters that are not decayed.

    Returns:
        Dictionaries with `params`, `lr`, `weight_decay`, and `name` (part, layer, whether decayed) for logs.

    Raises:
        ValueError: nothing trains, a part has no parameter that trains, or a factor is outside (0, 1].
    """
    rates, decays = dict(part_learning_rates or {}), dict(layer_decay or {})
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    _check(trained, rates, decays)
    depths = _depths(model)
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in trained:
        part = part_of(name)
        depth = depths.get(_DEPTH_OF.get(part, part), 0)
        layer = _layer_of(name, depth) if part in decays else depth + 1
        decayed = parameter.ndim > 1 and not name.endswith((".bias", *no_decay))
        key = f"{part}.{layer}.{'decay' if decayed else 'no_decay'}"
        scale = decays.get(part, 1.0) ** (depth + 1 - layer)
        group = {"lr": rates.get(part, learning_rate) * scale, "weight_decay": weight_decay if decayed else 0.0}
        groups.setdefault(key, {"name": key, "params": [], **group})["params"].append(parameter)
    return list(groups.values())


def _check(trained: list[tuple[str, nn.Parameter]], rates: dict[str, float], decays: dict[str, float]) -> None:
    if not trained:
        raise ValueError("No parameter trains: choose some with `freezing.set_trainable` first.")
    parts = sorted({part_of(name) for name, _ in trained})
    for part in (*rates, *decays):
        if part not in parts:
            raise ValueError(f"No parameter of part {part!r} trains. The parts that do: {', '.join(parts)}.")
    for part, factor in decays.items():
        if not 0 < factor <= 1:
            raise ValueError(f"Layer decay is a factor in (0, 1], got {factor} for {part!r}.")


def _depths(model: nn.Module) -> dict[str, int]:
    """Part -> number of its blocks."""
    depths: dict[str, int] = {}
    for name, _ in model.named_parameters():
        block = _BLOCK.search(name)
        if block:
            part = part_of(name)
            depths[part] = max(depths.get(part, 0), int(block[1]) + 1)
    return depths


def _layer_of(name: str, depth: int) -> int:
    """0 before the blocks, `k + 1` for block `k`, `depth + 1` behind them."""
    block = _BLOCK.search(name)
    if block:
        return int(block[1]) + 1
    return 0 if _FIRST.search(name) else depth + 1


__all__ = ["parameter_groups"]
