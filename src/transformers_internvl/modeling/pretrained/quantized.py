# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which parts stay as they are when a model is quantized while it is loaded, and what modules are called.

Tower, projector and head are a small part of a model and the one that suffers: so `quantization_config` is about the
language model's layers, unless its own list of modules says otherwise. Lists of modules and device maps may name them
as this package does, as the folder does, or as the original code does.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.quantizers import AutoQuantizationConfig
from transformers.utils import logging

from ...hub.arguments import pinned
from .module_names import disk_names, find_skipped, names_on_disk, own_device_map, skipped_names

logger = logging.get_logger(__name__)

# What the kinds of quantization call their list of modules that stay (transformers 5.24).
SKIP_FIELDS = ("llm_int8_skip_modules", "modules_to_not_convert", "skip_modules")

# What a quantizer notes at the model.
_NOTES = ("hf_quantizer", "is_quantized", "quantization_method", "is_loaded_in_8bit", "is_loaded_in_4bit")


def with_exact_modules(quantization_config: Any, names: tuple[str, ...]) -> Any:
    """The quantization, leaving `names` as they are unless it has a list of its own.

    Args:
        quantization_config: as `from_pretrained` takes it: a config or its dict. Not changed.
        names: modules of the model.
    """
    if isinstance(quantization_config, dict):
        quantization_config = AutoQuantizationConfig.from_dict(quantization_config)
    for field in SKIP_FIELDS:
        if names and getattr(quantization_config, field, ...) is None:
            quantization_config = copy.deepcopy(quantization_config)
            setattr(quantization_config, field, list(names))
    return quantization_config


def lists_of(quantization_config: Any) -> dict[str, list[str]]:
    """The lists of modules in a quantization or its dict, by their fields; empty ones left out."""
    known = quantization_config if isinstance(quantization_config, dict) else vars(quantization_config or object)
    return {field: list(known[field]) for field in SKIP_FIELDS if known.get(field)}


def with_lists(quantization_config: Any, lists: dict[str, list[str]]) -> Any:
    """A copy of a quantization or its dict with other lists of modules."""
    changed = copy.deepcopy(quantization_config)
    for field, names in lists.items():
        if isinstance(changed, dict):
            changed[field] = names
        else:
            setattr(changed, field, names)
    return changed


def with_unconverted_modules(model_class: Any, folder: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained` whose quantization and device map name modules by the model's own names.

    A `quantization_config` without a list of modules to leave gets the class's `modules_to_not_convert`. Its list,
    that of the folder's configuration, and a `device_map` may have the original names (`vision_model`, `mlp1`,
    `language_model.output`).

    Raises:
        ValueError: a name means no module, in any layout.
    """
    config, kwargs = _config_with_list(model_class, folder, kwargs)
    given, device_map = kwargs.get("quantization_config"), kwargs.get("device_map")
    mapped: dict[str, Any] = device_map if isinstance(device_map, dict) and any(device_map) else {}
    if config is not None or lists_of(given) or mapped:
        empty = _empty(model_class, folder, config if config is not None else kwargs.get("config"), kwargs)
        if lists_of(given):
            own = {field: skipped_names(empty, names) for field, names in lists_of(given).items()}
            kwargs["quantization_config"] = with_lists(given, own)
        if mapped:
            kwargs["device_map"] = own_device_map(empty, mapped)
        if config is not None:
            kwargs["config"] = _with_own_lists(empty, config)
    if given is not None:
        kept = with_exact_modules(kwargs["quantization_config"], model_class.modules_to_not_convert)
        kwargs["quantization_config"] = kept
    return kwargs


def _config_with_list(model_class: Any, folder: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The configuration of a folder that is quantized with a list of modules, else None; and other arguments."""
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig):
        return (config if lists_of(getattr(config, "quantization_config", None)) else None), kwargs
    if folder is None and config is None:
        return None, kwargs
    try:
        hub = pinned(config or folder, kwargs)  # the files that follow shall be of the same commit
        written, _ = PreTrainedConfig.get_config_dict(config or folder, **hub)
    except (OSError, ValueError):  # said where it is loaded
        return None, kwargs
    if not lists_of(written.get("quantization_config") or {}):
        return None, kwargs
    known = {field.name for field in fields(model_class.config_class)} - {"dtype"}
    own = {name: value for name, value in kwargs.items() if name in known and name not in hub}
    rest = {name: value for name, value in kwargs.items() if name not in own and name != "config"}
    return model_class.config_class.from_pretrained(config or folder, **hub, **own), {**rest, **hub}


def _empty(model_class: Any, folder: Any, config: Any, kwargs: dict[str, Any]) -> PreTrainedModel:
    """The model without weights."""
    if not isinstance(config, PreTrainedConfig):
        config = model_class.config_class.from_pretrained(config or folder, **pinned(config or folder, kwargs))
    with torch.device("meta"):
        return model_class(copy.deepcopy(config))


def _with_own_lists(model: PreTrainedModel, config: PreTrainedConfig) -> PreTrainedConfig:
    """A configuration whose quantization lists modules by the model's own names; what means none is said."""
    config, own = copy.deepcopy(config), {}
    for field, names in lists_of(config.quantization_config).items():
        found = find_skipped(model, names)
        own[field] = [name for names in found.values() for name in names]
        if unexpected := [name for name in names if not found[name]]:
            logger.warning(f"`{field}` in config.json names what the model does not have: {', '.join(unexpected)}.")
    config.quantization_config = with_lists(config.quantization_config, own)
    return config


@contextmanager
def listed_for_disk(model: PreTrainedModel) -> Iterator[None]:
    """The model's configuration lists modules by their names on disk within the context."""
    quantization = getattr(model.config, "quantization_config", None)
    # In the original layouts modules are called as the weights are, in the -hf layout as here.
    lists = lists_of(quantization) if getattr(type(model.config), "original_layout", False) else {}
    if not lists:
        yield
        return
    there = {field: disk_names(model, names) for field, names in lists.items()}
    model.config.quantization_config = with_lists(quantization, there)
    try:
        yield
    finally:
        model.config.quantization_config = quantization


def refuse_to_join(model: PreTrainedModel) -> None:
    """Raise `ValueError` where weights would have to be joined that are quantized other than by bitsandbytes."""
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None or "deserialize" in quantizer.get_load_operations():
        return
    places = names_on_disk(model)
    joined = [part for part, place in places.items() if list(places.values()).count(place) > 1]
    modules = dict(model.named_modules())
    for name in joined:
        if type(modules.get(name)) is not nn.Linear or type(modules[name].weight) is not nn.Parameter:
            raise ValueError(
                f"{name} is quantized ({model.quantization_method}), and in the original layout it is one weight with "
                f"others, {places[name]}: these cannot be joined. Save with `save_original_format=False`."
            )


def share_quantized(source: PreTrainedModel, target: PreTrainedModel) -> tuple[str, ...]:
    """Give quantized modules of a model to another one of the same parts, and what the quantizer notes.

    Returns:
        What the names of their weights begin with.
    """
    if getattr(source, "hf_quantizer", None) is None:
        return ()
    plain = dict(target.named_modules())
    shared = [
        name
        for name, module in source.named_modules()
        if type(plain.get(name)) is nn.Linear and type(module) is not nn.Linear
    ]
    modules = dict(source.named_modules())
    for name in shared:
        target.set_submodule(name, modules[name])
    for note in _NOTES:
        if hasattr(source, note):
            setattr(target, note, getattr(source, note))
    target.config.quantization_config = source.config.quantization_config
    return tuple(f"{name}." for name in shared)


__all__ = [
    "listed_for_disk",
    "lists_of",
    "refuse_to_join",
    "share_quantized",
    "with_exact_modules",
    "with_lists",
    "with_unconverted_modules",
]
