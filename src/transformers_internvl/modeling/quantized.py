# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which parts stay as they are when a model is quantized while it is loaded.

Tower, projector and head are a small part of a model and the one that suffers: so `quantization_config` is about the
language model's layers, unless its own list of modules says otherwise.
"""

import copy
import os
from typing import Any

from transformers.quantizers import AutoQuantizationConfig

# What the kinds of quantization call their list of modules that stay (transformers 5.24).
SKIP_FIELDS = ("llm_int8_skip_modules", "modules_to_not_convert", "skip_modules")


def with_exact_modules(quantization_config: Any, names: tuple[str, ...]) -> Any:
    """The quantization, leaving `names` as they are unless it has a list of its own.

    Args:
        quantization_config: as `from_pretrained` takes it: a config or its dict. Not changed.
        names: modules of the model.
    """
    if isinstance(quantization_config, dict):
        quantization_config = AutoQuantizationConfig.from_dict(quantization_config)
    for field in SKIP_FIELDS:
        if getattr(quantization_config, field, ...) is None:
            quantization_config = copy.deepcopy(quantization_config)
            setattr(quantization_config, field, list(names))
    return quantization_config


class KeepsPartsExact:
    """Mixin in front of `PreTrainedModel`: quantization leaves `exact_modules` alone.

    Attributes:
        exact_modules: names of modules, or of what contains them.
    """

    exact_modules: tuple[str, ...] = ()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'. A `quantization_config` without a list of modules to leave gets `exact_modules`."""
        if kwargs.get("quantization_config") is not None:
            kwargs["quantization_config"] = with_exact_modules(kwargs["quantization_config"], cls.exact_modules)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)  # type: ignore[misc]


__all__ = ["KeepsPartsExact", "with_exact_modules"]
