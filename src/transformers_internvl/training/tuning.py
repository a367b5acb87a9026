# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How much of a tower trains under a head, at which rates, and on which share of the data.

The papers judge InternViT by what a head makes of it (arXiv:2312.14238, section 4.2 and tables 22, 23):

| regime | what trains |
|---|---|
| `frozen` | the head alone, a linear one: the linear and the attention-pooling probe |
| `head` | the head alone, a deep one: UperNet and the pyramid before it |
| `full` | everything: rates decay towards the first layers, `drop_path_rate` is in the config |

Source: `segmentation/mmcv_custom/layer_decay_optimizer_constructor.py` of the authors' repository.
"""

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

from torch import nn

from ..modeling.vision import InternVLVisionModel
from .freezing import part_of
from .parameter_groups import parameter_groups

REGIMES = ("frozen", "head", "full")

Model = TypeVar("Model", bound=nn.Module)


def set_tuning(model: Model, regime: str) -> Model:
    """Say what of a model with an InternViT tower trains; the model is changed, and returned.

    Under `"frozen"` and `"head"` the tower's parameters get no gradients, and it stays in evaluation mode when the
    model is put into training mode: its features are the same every time, without stochastic depth. What a backbone
    puts behind the tower (`use_fpn`) belongs to the head. `"full"` undoes it.

    Args:
        model: an image classifier, a segmentation model, `UperNetForSemanticSegmentation` on our backbone, …
        regime: `"frozen"`, `"head"` or `"full"`.

    Raises:
        ValueError: an unknown regime, or a model without a tower of ours.
    """
    if regime not in REGIMES:
        raise ValueError(f"`regime` must be one of {REGIMES}, got {regime!r}.")
    trains = regime == "full"
    for tower in _towers(model):
        tower.frozen = not trains
        for part in (tower.embeddings, tower.encoder, tower.layernorm):
            part.requires_grad_(trains)
    return model.train(model.training)


def layer_decay_groups(
    model: nn.Module, learning_rate: float, weight_decay: float = 0.05, decay: float = 0.95
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer whose rates shrink towards the tower's first layers.

    With n blocks, what comes after the tower learns at `learning_rate`, block i (from 0) at
    `learning_rate * decay ** (n - i)`, and the embeddings at `learning_rate * decay ** (n + 1)`. Biases, scales and
    the class token are free of weight decay. Parameters without gradients are left out.

    Returns:
        Groups as of [`parameter_groups`], by which they are made.
    """
    _towers(model)  # there is one
    trained = {part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    decays = {"vision": decay} if "vision" in trained else {}
    return parameter_groups(
        model, learning_rate, weight_decay, layer_decay=decays, no_decay=("cls_token", "position_embeddings")
    )


def few_shot_indices(labels: Sequence[Hashable], fraction: float, seed: int = 0) -> list[int]:
    """Which examples to keep for few-shot training: of every class the same fraction, at least one (table 8).

    Args:
        labels: the class of every example; for segmentation one and the same for all.
        fraction: share to keep, 1/16 to 1 in the paper.
        seed: another seed, other examples; a smaller fraction keeps a part of what a larger one keeps.

    Returns:
        Indices into `labels`, ascending.
    """
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"`fraction` must be above 0 and at most 1, got {fraction}.")
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    rng = random.Random(seed)
    kept = []
    for indices in members.values():
        rng.shuffle(indices)
        kept += indices[: max(1, round(fraction * len(indices)))]
    return sorted(kept)


def _towers(model: nn.Module) -> list[InternVLVisionModel]:
    towers = [module for module in model.modules() if isinstance(module, InternVLVisionModel)]
    if not towers:
        raise ValueError(f"{type(model).__name__} holds no InternViT of this package.")
    return towers


__all__ = ["REGIMES", "few_shot_indices", "layer_decay_groups", "set_tuning"]
