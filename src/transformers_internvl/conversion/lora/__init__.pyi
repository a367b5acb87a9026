# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .adapters import Adapter, convert_adapter, model_shapes, to_canonical, to_original
from .inside_checkpoints import extract_legacy, merge_legacy, merged, plain_name
from .names import canonical_names, original_name

__all__ = [
    "Adapter",
    "canonical_names",
    "convert_adapter",
    "extract_legacy",
    "merge_legacy",
    "merged",
    "model_shapes",
    "original_name",
    "plain_name",
    "to_canonical",
    "to_original",
]
