# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tiny random models that tests share."""

import torch

from transformers_internvl import InternVLConfig, InternVLForConditionalGeneration

IMAGE_TOKEN = 1
TOKENS_PER_TILE = 4


def tiny_config(text: dict | None = None, vision: dict | None = None, **changes) -> InternVLConfig:
    """A canonical config: tiles of 56 pixels, four image tokens each."""
    return InternVLConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": 99,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 0,
            **(text or {}),
        },
        vision_config={
            "hidden_size": 24,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "image_size": 56,
            "attention_bias": True,
            **(vision or {}),
        },
        **{
            "image_token_id": IMAGE_TOKEN,
            "image_seq_length": TOKENS_PER_TILE,
            "tie_word_embeddings": False,
            **changes,
        },
    )


def tiny_model(seed: int = 0, **changes) -> InternVLForConditionalGeneration:
    """A model whose every parameter matters: drawn at a scale at which none drowns."""
    torch.manual_seed(seed)
    model = InternVLForConditionalGeneration(tiny_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def tiny_batch(tiles_per_row: list[int], length: int = 20, seed: int = 0) -> dict[str, torch.Tensor]:
    """Rows of equal length, each with its tiles' placeholders after the first token."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 99, (len(tiles_per_row), length), generator=generator)
    for row, tiles in enumerate(tiles_per_row):
        ids[row, 1 : 1 + tiles * TOKENS_PER_TILE] = IMAGE_TOKEN
    pixels = torch.randn(sum(tiles_per_row), 3, 56, 56, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


def shaken(model, seed: int = 5):
    """Adapters that matter: B starts at zero, which would hide a lost adapter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.2)
    return model.eval()


def logits(model, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        return model(**tiny_batch([1, 2], seed=seed)).logits
