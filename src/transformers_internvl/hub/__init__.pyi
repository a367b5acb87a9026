# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .arguments import HUB_ARGUMENTS, find_file, hub_arguments, pinned
from .model_card import PushesWithCard, complete_model_card, create_model_card

__all__ = [
    "HUB_ARGUMENTS",
    "PushesWithCard",
    "complete_model_card",
    "create_model_card",
    "find_file",
    "hub_arguments",
    "pinned",
]
