# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompts: placeholders, untrusted text, messages and boxes."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "conversation": ["Conversation", "get_conv_template"],
        "grounding": ["decode_regions", "format_box", "parse_answers", "parse_grounding"],
        "messages": ["choose_template", "normalized", "refuse_contradictions", "split_options"],
        "placeholders": [
            "Place",
            "by_sample",
            "check_image_tokens",
            "checked_length",
            "expand",
            "find_places",
            "token_id",
        ],
        "untrusted_text": [
            "Prompt",
            "control_pattern",
            "cut",
            "encode",
            "encode_batch",
            "find_token",
            "mask_of",
            "render_prompts",
            "replace",
        ],
        "video_token": ["STAND_INS", "forget_without_embedding", "read_template", "video_token_of"],
    },
)
