# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The visual resolution router of InternVL3.5-Flash (ViR): which tiles are compressed, and by which projector.

A tile's patches are pooled to one vector, and a gate says with which probability the tile may be compressed. A tile
that is gets a quarter of the image tokens, from a pixel shuffle of twice the factor and a projector of its own.

Shape letters: T tiles, P patches of a tile, C width of the tower, H heads, d width of a head, n image tokens of a
whole tile, D width of the language model.

Source: `modeling_internvl_chat.py` of the InternVL3.5-Flash checkpoints; arXiv:2508.18265, section 2.3.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import initialization as init

HEADS = 16
ROUNDS = (1, 2, 2, 2)
"""Which attention and norm a round of the pooling uses. The checkpoints hold four of each, the code uses two."""
DROPOUT = 0.1


class PoolingAttention(nn.Module):
    """Attention of a single query to all patches of a tile.

    With one query, keys and values of every patch need not be computed: the query goes through the matrix of the keys,
    and the weighted mean of the patches through that of the values. A bias of the keys changes nothing in the softmax.
    Parameters are those of `nn.MultiheadAttention`.
    """

    def __init__(self, width: int):
        super().__init__()
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * width, width)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, query: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """`(T, C)` and `(T, P, C)` to `(T, C)`."""
        to_query, to_key, to_value = self.in_proj_weight.chunk(3)  # (C, C) each
        query_bias, _, value_bias = self.in_proj_bias.chunk(3)
        query = nn.functional.linear(query, to_query, query_bias).unflatten(-1, (HEADS, -1))  # (T, H, d)
        asked = torch.einsum("thd,hdc->thc", query, to_key.unflatten(0, (HEADS, -1)))  # (T, H, C)
        scores = asked @ patches.transpose(1, 2) * query.shape[-1] ** -0.5  # (T, H, P)
        weights = scores.softmax(-1, dtype=torch.float32).to(patches.dtype)
        seen = weights @ patches  # (T, H, C)
        values = torch.einsum("thc,hdc->thd", seen, to_value.unflatten(0, (HEADS, -1)))  # (T, H, d)
        return self.out_proj(values.flatten(1) + value_bias)

    def reset(self) -> None:
        """Fresh values for the parameters that are no module's."""
        init.xavier_uniform_(self.in_proj_weight)
        init.zeros_(self.in_proj_bias)


class TilePooling(nn.Module):
    """One vector for every tile: a learned query asks its patches four times, without residual connections."""

    def __init__(self, width: int):
        super().__init__()
        self.query_token = nn.Parameter(nn.init.normal_(torch.empty(1, width), std=0.02))
        for index in range(1, 5):
            setattr(self, f"attn{index}", PoolingAttention(width))
            setattr(self, f"norm{index}", nn.LayerNorm(width))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """`(T, P, C)` to `(T, C)`."""
        query = self.query_token.to(patches.dtype).expand(len(patches), -1)
        for index in ROUNDS:
            query = getattr(self, f"norm{index}")(getattr(self, f"attn{index}")(query, patches))
        return query

    def reset(self, std: float) -> None:
        """Fresh values for the parameters that are no module's."""
        init.normal_(self.query_token, std=std)


class CompressionGate(nn.Module):
    """Four residual blocks and a linear layer: with which probability a tile may be compressed."""

    def __init__(self, width: int):
        super().__init__()
        for index in range(1, 5):
            layers = (nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(4 * width, width))
            setattr(self, f"block{index}", nn.Sequential(*layers, nn.Dropout(DROPOUT), nn.LayerNorm(width)))
        self.gate = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        """`(T, C)` to logits `(T, 2)`: compress, keep."""
        for index in range(1, 5):
            pooled = pooled + getattr(self, f"block{index}")(pooled)
        return self.gate(pooled)


class ResolutionRouter(nn.Module):
    """Pooling and gate.

    Args:
        config: of the chat model.
    """

    def __init__(self, config: Any):
        super().__init__()
        width = config.vision_config.hidden_size
        self.pooling = TilePooling(width)
        self.gating = CompressionGate(width)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The tower's patches `(T, P, C)`, without class token, to logits `(T, 2)`: compress, keep."""
        return self.gating(self.pooling(patches))


class CompressedProjector(nn.Sequential):
    """From the shuffled features of compressed tiles to the language model: `(T, n/4, 16C)` to `(T, n/4, D)`."""

    def __init__(self, config: Any):
        width = config.vision_config.hidden_size * round(1 / compressed_ratio(config)) ** 2
        hidden = config.text_config.hidden_size
        super().__init__(
            nn.LayerNorm(width),
            *(nn.Linear(width, 2 * hidden), nn.GELU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(2 * hidden, 2 * hidden), nn.GELU(), nn.Dropout(DROPOUT)),
            nn.Linear(2 * hidden, hidden),
        )


def compressed_ratio(config: Any) -> float:
    """By what the sides of the patch grid of a compressed tile shrink: half of the `downsample_ratio` of others."""
    return config.downsample_ratio / 2


def compressed_tiles(
    probabilities: torch.Tensor, relative: float, absolute: float, tiles_per_sample: Sequence[int]
) -> torch.Tensor:
    """Which tiles are compressed.

    A tile is if its probability is above the quantile `relative` of those of its sample, and at least `absolute`.
    Compared are float32 values. The tile with the smallest probability of a sample is never compressed.

    Args:
        probabilities: `(T,)`, that a tile may be compressed.
        relative: of the tiles of a sample, the share that is certainly not; in [0, 1].
        absolute: in [0, 1].
        tiles_per_sample: how many tiles every sample has, in order.

    Returns:
        `(T,)`, bool.
    """
    chosen = []
    for sample in probabilities.detach().float().split(list(tiles_per_sample)):
        if len(sample):
            chosen.append((sample > torch.quantile(sample, relative)) & (sample >= absolute))
    return torch.cat(chosen) if chosen else probabilities.new_zeros(0, dtype=torch.bool)


__all__ = [
    "CompressedProjector",
    "CompressionGate",
    "PoolingAttention",
    "ResolutionRouter",
    "TilePooling",
    "compressed_ratio",
    "compressed_tiles",
]
