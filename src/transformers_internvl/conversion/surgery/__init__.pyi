# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .language_model_swap import replace_language_model_folder
from .operations import (
    add_tokens_folder,
    extract_tower_folder,
    merge_lora_folder,
    replace_tower_folder,
    resize_positions_folder,
    truncate_tower_folder,
)
from .towers import find_tower, resize_position_table, truncate_layers
from .transplant import add_resolution_router, extract_tower, replace_language_model, replace_tower
from .vocabulary import IMAGE_TOKENS, add_tokens, fill_rows, write_tokens

__all__ = [
    "IMAGE_TOKENS",
    "add_resolution_router",
    "add_tokens",
    "add_tokens_folder",
    "extract_tower",
    "extract_tower_folder",
    "fill_rows",
    "find_tower",
    "merge_lora_folder",
    "replace_language_model",
    "replace_language_model_folder",
    "replace_tower",
    "replace_tower_folder",
    "resize_position_table",
    "resize_positions_folder",
    "truncate_layers",
    "truncate_tower_folder",
    "write_tokens",
]
