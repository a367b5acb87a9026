# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LoRA (arXiv:2106.09685) on the modules that the original code adapts, and on no others.

    model = get_peft_model(model, lora_config("llm", model, r=16))

peft's own shorthands are wrong here: `target_modules=["q_proj", ...]` also hits the tower, whose layers bear the same
names, and `"all-linear"` the tower and the projector. The presets name whole paths.

Source: `wrap_llm_lora` and `wrap_backbone_lora` of `modeling_internvl_chat.py` in the original repository. They adapt
fused `wqkv` (InternLM2) and `qkv` (tower); here these are three layers each, with an adapter each.
"""

import copy
import re
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from ..modeling.pretrained.module_names import adapter_names
from .adapted import check_modules_to_save

if TYPE_CHECKING:
    from peft import LoraConfig, PeftConfig

# Part -> the linear layers of its blocks, as whole module names. One row serves every language model: separate (Llama,
# Qwen, InternLM) or fused (Phi-3) projections, and the dense blocks of a mixture of experts.
_LLM = (
    r"(.*\.)?language_model\.layers\.\d+\."
    r"(self_attn\.(q_proj|k_proj|v_proj|o_proj|qkv_proj)|mlp\.(gate_proj|up_proj|down_proj|gate_up_proj))"
)
_VISION = (
    r"(.*\.)?vision_tower\.encoder\.layer\.\d+\."
    r"(attention\.(q_proj|k_proj|v_proj|projection_layer)|mlp\.(fc1|fc2))"
)

# The two feed-forward networks of Mono-InternVL's layers, by their original names: for text and for image tokens.
_FEED_FORWARD, _FEED_FORWARD_VE = (
    rf"(.*\.)?language_model\.layers\.\d+\.{network}\.(gate_proj|up_proj|down_proj|gate_up_proj)"
    for network in ("mlp", "mlp_ve")
)

PRESETS = {
    "llm": (_LLM,),
    "vision": (_VISION,),
    "all": (_LLM, _VISION),
    "feed_forward": (_FEED_FORWARD,),
    "feed_forward_ve": (_FEED_FORWARD_VE,),
}

# What lists modules in a peft configuration -> whether it means the layers inside of them.
_LISTS = {"target_modules": True, "exclude_modules": True, "modules_to_save": False}

# The experts of a layer are two parameters, not linear layers.
EXPERTS = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]


def lora_config(
    preset: str,
    model: nn.Module | None = None,
    r: int = 16,
    alpha: int | None = None,
    dropout: float = 0.05,
    experts: bool = False,
    **kwargs: Any,
) -> "LoraConfig":
    """The original adapters as a peft configuration.

    Args:
        preset: `"llm"`: attention and MLP of every block of the language model. `"vision"`: the same of the tower.
            `"all"`: both. `"feed_forward"`: the MLPs of the language model alone. `"feed_forward_ve"`: the visual
            experts of Mono-InternVL, which `"llm"` leaves as they are. The projector and the head are never adapted;
            `modules_to_save=["multi_modal_projector"]` trains the projector whole.
        model: the model that the adapters are for; with it, a preset that would adapt nothing, or a name in
            `modules_to_save` that is no module's, is an error at once.
        r: rank. The original runs take 16, and 128 to learn a task's style.
        alpha: numerator of the adapters' scale; None: `2 * r`, as in the original code.
        dropout: on the adapters' inputs.
        experts: whether the experts of a mixture of experts get adapters, too. Needs `dropout=0`: peft has none there.
        **kwargs: of `peft.LoraConfig`, such as `use_dora` or `init_lora_weights`. With `model`, `modules_to_save` and
            `exclude_modules` may have the original names, too: `modules_to_save=["mlp1"]`.

    Returns:
        A `peft.LoraConfig` with `task_type="CAUSAL_LM"`.

    Raises:
        ValueError: an unknown preset, a preset or a name of `modules_to_save` that hits nothing in the model, experts
            with dropout or without a model that has them.
    """
    from peft import LoraConfig

    if preset not in PRESETS:
        raise ValueError(f"`preset` must be one of {', '.join(map(repr, PRESETS))}, got {preset!r}.")
    if model is not None:
        _check_hits(preset, model)
        kwargs = _by_own_names(kwargs, model)
        check_modules_to_save(model, kwargs.get("modules_to_save"))
    if experts:
        _check_experts(preset, model, dropout)
        kwargs["target_parameters"] = [*kwargs.get("target_parameters", []), *EXPERTS]
    return LoraConfig(
        r=r,
        lora_alpha=2 * r if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules="|".join(f"({pattern})" for pattern in PRESETS[preset]),
        **{"task_type": "CAUSAL_LM", **kwargs},
    )


def in_own_names(config: "PeftConfig", model: nn.Module) -> "PeftConfig":
    """A peft configuration that names modules as the original code does (`wqkv`, `mlp1`), with this model's names.

    `target_modules`, `exclude_modules` and `modules_to_save` are read, where they are lists. What is one layer there
    may be several here (`wqkv`), each of which gets an adapter. Names that the model has stay.

    Raises:
        ValueError: a name is no module's, in any layout.
    """
    found = _by_own_names({name: getattr(config, name, None) for name in _LISTS}, model)
    modules = [name for name, _ in model.named_modules()]
    for field, names in found.items():
        if isinstance(names, (list, set, tuple)):
            for name in names:
                if not any(module == name or module.endswith(f".{name}") for module in modules):
                    raise ValueError(f"`{field}` names {name!r}, which is no module of {type(model).__name__}.")
    changed = copy.deepcopy(config)
    for field, names in found.items():
        if names is not None:
            setattr(changed, field, names)
    return changed


def _by_own_names(options: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """Options of a peft configuration whose lists of modules have the model's own names."""
    lists = {key: value for key, value in options.items() if key in _LISTS and isinstance(value, (list, set, tuple))}
    if not lists or not isinstance(model, PreTrainedModel):
        return options
    return {**options, **{key: adapter_names(model, sorted(lists[key]), innermost=_LISTS[key]) for key in lists}}


def lora_targets(model: nn.Module, preset: str) -> list[str]:
    """The names of the linear layers that a preset adapts in a model, in the model's order.

    Raises:
        ValueError: an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"`preset` must be one of {', '.join(map(repr, PRESETS))}, got {preset!r}.")
    return [name for name, _ in model.named_modules() if any(re.fullmatch(row, name) for row in PRESETS[preset])]


def _check_hits(preset: str, model: nn.Module) -> None:
    names = lora_targets(model, preset)
    for pattern in PRESETS[preset]:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise ValueError(
                f"Preset {preset!r} would adapt no layer of {type(model).__name__}: give a chat model, with its tower "
                "and language model."
            )


def _check_experts(preset: str, model: nn.Module | None, dropout: float) -> None:
    if preset == "vision":
        raise ValueError("`experts=True` adapts the language model, preset 'vision' does not: take 'llm' or 'all'.")
    if dropout:
        raise ValueError(f"Adapters of experts have no dropout: give `dropout=0` with `experts=True`, got {dropout}.")
    if model is not None and not any(name.endswith(EXPERTS[0]) for name, _ in model.named_parameters()):
        raise ValueError(f"`experts=True`, but {type(model).__name__} has a language model without experts.")


__all__ = ["PRESETS", "in_own_names", "lora_config", "lora_targets"]
