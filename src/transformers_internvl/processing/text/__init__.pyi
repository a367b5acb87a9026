# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .bounded_templates import LONGEST, check_length, renderer_of
from .conversation import Conversation, chat_prompt, get_conv_template
from .grounding import decode_regions, format_box, parse_answers, parse_grounding
from .messages import chat_options, choose_template, normalized, refuse_contradictions, split_options
from .placeholders import (
    Place,
    by_sample,
    check_image_tokens,
    checked_length,
    expand,
    find_places,
    ready_prompts,
    token_id,
)
from .template_meter import BYTES, SECONDS, Meter, meter, metered
from .untrusted_text import (
    Prompt,
    control_pattern,
    encode,
    encode_batch,
    find_token,
    mask_of,
    render_prompts,
    replace,
    split_control_strings,
)
from .video_token import STAND_INS, forget_without_embedding, read_template, video_token_of

__all__ = [
    "BYTES",
    "Conversation",
    "LONGEST",
    "Meter",
    "Place",
    "Prompt",
    "SECONDS",
    "STAND_INS",
    "by_sample",
    "chat_options",
    "chat_prompt",
    "check_image_tokens",
    "check_length",
    "checked_length",
    "choose_template",
    "control_pattern",
    "decode_regions",
    "encode",
    "encode_batch",
    "expand",
    "find_places",
    "find_token",
    "forget_without_embedding",
    "format_box",
    "get_conv_template",
    "mask_of",
    "meter",
    "metered",
    "normalized",
    "parse_answers",
    "parse_grounding",
    "read_template",
    "ready_prompts",
    "refuse_contradictions",
    "render_prompts",
    "renderer_of",
    "replace",
    "split_control_strings",
    "split_options",
    "token_id",
    "video_token_of",
]
