# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Many tokens to one vector, by attention from their mean (arXiv:2312.14238, section 3.2).

Shape letters: B images, M tokens, W their width, E width of the result, H heads, C channels per head.

Source: `AttentionPoolingBlock` in `modeling_internvl.py` of the released checkpoints.
"""

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .vision import eager_attention_forward


class AttentionPoolAttention(nn.Module):
    """Attention from one vector to all tokens; the projections' biases are parameters of their own."""

    is_causal = False

    def __init__(self, config: PreTrainedConfig, width: int, num_heads: int, out_width: int):
        super().__init__()
        self.config = config
        self.head_dim = width // num_heads
        self.scaling = self.head_dim**-0.5
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.k_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, out_width)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        query = self._heads(self.q(query) + self.q_bias)  # (B, H, 1, C)
        key, value = self._heads(self.k(key) + self.k_bias), self._heads(self.v(value) + self.v_bias)  # (B, H, M, C)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, _ = attend(self, query, key, value, None, dropout=0.0, scaling=self.scaling, is_causal=False)
        return self.proj(output.flatten(2))  # (B, 1, E)

    def _heads(self, states: torch.Tensor) -> torch.Tensor:
        return states.view(*states.shape[:-1], -1, self.head_dim).transpose(1, 2)

    def init_biases(self) -> None:
        """Fresh values for the parameters that are no module's: for `_init_weights` of the model around it."""
        for bias in (self.q_bias, self.k_bias, self.v_bias):
            init.zeros_(bias)


class AttentionPool(nn.Module):
    """Tokens to one vector: their mean, the class token included, attends to them all. `(B, M, W)` to `(B, E)`.

    Args:
        config: of the model around it, whose attention implementation is used.
        width: W.
        num_heads: H, of which W is a multiple.
        out_width: E.
    """

    def __init__(self, config: PreTrainedConfig, width: int, num_heads: int, out_width: int):
        super().__init__()
        self.norm1_q = nn.LayerNorm(width, eps=1e-5)
        self.norm1_k = nn.LayerNorm(width, eps=1e-5)
        self.norm1_v = nn.LayerNorm(width, eps=1e-5)
        self.cross_attn = AttentionPoolAttention(config, width, num_heads, out_width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query = self.norm1_q(tokens.mean(dim=1, keepdim=True))
        return self.cross_attn(query, self.norm1_k(tokens), self.norm1_v(tokens)).squeeze(1)


__all__ = ["AttentionPool", "AttentionPoolAttention"]
