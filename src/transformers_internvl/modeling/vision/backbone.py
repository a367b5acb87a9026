# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT as a backbone of dense models: chosen layers as maps, plain or as a pyramid (arXiv:2312.14238, table 23).

Every layer of InternViT has the same grid. `UperNet` and its kind expect four, each half as fine as the one before, so
`use_fpn` adds the original neck: the first map is enlarged four times, the second two times, the fourth halved.

Shape letters: T tiles (images), D width, h x w patch grid.

Source: `segmentation/mmseg_custom/models/backbones/intern_vit_6b.py` of the original repository.
"""

from typing import Any

import torch
from torch import nn
from transformers import BackboneMixin
from transformers import initialization as init
from transformers.modeling_outputs import BackboneOutput
from transformers.utils import can_return_tuple

from .configuration import PYRAMID_LEVELS, InternVisionConfig, InternVLVisionConfig
from .model import InternVLVisionModel


class InternVLVisionMapLayerNorm(nn.LayerNorm):  # transformers initializes norms by their names
    """Layer norm over the channels of a map `(T, D, h, w)`."""

    def forward(self, feature_map: torch.Tensor) -> torch.Tensor:
        return super().forward(feature_map.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class InternVLVisionPyramid(nn.Module):
    """Four maps of one grid to a pyramid: `(T, D, 4h, 4w)`, `(T, D, 2h, 2w)`, `(T, D, h, w)`, `(T, D, h/2, w/2)`."""

    def __init__(self, width: int):
        super().__init__()
        self.up1 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2),
            InternVLVisionMapLayerNorm(width, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, 2),
        )
        self.up2 = nn.ConvTranspose2d(width, width, 2, 2)
        self.up3 = nn.Identity()
        self.up4 = nn.MaxPool2d(2, 2)

    def forward(self, feature_maps: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        height, width = feature_maps[-1].shape[-2:]
        if min(height, width) < 2:
            raise ValueError(f"The pyramid halves the patch grid: {height} x {width} patches are too few.")
        levels = (self.up1, self.up2, self.up3, self.up4)
        return tuple(level(feature_map) for level, feature_map in zip(levels, feature_maps, strict=True))


class InternVLVisionBackbone(BackboneMixin, InternVLVisionModel):
    """InternViT for dense models: `config.out_features` or `config.out_indices` choose the layers, `use_fpn` the
    pyramid. Blocks after the last chosen layer do not run; [`truncate_layers`] takes them away permanently.

    Loads from the folder of a bare tower, and the other way round.
    """

    new_head = ("neck",)

    def __init__(self, config: InternVLVisionConfig):
        config.set_output_features_output_indices(config.out_features, config.out_indices)
        if config.use_fpn and len(config.out_features) != PYRAMID_LEVELS:
            raise ValueError(
                f"`use_fpn` builds a pyramid of {PYRAMID_LEVELS} maps, got the layers {config.out_features}: choose "
                f"{PYRAMID_LEVELS}."
            )
        if config.patch_dropout:
            raise ValueError(
                f"A feature map needs all patches, but `patch_dropout` is {config.patch_dropout}: set it to 0."
            )
        super().__init__(config)
        self.num_features = [config.hidden_size] * len(config.stage_names)
        self.neck = InternVLVisionPyramid(config.hidden_size) if config.use_fpn else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.ConvTranspose2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            init.normal_(module.weight, std=(2.0 / fan_out) ** 0.5)
            init.zeros_(module.bias)

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **kwargs: Any
    ) -> BackboneOutput:
        """Feature maps of the chosen layers.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized; sides any multiple of the patch size.
            output_hidden_states: return all layers' tokens, too, up to the last chosen layer.

        Returns:
            `feature_maps`: for each of `out_features`, `(T, D, h, w)`, the class token left out; with `use_fpn` the
            pyramid.
        """
        stages = [self.stage_names.index(name) for name in self.out_features]
        whole = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        outputs = InternVLVisionModel.forward(  # not the mixin's
            self, pixel_values, num_layers=stages[-1], output_hidden_states=whole or stages, return_dict=True, **kwargs
        )
        # The last one from the output itself: where the tower has a final norm, it is normalized.
        chosen = [outputs.hidden_states[stage] for stage in stages[:-1]] + [outputs.last_hidden_state]
        grid = [side // patch for side, patch in zip(pixel_values.shape[-2:], self.config.patch_size, strict=True)]
        maps = tuple(states[:, 1:].transpose(1, 2).unflatten(2, grid) for states in chosen)  # (T, D, h, w) each
        return BackboneOutput(
            feature_maps=maps if self.neck is None else self.neck(maps),
            hidden_states=outputs.hidden_states if whole else None,
            attentions=outputs.attentions,
        )


class InternVisionBackbone(InternVLVisionBackbone):
    """[`InternVLVisionBackbone`] in the original format (`model_type: intern_vit_6b`)."""

    config: InternVisionConfig


__all__ = ["InternVLVisionBackbone", "InternVLVisionPyramid", "InternVisionBackbone"]
