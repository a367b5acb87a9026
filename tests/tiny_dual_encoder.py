# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tiny random dual encoders and QLLaMAs that tests share, and what goes into them."""

import torch

from transformers_internvl import InternVLDualEncoderConfig, InternVLDualEncoderModel, QLlamaConfig
from transformers_internvl.modeling.dual_encoder.qllama import QLlamaModel

PAD, BEGIN, END = 0, 1, 2
QUERIES, TEXT, WIDTH, VISION_WIDTH = 3, 5, 32, 24


def tiny_dual_config(vision: dict | None = None, qllama: dict | None = None, **changes) -> InternVLDualEncoderConfig:
    depth = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    return InternVLDualEncoderConfig(
        vision_config={"hidden_size": 24, "image_size": 42, **depth, **(vision or {})},
        qllama_config={"hidden_size": 32, "vocab_size": 60, "max_position_embeddings": 40, **depth, **(qllama or {})},
        **{"clip_embed_dim": 16, "attn_pool_num_heads": 4, "num_query_token": 5, **changes},
    )


def tiny_dual_encoder(model_class=InternVLDualEncoderModel, **changes):
    """A model whose every parameter matters."""
    torch.manual_seed(0)
    model = model_class(tiny_dual_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 0:
                parameter.normal_(std=0.2)
    return model


def images(count: int = 2, side: int = 42) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def texts(*lengths: int) -> torch.Tensor:
    """Rows of so many real tokens, padded on the right."""
    generator = torch.Generator().manual_seed(2)
    ids = torch.full((len(lengths), max(lengths)), PAD)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, 60, (length,), generator=generator)
        ids[row, 0], ids[row, length - 1] = BEGIN, END
    return ids


def tiny_qllama_config(**changes) -> QLlamaConfig:
    sizes = {"vocab_size": 60, "hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 3}
    counts = {"num_attention_heads": 4, "num_query_token": QUERIES, "vision_hidden_size": VISION_WIDTH}
    return QLlamaConfig(**{**sizes, **counts, "max_position_embeddings": 64, **changes})


def tiny_qllama(model_class=QLlamaModel, **changes):
    torch.manual_seed(0)
    model = model_class(tiny_qllama_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model
