# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .adapter_settings import check_patterns, check_room, read_adapter_settings
from .arguments import HUB_ARGUMENTS, find_file, hub_arguments, pinned
from .checkpoint_files import LARGEST_SETTINGS, LARGEST_TEMPLATE, LARGEST_TOKENIZER, check_files
from .config_values import hidden_state_index, tokens_per_tile
from .model_card import complete_model_card, complete_upload, create_model_card

__all__ = [
    "HUB_ARGUMENTS",
    "LARGEST_SETTINGS",
    "LARGEST_TEMPLATE",
    "LARGEST_TOKENIZER",
    "check_files",
    "check_patterns",
    "check_room",
    "complete_model_card",
    "complete_upload",
    "create_model_card",
    "find_file",
    "hidden_state_index",
    "hub_arguments",
    "pinned",
    "read_adapter_settings",
    "tokens_per_tile",
]
