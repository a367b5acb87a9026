# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Models that carry adapters already: how they are loaded to be trained on, and what of them a checkpoint holds.

A peft model saves its adapters alone. What else of it trains would be lost with the process, so it is refused here.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.utils import find_adapter_config_file

from ..hub.adapter_settings import read_adapter_settings
from ..hub.arguments import find_file, pinned
from ..modeling.pretrained.native_adapters import check_adapter

if TYPE_CHECKING:
    from peft import PeftConfig

_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def has_adapters(model: Any) -> bool:
    """Whether a model carries adapters: peft's model, or one after `load_adapter`."""
    return bool(getattr(model, "peft_config", None))


def adapter_config(name: str) -> "PeftConfig | None":
    """The configuration of the adapter in a folder or repository; None where there is a whole model.

    Raises:
        ValueError: what it says cannot be, or not which model it belongs to.
    """
    commit = pinned(name, {})
    path = find_adapter_config_file(name, **commit)
    if path is None:
        return None
    from peft import PeftConfig

    read_adapter_settings(path)
    try:
        config = PeftConfig.from_pretrained(name, **commit)
    except (AttributeError, LookupError, TypeError) as error:  # of no known kind
        raise ValueError(f"{path} cannot be read: {error!r}") from error
    if not config.base_model_name_or_path:
        raise ValueError(
            f"{name} holds an adapter that does not say which model it belongs to: write it into "
            "`base_model_name_or_path` of adapter_config.json."
        )
    return config


def load_with_adapter(auto_class: Any, name: str, **options: Any) -> Any:
    """The model of a folder or repository; with the adapter there, ready to be trained, if it holds one.

    Args:
        auto_class: loads the model, or the one that the adapter belongs to.
        options: of `from_pretrained`.

    Returns:
        The model, or the `PeftModel` around it.

    Raises:
        ValueError: weights of the adapter do not fit the model.
        OSError: as `from_pretrained`.
    """
    config = adapter_config(name)
    if config is None:
        return auto_class.from_pretrained(name, **options)
    from peft import PeftModel

    base = auto_class.from_pretrained(config.base_model_name_or_path, **options)
    check_adapter(name, base, pinned(name, {}))
    model = PeftModel.from_pretrained(base, name, is_trainable=True)
    _check_found(model, name)
    return model


def _check_found(model: Any, name: str) -> None:
    """Raise `ValueError` where weights of the adapter were not in its file: peft only warns."""
    from peft import get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    missing = sorted(wanted - set(load_peft_weights(name, device="cpu")))
    if missing:
        raise ValueError(
            f"{name} has no weights for {len(missing)} of the {len(wanted)} tensors of its adapter, such as "
            f"{missing[0]}: it was made for another model, or on the original code, of which `internvl surgery "
            "convert-lora` makes one for this package."
        )


def processor_source(name: str) -> str:
    """Where the processor of a model is: beside its adapter, or else with the model that the adapter belongs to."""
    config = adapter_config(name)
    if config is None or any(find_file(name, file) is not None for file in _PROCESSOR_FILES):
        return name
    return str(config.base_model_name_or_path)


def go_on_with_adapter(model: Any, rank: int, whole: list[str]) -> Any:
    """Train the adapter that a peft model carries, and nothing else.

    Args:
        model: peft's model, changed in place.
        rank: of the recipe's adapters.
        whole: modules that the recipe trains whole beside them.

    Returns:
        The model.

    Raises:
        ValueError: it is no peft model, has several active adapters, or another kind of adapter than the recipe's.
    """
    if not hasattr(model, "get_base_model"):
        raise ValueError(
            "The model carries an adapter (`load_adapter`, or `from_pretrained` of an adapter's folder), but is not "
            "peft's model, whose adapters can be trained on: load the model that the adapter belongs to, and "
            "`PeftModel.from_pretrained(model, ADAPTER, is_trainable=True)`."
        )
    names = model.active_adapters
    if len(names) != 1:
        raise ValueError(f"One adapter is trained, but {len(names)} are active: `model.set_adapter(name)` chooses.")
    config = model.peft_config[names[0]]
    if getattr(config, "r", None) != rank:
        raise ValueError(
            f"The model carries an adapter ({config.peft_type.value}) of rank {getattr(config, 'r', None)}, and the "
            f"recipe's have rank {rank}: set `lora_rank` to go on with it, or give a model into which it was merged."
        )
    there = config.modules_to_save or []
    if lacking := [name for name in whole if not any(name.endswith(own) for own in there)]:
        raise ValueError(
            f"The recipe trains {', '.join(lacking)} whole, which is no part of the model's adapter: leave it out of "
            "`trains`, or give a model into which the adapter was merged."
        )
    model.requires_grad_(False)
    model.set_adapter(names[0])
    config.inference_mode = False
    keep_exact(model)
    return model


def merged(model: Any) -> Any:
    """The model with its adapter added to its weights.

    Raises:
        ValueError: it cannot be: `load_adapter` brought it, or the weights are quantized.
    """
    if not hasattr(model, "merge_and_unload"):
        raise ValueError(
            "The recipe trains weights of a model that carries an adapter (`load_adapter`, or `from_pretrained` of an "
            "adapter's folder): load the model that it belongs to, and train what "
            "`PeftModel.from_pretrained(model, ADAPTER).merge_and_unload()` gives."
        )
    if getattr(model.get_base_model(), "is_quantized", False):
        raise ValueError(
            "The recipe trains weights that are quantized under an adapter: take a recipe with `lora_rank`, or merge "
            "the adapter into the model as it was before."
        )
    return model.merge_and_unload()


def keep_exact(model: Any) -> None:
    """Keep what trains whole beside adapters in float32, as the adapters are: small updates need it."""
    from peft.utils.other import ModulesToSaveWrapper

    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for name in module.modules_to_save:
                half = (p for p in module.modules_to_save[name].parameters() if p.requires_grad)
                for parameter in half:
                    parameter.data = parameter.data.float()


def saved_with_adapters(model: Any) -> set[str]:
    """The names of the parameters of a model with adapters that `save_pretrained` writes."""
    from peft import get_peft_model_state_dict

    # In the place of each tensor its number, for which nothing has to be gathered where weights are spread over ranks.
    held = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    names = [name for name, _ in held]
    numbers = {name: torch.tensor(number) for number, name in enumerate(names)}
    kept: set[str] = set()
    for adapter in model.peft_config:
        saved = get_peft_model_state_dict(model, numbers, adapter, save_embedding_layers=_with_embeddings(model))
        kept |= {names[int(number)] for number in saved.values()}
    return kept


def _with_embeddings(model: Any) -> Any:
    """Whether embeddings that were changed are saved: where any trains, peft looks into the model's old config."""
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    return "auto" if any(p.requires_grad for layer in layers if layer for p in layer.parameters()) else False


def check_adapters(model: Any) -> None:
    """See that all of a model that trains is saved with its adapters. Models without adapters pass.

    Raises:
        ValueError: names what trains and would be lost, or what `modules_to_save` names and the model has not.
    """
    if not has_adapters(model):
        return
    for config in model.peft_config.values():
        check_modules_to_save(model, getattr(config, "modules_to_save", None))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError(
            "The model carries an adapter, and nothing of it trains: `PeftModel.from_pretrained(model, ADAPTER, "
            "is_trainable=True)`, or `recipe.apply` of a recipe with the adapter's rank."
        )
    kept = saved_with_adapters(model)
    refuse_lost([name for name in trained if name not in kept])


def refuse_lost(names: list[str]) -> None:
    """Raise `ValueError` where weights would train that are not saved with the adapters beside them."""
    if names:
        raise ValueError(
            f"{len(names)} weights would train that are saved with no adapter, such as {names[0]}: name their module "
            "in `lora_config(..., modules_to_save=[...])`, freeze them, or merge the adapter and train the model."
        )


def check_modules_to_save(model: nn.Module, names: Any) -> None:
    """See that every name of `modules_to_save` is the end of a module's name, as peft reads them.

    Raises:
        ValueError: one is not: peft would train nothing for it, without a word.
    """
    modules = [name for name, _ in model.named_modules()]
    for name in names or []:
        if not any(module.endswith(name) for module in modules):
            bare = {module.removeprefix("base_model.model.") for module in modules}
            tops = sorted(module for module in bare if module.count(".") == 1 or module == "lm_head")
            raise ValueError(
                f"`modules_to_save` names {name!r}, which is the end of no module's name in {type(model).__name__}. "
                f"It has, among others: {', '.join(tops)}."
            )


@torch.no_grad()
def adapters_change_nothing(model: Any) -> bool:
    """Whether a model with fresh adapters computes what it does without them: LoRA whose B is zero.

    False where that cannot be seen: of other kinds of adapters, and of those that begin elsewhere (PiSSA, ...).
    """
    from peft.utils.other import ModulesToSaveWrapper

    if any(config.peft_type.value != "LORA" for config in model.peft_config.values()):
        return False
    found = False
    for name, parameter in model.named_parameters():
        if ".lora_B." in name or ".lora_embedding_B." in name:
            found = True
            whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
            if hasattr(parameter, "ds_id") or whole.any():
                return False
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            old = list(module.original_module.parameters())
            for copy in module.modules_to_save.values():
                if not all(torch.equal(a.to(b.dtype), b) for a, b in zip(old, copy.parameters(), strict=True)):
                    return False
    return found


__all__ = [
    "adapter_config",
    "adapters_change_nothing",
    "check_adapters",
    "check_modules_to_save",
    "go_on_with_adapter",
    "has_adapters",
    "keep_exact",
    "load_with_adapter",
    "merged",
    "processor_source",
    "refuse_lost",
    "saved_with_adapters",
]
