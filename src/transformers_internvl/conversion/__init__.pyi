# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .layouts.convert import convert_checkpoint
from .layouts.verify import Comparison, compare_checkpoints
from .lora.adapters import convert_adapter
from .lora.inside_checkpoints import extract_legacy
from .surgery.language_model_swap import replace_language_model_folder
from .surgery.operations import (
    add_router_folder,
    add_tokens_folder,
    extract_tower_folder,
    merge_lora_folder,
    replace_tower_folder,
    resize_positions_folder,
    truncate_tower_folder,
)
from .surgery.towers import find_tower, resize_position_table, truncate_layers
from .surgery.transplant import add_resolution_router, extract_tower, replace_language_model, replace_tower
from .surgery.vocabulary import add_tokens

__all__ = [
    "Comparison",
    "add_resolution_router",
    "add_router_folder",
    "add_tokens",
    "add_tokens_folder",
    "compare_checkpoints",
    "convert_adapter",
    "convert_checkpoint",
    "extract_legacy",
    "extract_tower",
    "extract_tower_folder",
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
]
