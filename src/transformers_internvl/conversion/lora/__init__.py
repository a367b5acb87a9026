# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters that were trained on the original code."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "adapters": ["Adapter", "convert_adapter", "model_shapes", "to_authors", "to_canonical"],
        "inside_checkpoints": ["extract_legacy", "is_legacy", "merge_legacy", "merged", "plain_name"],
        "names": ["authors_name", "canonical_names"],
    },
)
