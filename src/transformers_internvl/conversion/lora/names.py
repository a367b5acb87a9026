# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names of modules in the original chat model and in this package, by the rows that map their weights."""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import PreTrainedConfig, WeightConverter
from transformers.core_model_loading import WeightTransform

from ..weights import mappings

Rows = list[WeightTransform]

# `model_type` of a language model -> the rows of its own; all others have the names of this package inside
# `language_model.`.
_LANGUAGE_MODELS: dict[str, Callable[[], Rows]] = {
    "internlm2": mappings.internlm2,
    "internlm2_ve": mappings.internlm2_ve,
}


def canonical_names(module: str) -> tuple[list[str], Any]:
    """Our names of a module of the original chat model: one, or three for a fused layer; others as they are.

    Returns:
        The names, and for a fused layer `split(tensor, config)`, which splits the rows of its weight, else None.
    """
    name, names, split = module + ".weight", None, None
    parts = {"vision_model.": mappings.intern_vit()}
    parts["language_model."] = [row for rows in _LANGUAGE_MODELS.values() for row in rows()]
    for prefix, rows in parts.items():
        if name.startswith(prefix):
            bare, converter, _ = _rename(name.removeprefix(prefix), rows)
            name = prefix + bare
            if converter is not None:
                first, *others = converter.target_patterns
                names = [name, *(name.replace(first, other) for other in others)]
                split = converter.operations[0].split
    chat = mappings.internvl_chat()
    return [_rename(each, chat)[0].removesuffix(".weight") for each in names or [name]], split


def original_name(module: str, config: PreTrainedConfig) -> tuple[str, list[str] | None, Any]:
    """The name of one of our modules in the original chat model.

    Returns:
        The name; for a module that is part of a fused layer there, our names of all parts, in order, and
        `merge(tensors, config)`, which joins the rows of their weights; else None and None.
    """
    name = _rename(module + ".weight", _reversed(mappings.internvl_chat()))[0]
    language = _LANGUAGE_MODELS.get(config.get_text_config().model_type, list)
    parts = {"vision_model.": mappings.intern_vit(), "language_model.": language()}
    for prefix, rows in parts.items():
        if name.startswith(prefix):
            bare, converter, pattern = _rename(name.removeprefix(prefix), _reversed(rows))
            if converter is not None:
                sources = converter.source_patterns
                names = [f"{module}.weight".replace(pattern, source) for source in sources]
                merge = converter.operations[0].merge
                return (prefix + bare).removesuffix(".weight"), [n.removesuffix(".weight") for n in names], merge
            name = prefix + bare
    return name.removesuffix(".weight"), None, None


def _rename(name: str, rows: Sequence[WeightTransform]) -> tuple[str, Any, str]:
    """The name behind all rows, and the converter among them that it met, if it did, with the pattern."""
    for row in rows:
        name, pattern = row.rename_source_key(name)
        if pattern is not None and isinstance(row, WeightConverter):
            return _rename(name, [other for other in rows if not isinstance(other, WeightConverter)])[0], row, pattern
    return name, None, ""


def _reversed(rows: Rows) -> Rows:
    """The rows that lead back; operations come first there, as when a model is saved."""
    back = [row.reverse_transform() for row in rows[::-1]]
    return sorted(back, key=lambda row: not isinstance(row, WeightConverter))


__all__ = ["canonical_names", "original_name"]
