# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .chat_templates import get_chat_template, split_thinking
from .images.image_processing import InternVLImageProcessor
from .images.image_processing_llava import InternVLLlavaImageProcessor
from .images.tiling import select_grid, tile_boxes
from .processor import InternVLProcessor
from .processor_dual_encoder import InternVLDualEncoderProcessor
from .processor_llava import InternVLLlavaProcessor
from .text.grounding import format_box, parse_grounding
from .tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from .tokenizers.internlm2 import InternLM2Tokenizer
from .tokenizers.loading import load_tokenizer
from .videos.video_processing import InternVLVideoProcessor

__all__ = [
    "InternLM2Tokenizer",
    "InternVLDualEncoderProcessor",
    "InternVLDualEncoderTokenizer",
    "InternVLImageProcessor",
    "InternVLLlavaImageProcessor",
    "InternVLLlavaProcessor",
    "InternVLProcessor",
    "InternVLVideoProcessor",
    "format_box",
    "get_chat_template",
    "load_tokenizer",
    "parse_grounding",
    "select_grid",
    "split_thinking",
    "tile_boxes",
]
