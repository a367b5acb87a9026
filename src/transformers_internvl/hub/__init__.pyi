# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .arguments import HUB_ARGUMENTS, find_file, hub_arguments, pinned
from .model_card import complete_model_card, complete_upload, create_model_card

__all__ = [
    "HUB_ARGUMENTS",
    "complete_model_card",
    "complete_upload",
    "create_model_card",
    "find_file",
    "hub_arguments",
    "pinned",
]
