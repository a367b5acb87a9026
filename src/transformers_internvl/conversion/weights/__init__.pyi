# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .converters import BesideBody, FusedConverter
from .legacy_dual_encoder import convert_internvl_c
from .mappings import intern_vit, internlm2, internvl, internvl_chat, internvl_llava
from .ops import MergeFused, SplitFused, merge_grouped_qkv, merge_qkv, split_grouped_qkv, split_qkv
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
    "merge_grouped_qkv",
    "merge_qkv",
    "quantized_row",
    "split_grouped_qkv",
    "split_qkv",
]
