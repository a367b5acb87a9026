# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What of a model trains, and at which learning rates.

    set_trainable(model, ["projector"])                                     # stage 1: the MLP alone
    unfreeze(model, "model.vision_tower.encoder.layer.2[0-3].*")            # and the last four blocks of the tower
    print(trainable_table(model))
    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-5, 0.05, layer_decay={"vision": 0.9}))

Freezing says which parameters get gradients. Modes stay as they are: a frozen tower in training mode still drops paths
if its config says so, as in the original scripts. Groups of the optimizer have no decay of norms and biases, and rates
by part and by depth.

The papers measure InternViT by a head that is trained on its features (arXiv:2312.14238, 4.2, tables 22, 23):

| regime | what trains |
|---|---|
| `frozen` | the head alone, a linear one: the linear and the attention-pooling probe |
| `head` | the head alone, a deep one: UperNet and the pyramid before it |
| `full` | everything: rates decay towards the first layers, `drop_path_rate` is in the config |

Sources: `internvl_g/internvl/train/trainer_monkey_patch.py` and
`segmentation/mmcv_custom/layer_decay_optimizer_constructor.py` of the original repository, after BEiT
(arXiv:2106.08254).
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn

from ..modeling.vision.model import InternVLVisionModel
from .adapted import has_adapters, refuse_lost, saved_with_adapters

# Part -> how the names of its parameters read. A name belongs to the first row that it matches.
PARTS = {
    "adapters": r"\.lora_|\.modules_to_save\.|\.trainable_tokens_",
    "bridge": r"(^|\.)(query_tokens$|clip_projector2\.|itm_head\.)|\.layers\.\d+\.cross_attn\.",
    "temperature": r"(^|\.)logit_scale$",
    "head": r"(^|\.)lm_head\.",
    "vision": r"(^|\.)(vision_tower|vision_model|internvl_vision|clip_projector)\."
    r"|^(backbone\.)?(embeddings|encoder|layernorm)\.",  # inside another model, and a tower alone
    "projector": r"(^|\.)multi_modal_projector\.",
    "router": r"(^|\.)resolution_router\.",  # this and the next of InternVL3.5-Flash
    "compressed": r"(^|\.)compressed_projector\.",
    "visual_experts": r"(^|\.)language_model\..*\.mlp_ve\.",  # Mono-InternVL's
    "language": r"(^|\.)language_model\.",
    "text": r"(^|\.)(qllama\.|text_projection$)",
}


def part_of(name: str) -> str:
    """The part of `PARTS` that a parameter's name belongs to, or `"other"`."""
    return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), "other")


def set_trainable(model: nn.Module, selectors: Iterable[str]) -> None:
    """Train what the selectors name, freeze everything else.

    Args:
        model: any model of this package, wrapped by peft or not.
        selectors: each a part (`"vision"`, `"projector"`, `"language"`, `"head"`; `"adapters"` under peft; `"bridge"`,
            `"temperature"`, `"text"` of InternVL-14B), a glob over whole parameter names such as
            `"*.language_model.layers.0.*"`, or a regular expression after `re:`, which may match anywhere in the name.

    Raises:
        ValueError: for a selector that no parameter matches, or, under peft, one that names weights which are not
            saved with the adapters; the model is then unchanged.
    """
    chosen = _select(model, [selectors] if isinstance(selectors, str) else selectors)
    _refuse_lost(model, chosen)
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen)


def freeze(model: nn.Module, *selectors: str) -> None:
    """Freeze what the selectors of [`set_trainable`] name, and leave the rest as it is.

    A tied head is the embedding: to freeze the one is to freeze the other.
    """
    _switch(model, selectors, False)


def unfreeze(model: nn.Module, *selectors: str) -> None:
    """Train what the selectors of [`set_trainable`] name, and leave the rest as it is.

    Raises:
        ValueError: as [`set_trainable`] does.
    """
    _switch(model, selectors, True)


def _switch(model: nn.Module, selectors: Iterable[str], trained: bool) -> None:
    chosen = _select(model, selectors)
    if trained:
        _refuse_lost(model, chosen)
    for parameter in model.parameters():
        if id(parameter) in chosen:
            parameter.requires_grad_(trained)


def _refuse_lost(model: nn.Module, chosen: set[int]) -> None:
    """Raise `ValueError` where weights would train that a model with adapters does not save."""
    if has_adapters(model):
        kept = saved_with_adapters(model)
        refuse_lost([name for name, p in model.named_parameters() if id(p) in chosen and name not in kept])


def _select(model: nn.Module, selectors: Iterable[str]) -> set[int]:
    """The ids of the parameters that the selectors name; a tied parameter goes by all of its names."""
    named = list(model.named_parameters(remove_duplicate=False))
    chosen: set[int] = set()
    for selector in selectors:
        found = {id(parameter) for name, parameter in named if _matches(selector, name)}
        if not found:
            parts = sorted({part_of(name) for name, _ in named})
            raise ValueError(
                f"No parameter of {type(model).__name__} is named by {selector!r}. Give one of its parts "
                f"({', '.join(parts)}), a glob over whole names, or a regular expression after 're:'. A name of this "
                f"model: {named[0][0] if named else 'none, it has no parameters'}."
            )
        chosen |= found
    return chosen


def _matches(selector: str, name: str) -> bool:
    if selector in PARTS or selector == "other":
        return part_of(name) == selector
    if selector.startswith("re:"):
        return re.search(selector.removeprefix("re:"), name) is not None
    return fnmatchcase(name, selector)


def count_parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Part -> (parameters, those that train). A tied parameter is counted once, where it appears first."""
    counts: dict[str, tuple[int, int]] = {}
    for name, parameter in model.named_parameters():
        total, trained = counts.get(part_of(name), (0, 0))
        size = parameter.numel()
        counts[part_of(name)] = (total + size, trained + size * parameter.requires_grad)
    return counts


def trainable_table(model: nn.Module) -> str:
    """A table of the parts of a model: how many parameters each has, and how many of them train.

    part               parameters       trainable
    vision            304,012,288               0
    projector          33,574,912      33,574,912
    ...
    """
    counts = count_parameters(model)
    counts["all"] = (sum(total for total, _ in counts.values()), sum(trained for _, trained in counts.values()))
    lines = [f"{'part':<12}{'parameters':>17}{'trainable':>17}"]
    lines += [f"{part:<12}{total:>17,}{trained:>17,}" for part, (total, trained) in counts.items()]
    return "\n".join(lines)


# What stands before the first block of a part, and what is one of its blocks.
_FIRST = re.compile(r"(^|\.)(embeddings|embed_tokens)\.|(^|\.)(query_tokens|logit_scale)$")
_BLOCK = re.compile(r"\.layers?\.(\d+)\.")

# Parts whose depth another part's blocks give: the head follows the last block of its decoder, and so on.
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
            what comes before the blocks at `factor ** (n + 1)`, what follows them at the full rate.
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
    """0 before the blocks, `k + 1` for block `k`, `depth + 1` after them."""
    block = _BLOCK.search(name)
    if block:
        return int(block[1]) + 1
    return 0 if _FIRST.search(name) else depth + 1


REGIMES = ("frozen", "head", "full")

Model = TypeVar("Model", bound=nn.Module)


def set_tuning(model: Model, regime: str) -> Model:
    """Say what of a model with an InternViT tower trains; the model is changed, and returned.

    Under `"frozen"` and `"head"` the tower's parameters get no gradients, and it stays in evaluation mode when the
    model is put into training mode: its features are the same every time, without stochastic depth. What a backbone
    adds to the tower (`use_fpn`) belongs to the head. `"full"` undoes it.

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
        Groups of [`parameter_groups`].
    """
    _towers(model)  # there is one
    trained = {part_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}
    decays = {"vision": decay} if "vision" in trained else {}
    return parameter_groups(
        model, learning_rate, weight_decay, layer_decay=decays, no_decay=("cls_token", "position_embeddings")
    )


def _towers(model: nn.Module) -> list[InternVLVisionModel]:
    towers = [module for module in model.modules() if isinstance(module, InternVLVisionModel)]
    if not towers:
        raise ValueError(f"{type(model).__name__} holds no InternViT of this package.")
    return towers


__all__ = [
    "PARTS",
    "REGIMES",
    "count_parameters",
    "freeze",
    "layer_decay_groups",
    "parameter_groups",
    "part_of",
    "set_trainable",
    "set_tuning",
    "trainable_table",
    "unfreeze",
]
