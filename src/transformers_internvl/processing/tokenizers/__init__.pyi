# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .dual_encoder import CAPTION_PROMPT, MAX_LENGTH, TEXT_PREFIX, InternVLDualEncoderTokenizer
from .internlm2 import InternLM2Tokenizer
from .leading_prefix import begins_with_unlisted, pad_rows, prefixing
from .llama import LlamaTokenizer
from .loading import added_token_ids, as_trained, load_tokenizer, stop_first
from .released_tokens import user_tokens
from .sentencepiece_library import SentencePieceSplitter
from .sentencepiece_model import SentencePieceModel, decode_pieces, pipeline, template_ends
from .slow import SlowDecodingTokenizer
from .upstream import forget_call_settings, keep_legacy, truncated_on

__all__ = [
    "CAPTION_PROMPT",
    "InternLM2Tokenizer",
    "InternVLDualEncoderTokenizer",
    "LlamaTokenizer",
    "MAX_LENGTH",
    "SentencePieceModel",
    "SentencePieceSplitter",
    "SlowDecodingTokenizer",
    "TEXT_PREFIX",
    "added_token_ids",
    "as_trained",
    "begins_with_unlisted",
    "decode_pieces",
    "forget_call_settings",
    "keep_legacy",
    "load_tokenizer",
    "pad_rows",
    "pipeline",
    "prefixing",
    "stop_first",
    "template_ends",
    "truncated_on",
    "user_tokens",
]
