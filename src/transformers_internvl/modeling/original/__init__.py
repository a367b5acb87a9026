# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What checkpoints in the original layout need."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "attributes": ["HasAuthorsParts", "as_causal_model"],
        "calls": ["FORWARD", "GENERATE", "begins_with_pixels", "by_name", "encoded_images"],
        "canonical": ["HasCanonicalForm", "as_canonical", "copy_buffers", "warn_beyond_stock"],
        "configuration_chat": [
            "CANONICAL_FIELDS",
            "InternVLChatConfig",
            "LANGUAGE_MODELS",
            "canonical_config",
            "canonical_text_fields",
            "canonical_tower_fields",
        ],
        "configuration_llava": ["InternVLLlavaConfig", "TOWERS"],
    },
)
