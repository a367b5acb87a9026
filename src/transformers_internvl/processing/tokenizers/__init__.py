# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers of the family, and what is read from `tokenizer.model`."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "dual_encoder": ["CAPTION_PROMPT", "InternVLDualEncoderTokenizer", "MAX_LENGTH", "TEXT_PREFIX"],
        "internlm2": ["InternLM2Tokenizer"],
        "leading_prefix": ["begins_with_unlisted", "pad_rows", "prefixing"],
        "llama": ["LlamaTokenizer"],
        "loading": ["added_token_ids", "as_trained", "load_tokenizer", "stop_first"],
        "released_tokens": ["user_tokens"],
        "sentencepiece_library": ["SentencePieceCutter"],
        "sentencepiece_model": ["SentencePieceModel", "decode_pieces", "pipeline", "template_ends"],
        "slow": ["SlowDecodingTokenizer", "forget_call_settings"],
    },
)
