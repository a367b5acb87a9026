# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What trains: parts of a model and patterns of parameter names, and a table that shows the outcome.

    set_trainable(model, ["projector"])                                     # stage 1: the MLP alone
    unfreeze(model, "model.vision_tower.encoder.layer.2[0-3].*")            # and the last four blocks of the tower
    print(trainable_table(model))

Freezing says which parameters get gradients. Modes stay as they are: a frozen tower in training mode still drops paths
if its config says so, as in the authors' scripts.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

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


__all__ = ["PARTS", "count_parameters", "freeze", "part_of", "set_trainable", "trainable_table", "unfreeze"]
