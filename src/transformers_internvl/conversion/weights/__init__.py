# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which weight of a file becomes which parameter."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "converters": ["BesideBody", "FusedConverter"],
        "legacy_dual_encoder": ["convert_internvl_c"],
        "mappings": ["intern_vit", "internlm2", "internvl", "internvl_chat", "internvl_llava"],
        "ops": [
            "MergeFused",
            "SplitFused",
            "merge_groups",
            "merge_thirds",
            "split_groups",
            "split_thirds",
        ],
        "quantized_ops": ["MergeQuantized", "SplitQuantized", "quantized_row"],
    },
)
