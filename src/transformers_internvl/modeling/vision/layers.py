# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Layers that InternViT and the dual encoder are built of: norms, attention, dropout of layers and patches, pooling.

Shape letters: T tiles (images), S tokens (class token + patches), K tokens that are kept, D width; of the pooling
B images, M tokens, W their width, E width of the result; H heads, C channels per head.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers import initialization as init
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration import InternVLVisionConfig


class InternVLVisionRMSNorm(nn.Module):
    """Root mean square norm, computed in float32 and scaled after the cast back, as the original code does."""

    def __init__(self, hidden_size: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        exact = hidden_states.float()
        exact = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * exact.to(hidden_states.dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, eps={self.variance_epsilon}"


NORMS = {"layer_norm": nn.LayerNorm, "rms_norm": InternVLVisionRMSNorm}


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in plain operations, the softmax in the model's own dtype as the original code has it."""
    weights = query @ key.transpose(2, 3) * scaling  # (T, H, S, S)
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.dropout(weights.softmax(dim=-1), p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2), weights  # (T, S, H, C)


class StochasticDepth(nn.Module):
    """Drops a whole residual branch per sample in training and rescales the ones that stay (arXiv:1603.09382)."""

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not self.training or self.probability == 0.0:
            return hidden_states
        keep = 1.0 - self.probability
        shape = (hidden_states.shape[0],) + (1,) * (hidden_states.dim() - 1)
        return hidden_states * hidden_states.new_empty(shape).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"


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

    Source: `AttentionPoolingBlock` in `modeling_internvl.py` of the released checkpoints (arXiv:2312.14238, section
    3.2).

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


class PatchDropout(nn.Module):
    """In training keeps a random choice of each image's patches, always the class token, in their order.

    The other patches are dropped, not replaced, so that the blocks cost less; evaluation sees all of them. Source:
    arXiv:2212.00794 (FLIP); half of the patches in stage 1 of InternVL (arXiv:2312.14238, section 3.3).

    The share is read from the configuration at every call: `config.patch_dropout = 0.0` in the middle of a training
    shows the tower whole images from then on. The choice comes from torch's generator of the tensor's device.
    """

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        self.config = config

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(T, S, D)`, positions added, to `(T, K, D)`."""
        if not self.training or self.config.patch_dropout == 0.0:
            return hidden_states
        tiles, patches = hidden_states.shape[0], hidden_states.shape[1] - 1
        kept = num_patches_kept(patches, self.config.patch_dropout)
        order = torch.rand(tiles, patches, device=hidden_states.device).argsort(dim=1)[:, :kept]
        chosen = order.sort(dim=1).values + 1  # (T, K - 1), behind the class token
        chosen = torch.cat([chosen.new_zeros(tiles, 1), chosen], dim=1)  # (T, K)
        return hidden_states.gather(1, chosen[..., None].expand(-1, -1, hidden_states.shape[-1]))

    def extra_repr(self) -> str:
        return f"patch_dropout={self.config.patch_dropout}"


def num_patches_kept(patches: int, patch_dropout: float) -> int:
    """How many of so many patches are left: the nearest whole number, at least one."""
    return max(1, round(patches * (1.0 - patch_dropout)))


def check_tiles(pixel_values: torch.Tensor) -> torch.Tensor:
    """Tiles `(T, 3, height, width)`, if they are.

    Raises:
        ValueError: another number of dimensions.
    """
    if isinstance(pixel_values, torch.Tensor) and pixel_values.dim() == 4:
        return pixel_values
    shape = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
    hints = {3: ": of one tile, pass `pixel_values[None]`", 5: ": pass `pixel_values.flatten(0, 1)`"}
    hint = hints.get(len(shape), "") if isinstance(shape, tuple) else ""
    raise ValueError(
        "`pixel_values` must be a tensor (T, 3, height, width), the tiles of all images one after the other, got "
        f"{shape}{hint}."
    )


__all__ = ["AttentionPool", "AttentionPoolAttention", "PatchDropout", "check_tiles", "num_patches_kept"]
