# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Patch masking of a training tower: it sees a random part of every image, at as small a part of the cost.

Patches are dropped, not replaced, so the blocks run on what is left; evaluation sees everything.

Shape letters: T tiles (images), S tokens (class token + patches), K tokens that are kept, D width.

Source: arXiv:2212.00794 (FLIP); half of the patches in stage 1 of InternVL (arXiv:2312.14238, section 3.3).
"""

import torch
from torch import nn

from .configuration import InternVLVisionConfig


class PatchDropout(nn.Module):
    """In training keeps a random choice of each image's patches, always the class token, in their order.

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


__all__ = ["PatchDropout", "num_patches_kept"]
