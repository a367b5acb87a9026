# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rotary positions against their formula, at the length from which the base grows."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, Phi3Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

from transformers_internvl import InternLM2Config
from transformers_internvl.modeling.pretrained.upstream import (
    InternLM2RotaryEmbedding,
    LongRotaryEmbedding,
    replace_stateful_rope,
)

LIMIT, THETA, FACTOR, WIDTH = 16, 1000.0, 3.0, 8
DYNAMIC = {"rope_type": "dynamic", "factor": FACTOR, "rope_theta": THETA}
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": LIMIT}


def angles(positions: torch.Tensor, length: int) -> torch.Tensor:
    """`(L, C)` in double precision: dynamic NTK scaling as it was published."""
    base = THETA
    if length > LIMIT:
        base *= (FACTOR * length / LIMIT - (FACTOR - 1)) ** (WIDTH / (WIDTH - 2))
    frequencies = torch.tensor([base ** (-channel / WIDTH) for channel in range(0, WIDTH, 2)], dtype=torch.float64)
    half = positions.double()[:, None] * frequencies
    return torch.cat([half, half], dim=-1)


@pytest.mark.parametrize("length", [1, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, 3 * LIMIT])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_base_grows_beyond_the_limit(length, dtype):
    rotary, positions = (
        InternLM2RotaryEmbedding(InternLM2Config(**SIZES, rope_parameters=DYNAMIC)),
        torch.arange(length),
    )
    for found, function in zip(
        rotary(torch.zeros(1, dtype=dtype), positions[None]), (torch.cos, torch.sin), strict=True
    ):
        assert found.dtype == dtype and found.shape == (1, length, WIDTH)
        expected = function(angles(positions, length))
        torch.testing.assert_close(found[0].double(), expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 4e-3)


def test_the_longest_row_decides_and_positions_need_not_begin_at_0():
    rotary = InternLM2RotaryEmbedding(InternLM2Config(**SIZES, rope_parameters=DYNAMIC))
    positions = torch.tensor([[3, 4], [LIMIT, LIMIT + 4]])
    cosine, _ = rotary(torch.zeros(1), positions)
    for row in (0, 1):
        torch.testing.assert_close(cosine[row].double(), angles(positions[row], LIMIT + 5).cos(), rtol=0, atol=1e-5)


def test_far_positions_are_not_rounded_to_the_dtype_of_the_model():
    rotary = InternLM2RotaryEmbedding(
        InternLM2Config(**SIZES, rope_parameters={"rope_type": "default", "rope_theta": THETA})
    )
    positions = torch.tensor([1001, 1003])  # bfloat16 knows neither
    cosine, _ = rotary.bfloat16()(torch.zeros(1, dtype=torch.bfloat16), positions[None])
    frequencies = rotary.inv_freq.double()
    half = positions.double()[:, None] * frequencies
    torch.testing.assert_close(cosine[0].double(), torch.cat([half, half], dim=-1).cos(), rtol=0, atol=4e-3)


def holder(rotary: nn.Module) -> nn.Module:
    module = nn.Module()
    module.rotary_emb = rotary
    replace_stateful_rope(module)
    return module.rotary_emb


def test_which_positions_keep_lengths():
    plain = {"rope_type": "default", "rope_theta": THETA}
    long = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4, "rope_theta": THETA}
    phi = {**SIZES, "original_max_position_embeddings": 8, "pad_token_id": 0}
    assert (
        type(holder(LlamaRotaryEmbedding(LlamaConfig(**SIZES, rope_parameters=DYNAMIC)))) is InternLM2RotaryEmbedding
    )
    assert type(holder(LlamaRotaryEmbedding(LlamaConfig(**SIZES, rope_parameters=plain)))) is LlamaRotaryEmbedding
    factors = {**long, "original_max_position_embeddings": 8}
    assert type(holder(Phi3RotaryEmbedding(Phi3Config(**phi, rope_parameters=factors)))) is LongRotaryEmbedding
    assert type(holder(Phi3RotaryEmbedding(Phi3Config(**phi, rope_parameters=plain)))) is Phi3RotaryEmbedding

    class Other(LlamaRotaryEmbedding):
        pass

    assert type(holder(Other(LlamaConfig(**SIZES, rope_parameters=DYNAMIC)))) is Other
    replace_stateful_rope(nn.Module())  # one without any


def test_the_original_name_of_the_biases():
    assert InternLM2Config(bias=True).attention_bias is True and InternLM2Config().bias is False
