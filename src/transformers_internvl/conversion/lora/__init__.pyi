# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .adapters import Adapter, convert_adapter, model_shapes, to_authors, to_canonical
from .inside_checkpoints import extract_legacy, is_legacy, merge_legacy, merged, plain_name
from .names import authors_name, canonical_names

__all__ = [
    "Adapter",
    "authors_name",
    "canonical_names",
    "convert_adapter",
    "extract_legacy",
    "is_legacy",
    "merge_legacy",
    "merged",
    "model_shapes",
    "plain_name",
    "to_authors",
    "to_canonical",
]
