# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Towers, language models and vocabularies taken apart and put together."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "language_model_swap": ["replace_language_model_folder"],
        "operations": [
            "add_tokens_folder",
            "extract_tower_folder",
            "merge_lora_folder",
            "replace_tower_folder",
            "resize_positions_folder",
            "truncate_tower_folder",
        ],
        "towers": ["find_tower", "resize_position_table", "truncate_layers"],
        "transplant": ["extract_tower", "replace_language_model", "replace_tower"],
        "vocabulary": ["IMAGE_TOKENS", "add_tokens", "fill_rows", "write_tokens"],
    },
)
