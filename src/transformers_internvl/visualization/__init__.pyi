# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .answer import Answer, LocatedBox, explain_answer
from .attention import ImageAttention, record_attention
from .drawing import draw_attention
from .regions import draw_regions
from .seen import SeenImage, images_seen
from .tiles import add_caption, as_seen, draw_frames, draw_tiles, frames_as_seen
from .token_maps import split_maps, token_order

__all__ = [
    "Answer",
    "ImageAttention",
    "LocatedBox",
    "SeenImage",
    "add_caption",
    "as_seen",
    "draw_attention",
    "draw_frames",
    "draw_regions",
    "draw_tiles",
    "explain_answer",
    "frames_as_seen",
    "images_seen",
    "record_attention",
    "split_maps",
    "token_order",
]
