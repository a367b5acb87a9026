# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters that transformers' own `load_adapter` would load: `adapter_config.json` is checked first."""

import os
from typing import Any

from transformers.utils import find_adapter_config_file

from ...hub.adapter_settings import check_patterns, check_room, read_adapter_settings
from ...hub.arguments import find_file

_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def check_adapter(name: str | os.PathLike, model: Any, hub: dict[str, Any]) -> None:
    """See that the adapter of a folder or repository can be put on a model in bounded time and memory.

    Args:
        name: of the folder or repository.
        model: what the adapter is for.
        hub: arguments as of `hub_arguments`.

    Raises:
        ValueError: names the file and what is wrong with it.
    """
    path = find_adapter_config_file(name, **hub)
    if path is None:
        return
    fields = read_adapter_settings(path)
    modules = dict(model.named_modules())
    check_patterns(fields, modules, path)
    weights = next((found for file in _WEIGHTS if (found := find_file(name, file, **hub))), None)
    if fields.get("peft_type") == "LORA" and weights is not None:
        kept = fields.get("modules_to_save") or []
        whole = [module for key, module in modules.items() if any(key.endswith(own) for own in kept)]
        copies = sum(parameter.numel() for module in whole for parameter in module.parameters())
        check_room(fields, _targets(fields, modules), copies, os.path.getsize(weights), path)


def _targets(fields: dict[str, Any], modules: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The linear layers to which peft gives an adapter, with their widths and heights."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    names = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save")
    linear = {name: (m.in_features, m.out_features) for name, m in modules.items() if hasattr(m, "in_features")}
    if fields.get("target_modules") in (None, "all-linear"):
        return {name: sides for name, sides in linear.items() if not name.endswith("lm_head")}
    config = LoraConfig(**{key: fields[key] for key in names if key in fields})
    return {name: sides for name, sides in linear.items() if check_target_module_exists(config, name)}


__all__ = ["check_adapter"]
