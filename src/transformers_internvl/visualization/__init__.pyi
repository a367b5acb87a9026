# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .answer import Answer, LocatedBox, explain_answer
from .attention import ImageAttention, record_attention
from .drawing import draw_attention
from .token_maps import split_maps, token_order

__all__ = [
    "Answer",
    "ImageAttention",
    "LocatedBox",
    "draw_attention",
    "explain_answer",
    "record_attention",
    "split_maps",
    "token_order",
]
