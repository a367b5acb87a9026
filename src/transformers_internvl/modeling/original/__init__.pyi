# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .attributes import OriginalAttributesMixin, as_causal_model
from .calls import FORWARD, GENERATE, begins_with_pixels, by_name, encoded_images, tiles_of_images
from .canonical import CanonicalFormMixin, as_canonical, copy_buffers, warn_beyond_upstream
from .configuration_chat import (
    CANONICAL_FIELDS,
    LANGUAGE_MODELS,
    InternVLChatConfig,
    canonical_config,
    canonical_text_fields,
    canonical_tower_fields,
)
from .configuration_llava import TOWERS, InternVLLlavaConfig

__all__ = [
    "CANONICAL_FIELDS",
    "CanonicalFormMixin",
    "FORWARD",
    "GENERATE",
    "InternVLChatConfig",
    "InternVLLlavaConfig",
    "LANGUAGE_MODELS",
    "OriginalAttributesMixin",
    "TOWERS",
    "as_canonical",
    "as_causal_model",
    "begins_with_pixels",
    "by_name",
    "canonical_config",
    "canonical_text_fields",
    "canonical_tower_fields",
    "copy_buffers",
    "encoded_images",
    "tiles_of_images",
    "warn_beyond_upstream",
]
