# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .converters import BesideBody, FusedConverter
from .legacy_dual_encoder import convert_internvl_c
from .mappings import intern_vit, internlm2, internvl, internvl_chat, internvl_llava
from .ops import MergeFused, SplitFused, merge_groups, merge_thirds, split_groups, split_thirds
from .quantized_ops import MergeQuantized, SplitQuantized, quantized_row

__all__ = [
    "BesideBody",
    "FusedConverter",
    "MergeFused",
    "MergeQuantized",
    "SplitFused",
    "SplitQuantized",
    "convert_internvl_c",
    "intern_vit",
    "internlm2",
    "internvl",
    "internvl_chat",
    "internvl_llava",
    "merge_groups",
    "merge_thirds",
    "quantized_row",
    "split_groups",
    "split_thirds",
]
