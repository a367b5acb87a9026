# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows of the maps that transformers' own classes cannot express: fused weights, and a weight beside its part."""

from typing import Any

from transformers import WeightConverter
from transformers.core_model_loading import WeightRenaming, log_conversion_errors

from .quantized_ops import quantized_row


class FusedConverter(WeightConverter):
    """A converter of one fused tensor to several parameters, each of which is quantized by itself, or is not."""

    def convert(
        self,
        layer_name: str,
        model: Any = None,
        config: Any = None,
        hf_quantizer: Any = None,
        loading_info: Any = None,
    ) -> dict[str, Any]:
        self.quantization_operation = None  # of the first, which may be left as it is while others are not
        made = super().convert(layer_name, model=model, config=config, loading_info=loading_info)
        if hf_quantizer is None or hf_quantizer.pre_quantized:
            return made
        for name, tensor in list(made.items()):
            if hf_quantizer.param_needs_quantization(model, name):
                operation = hf_quantizer.get_quantize_ops()
                with log_conversion_errors(layer_name, loading_info, (1, name), operation):
                    made |= operation.convert(
                        {name: tensor},
                        source_patterns=self.source_patterns,
                        target_patterns=self.target_patterns,
                        full_layer_name=name,
                        model=model,
                        config=config,
                        missing_keys=loading_info.missing_keys if loading_info else None,
                    )
        return made

    def for_quantizer(self, hf_quantizer: Any) -> WeightConverter:
        """The row by which weights go that a quantizer has quantized, or may have, with what belongs to them."""
        return quantized_row(self, hf_quantizer)


class BesideBody(WeightRenaming):
    """A renaming for a weight that the checkpoint keeps beside a language model's body and we keep at the root.

    InternLM2 calls its head `output`, inside the language model's prefix if there is one (`language_model.output`);
    ours is the root's `lm_head`. The maps of a submodule see only the keys under its own prefix: this row steps
    outside, both ways.
    """

    __slots__ = ("inward",)

    def __init__(self, source_patterns: str | list[str], target_patterns: str | list[str], inward: bool = False):
        self.inward = inward
        super().__init__(source_patterns=source_patterns, target_patterns=target_patterns)

    def rename_source_key(self, source_key: str) -> tuple[str, str | None]:
        prefix = f"{self.scope_prefix}." if self.scope_prefix else ""
        if not self.inward and not source_key.startswith(prefix):
            return source_key, None
        bare = source_key if self.inward else source_key.removeprefix(prefix)
        match = self.compiled_sources.match(bare)
        if match is None:
            return source_key, None
        object.__setattr__(self, "_was_used", True)
        renamed = self.target_patterns[0] + bare[match.end() :]
        return (prefix + renamed if self.inward else renamed), self.source_patterns[0]

    def reverse_transform(self) -> "BesideBody":
        return self.copy(self._original_target_patterns, self._original_source_patterns, inward=not self.inward)


__all__ = ["BesideBody", "FusedConverter"]
