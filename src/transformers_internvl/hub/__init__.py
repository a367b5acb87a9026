# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What models and processors share about the Hub: where files are asked for, and the card that is pushed with them."""

from ..lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "arguments": ["HUB_ARGUMENTS", "find_file", "hub_arguments", "pinned"],
        "model_card": ["PushesWithCard", "complete_model_card", "create_model_card"],
    },
)
