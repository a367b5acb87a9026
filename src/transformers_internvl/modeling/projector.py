# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the tower's patches to the language model's tokens: pixel shuffle and a two-layer MLP (arXiv:2404.16821, 3.1).

InternVL-Chat v1 has MLPs without a norm, one for patches, and with QLLaMA a second one for its queries
(arXiv:2312.14238, section 3.4): `PROJECTORS` has a row for each kind.

Shape letters: T tiles, h x w patch grid, C width of the tower, f = 1 / downsample_ratio, n image tokens of the grid, N
queries, Q width of QLLaMA, D width of the decoder.
"""

import torch
from torch import nn
from transformers.activations import ACT2FN

from .configuration import InternVLConfig


def pixel_shuffle(features: torch.Tensor, downsample_ratio: float, version: str = "v2") -> torch.Tensor:
    """Space to depth: every `f x f` block of cells becomes one cell, `f*f` times as wide.

    A cell of the result concatenates its block row by row (f = 2):

        a b | c d          [a b e f] [c d g h]
        e f | g h    ->
        ----+----          [i j m n] [k l o p]
        i j | k l
        m n | o p

    Version "v1" gives the same cells with rows and columns of the *result* swapped.

    Args:
        features: `(T, h, w, C)`.
        downsample_ratio: `1 / f`.
        version: `"v1"` or `"v2"`.

    Returns:
        `(T, h/f, w/f, C*f*f)`; for "v1" `(T, w/f, h/f, C*f*f)`.
    """
    tiles, height, width, channels = features.shape
    f = round(1 / downsample_ratio)
    if height % f or width % f:
        raise ValueError(
            f"A grid of {height} x {width} patches cannot be shuffled by {f}: make the tile size a multiple of {f} "
            "patches."
        )
    blocks = features.reshape(tiles, height // f, f, width // f, f, channels)  # (T, h/f, f, w/f, f, C)
    order = (0, 1, 3, 2, 4, 5) if version == "v2" else (0, 3, 1, 2, 4, 5)
    return blocks.permute(order).flatten(3)


class InternVLMultiModalProjector(nn.Module):
    """Norm and a two-layer MLP from shuffled tower features to the language model's width."""

    def __init__(self, config: InternVLConfig, width: int | None = None, norm: bool = True):
        super().__init__()
        width = width or config.vision_config.hidden_size * round(1 / config.downsample_ratio) ** 2
        self.layer_norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.linear_1 = nn.Linear(width, config.text_config.hidden_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.text_config.hidden_size, config.text_config.hidden_size)

    def forward(self, image_features: torch.Tensor) -> torch.Tensor:
        return self.linear_2(self.act(self.linear_1(self.layer_norm(image_features))))


class InternVLMLPProjector(InternVLMultiModalProjector):
    """The same without the norm; `width` of the features, if they are not the tower's."""

    def __init__(self, config: InternVLConfig, width: int | None = None):
        super().__init__(config, width, norm=False)


class InternVLTwoMLPProjector(nn.Module):
    """One MLP for patches and one for queries; the queries come first."""

    def __init__(self, config: InternVLConfig):
        super().__init__()
        self.mlp1 = InternVLMLPProjector(config)
        self.mlp2 = InternVLMLPProjector(config, config.middleware_config.hidden_size)

    def forward(self, image_features: torch.Tensor, query_features: torch.Tensor) -> torch.Tensor:
        """`(T, n, C*f*f)` and `(T, N, Q)` to `(T, N + n, D)`."""
        return torch.cat([self.mlp2(query_features), self.mlp1(image_features)], dim=1)


PROJECTORS = {
    "mlp": InternVLMultiModalProjector,
    "mlp2x_gelu": InternVLMLPProjector,
    "two_mlp": InternVLTwoMLPProjector,
}
"""`config.projector_type` -> class."""

__all__ = [
    "PROJECTORS",
    "InternVLMLPProjector",
    "InternVLMultiModalProjector",
    "InternVLTwoMLPProjector",
    "pixel_shuffle",
]
