# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configurations that read the original keys and write them again, and forget none of those that mean nothing here.

A configuration of parts (tower, language model) keeps each part as it stood on disk, and the fields that it was parsed
into. On saving, only fields that have changed since are written over what stood there.
"""

import copy
from typing import Any

import torch
from transformers import PreTrainedConfig

# Keys of a config that say where it was made, not what it is: never compared, never taken over from a sub-config.
BOOKKEEPING = ("auto_map", "transformers_version", "_commit_hash", "_name_or_path", "attn_implementation")

# Canonical field of the tower -> the original key.
VISION_KEYS = {
    "attention_bias": "qkv_bias",
    "use_qk_norm": "qk_normalization",
    "hidden_dropout_prob": "dropout",
    "layer_scale_init_value": "initializer_factor",
}

# Fields that the original code does not have, with the value under which they mean nothing: not written then.
SILENT = {"patch_dropout": 0.0}


class OriginalKeysMixin(PreTrainedConfig):
    """A configuration whose parts are read from the original dictionaries and written back to them.

    Attributes:
        original_parts: of each part (a field that holds a configuration): canonical field -> the original key.
    """

    original_parts = {}  # type: ignore[var-annotated]

    def _remember(self, sources: dict[str, dict[str, Any]]) -> None:
        """Keep the parts' dictionaries as they stood on disk, empty for parts that were built in Python."""
        self._sources = sources
        self._as_read = {part: getattr(self, part).to_dict() for part in sources if sources[part]}

    def to_dict(self) -> dict[str, Any]:
        """The canonical fields, without the private record of the folder that was read."""
        return {key: value for key, value in super().to_dict().items() if key not in ("_sources", "_as_read")}

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: both parts as they were read, save what was changed."""
        fields = super().to_diff_dict()
        for key in ("_sources", "_as_read"):
            fields.pop(key, None)
        for part, names in self.original_parts.items():
            now = getattr(self, part).to_dict()
            fields[part] = merge_into_source(self._sources[part], self._as_read.get(part, {}), now, names)
            self.dict_dtype_to_str(fields[part])
        if "dtype" in fields:
            fields["torch_dtype"] = fields.pop("dtype")
        return fields


def as_source(part: dict[str, Any] | PreTrainedConfig | None, names: dict[str, str]) -> dict[str, Any]:
    """A part as it stood on disk, under the original keys; empty for one that was built in Python."""
    fields = part if isinstance(part, dict) else {}
    return {names.get(key, key): copy.deepcopy(value) for key, value in fields.items()}


def original_value(key: str, value: Any) -> Any:
    """A field's value as the original code's json writes it: square sizes as one number, dtypes by name."""
    if key in ("image_size", "patch_size") and isinstance(value, (list, tuple)) and len(set(value)) == 1:
        return value[0]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return value


def _original_rope(parameters: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """`rope_parameters` of transformers v5 as the `rope_theta` and `rope_scaling` of v4."""
    scaling = {key: value for key, value in parameters.items() if key not in ("rope_theta", "type", "rope_type")}
    kind = parameters.get("rope_type", "default")
    if kind == "default":
        return {"rope_theta": parameters["rope_theta"], "rope_scaling": None}
    was = source.get("rope_scaling") or {}
    if kind == "longrope":  # Phi-3: the original code knows the name of its time only, and keeps the length outside
        scaling = {key: value for key, value in scaling.items() if key in ("short_factor", "long_factor")}
        kind = "su"
    name = "rope_type" if "rope_type" in was or kind == "yarn" else "type"
    return {"rope_theta": parameters["rope_theta"], "rope_scaling": {name: kind, **scaling}}


def merge_into_source(
    source: dict[str, Any], read: dict[str, Any], now: dict[str, Any], names: dict[str, str]
) -> dict:
    """The original dictionary of a part: what was read, with every field that differs from then written over it.

    Args:
        source: the dictionary as it stood on disk (empty for a config built in Python).
        read: the fields it was parsed into.
        now: the present fields.
        names: canonical field -> the original key.
    """
    merged = copy.deepcopy(source)
    for key, value in now.items():
        if key in BOOKKEEPING or (key in read and read[key] == value):
            continue
        if key in SILENT and key not in source and value == SILENT[key]:
            continue
        if key == "rope_parameters":
            merged.update(_original_rope(value, source))
        elif key == "dtype":
            merged["torch_dtype"] = original_value(key, value)
        else:
            merged[names.get(key, key)] = original_value(key, value)
    return merged


__all__ = [
    "BOOKKEEPING",
    "SILENT",
    "VISION_KEYS",
    "OriginalKeysMixin",
    "as_source",
    "original_value",
    "merge_into_source",
]
