# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT, the vision tower of every InternVL (arXiv:2312.14238, section 3.2; 300M: arXiv:2412.05271, section 3.2).

A plain ViT with learned absolute positions, LayerScale and no final norm, in two shapes: the 6B (RMSNorm, query and
key normalized over the full width, no qkv bias) and the 300M (LayerNorm, qkv bias). Parameter names are upstream
transformers'.

Shape letters: T tiles (images), S tokens (class token + patches), D width, H heads, C channels per head,
h x w patch grid, P side of the square position table.
"""

import math
from typing import Any

import torch
from torch import nn
from transformers import GradientCheckpointingLayer
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from ..outputs import InternVLVisionModelOutputWithPooling
from ..pretrained.base import InternVLPreTrainedModel
from ..pretrained.older_arguments import refuse_stray_caches
from .configuration import InternVisionConfig, InternVisionPatchConfig, InternVLVisionConfig
from .layers import NORMS, InternVLVisionRMSNorm, PatchDropout, StochasticDepth, check_tiles, eager_attention_forward


def interpolate_positions(table: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Fit a position table to another patch grid: bicubic, in float32, the class token's row untouched.

    Args:
        table: `(1, 1 + P*P, D)`.
        height, width: rows and columns of the new grid, in patches.

    Returns:
        `(1, 1 + height*width, D)` in the table's dtype; the table itself when the grid is already right.
    """
    side = math.isqrt(int(table.shape[1]) - 1)  # int: while a graph is traced, sizes are tensors
    if (height, width) == (side, side):
        return table
    if table.shape[1] != 1 + side**2:
        raise ValueError(f"Position tables are square grids, got {table.shape[1] - 1} patches: see `image_size`.")
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, P, P)
    grid = nn.functional.interpolate(grid.float(), size=(height, width), mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(1, height * width, -1)  # (1, h*w, D)
    return torch.cat([table[:, :1], grid.to(table.dtype)], dim=1)


class InternVLVisionPatchEmbeddings(nn.Module):
    """Cuts pixels into patches and projects each: one convolution whose stride is its size."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        self.patch_size = tuple(config.patch_size)
        self.num_channels = config.num_channels
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=self.patch_size, stride=self.patch_size
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = check_tiles(pixel_values).shape
        if channels != self.num_channels:
            raise ValueError(f"`pixel_values` must have {self.num_channels} channels (T, C, H, W), got {channels}.")
        if height % self.patch_size[0] or width % self.patch_size[1]:
            raise ValueError(
                f"Height and width of `pixel_values` must be multiples of the patch size {self.patch_size}, got "
                f"{height} x {width}: resize the images, or let the image processor do it."
            )
        return self.projection(pixel_values.to(self.projection.weight.dtype))  # (T, D, h, w)


class InternVLVisionEmbeddings(nn.Module):
    """Class token and patches, plus the position table fitted to the patch grid."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        rows, columns = (side // patch for side, patch in zip(config.image_size, config.patch_size, strict=True))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size)) if config.use_mask_token else None
        self.patch_embeddings = InternVLVisionPatchEmbeddings(config)
        self.position_embeddings = None
        if config.use_absolute_position_embeddings:
            self.position_embeddings = nn.Parameter(torch.zeros(1, rows * columns + 1, config.hidden_size))
        self.dropout = nn.Sequential(nn.Dropout(config.hidden_dropout_prob), PatchDropout(config))

    def forward(self, pixel_values: torch.Tensor, bool_masked_pos: torch.Tensor | None = None) -> torch.Tensor:
        patches = self.patch_embeddings(pixel_values)  # (T, D, h, w)
        height, width = patches.shape[-2:]
        hidden_states = patches.flatten(2).transpose(1, 2)  # (T, h*w, D)
        if bool_masked_pos is not None:
            if self.mask_token is None:
                raise ValueError("`bool_masked_pos` needs a tower with `use_mask_token=True` in its config.")
            masked = bool_masked_pos.unsqueeze(-1).to(hidden_states.dtype)  # (T, h*w, 1)
            hidden_states = hidden_states * (1 - masked) + self.mask_token * masked
        classes = self.cls_token.expand(hidden_states.shape[0], -1, -1)
        hidden_states = torch.cat([classes, hidden_states], dim=1)  # (T, S, D)
        if self.position_embeddings is not None:
            hidden_states = hidden_states + interpolate_positions(self.position_embeddings, height, width)
        return self.dropout(hidden_states)


class InternVLVisionAttention(nn.Module):
    """Bidirectional attention. The 6B towers normalize query and key over the full width, before the head split."""

    is_causal = False

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        width, bias = config.hidden_size, config.attention_bias
        self.config = config
        self.head_dim = width // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, width, bias=bias)
        self.v_proj = nn.Linear(width, width, bias=bias)
        self.projection_layer = nn.Linear(width, width)
        self.projection_dropout = nn.Dropout(config.projection_dropout)
        self.q_norm = InternVLVisionRMSNorm(width, config.layer_norm_eps) if config.use_qk_norm else nn.Identity()
        self.k_norm = InternVLVisionRMSNorm(width, config.layer_norm_eps) if config.use_qk_norm else nn.Identity()

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        heads = (*hidden_states.shape[:-1], -1, self.head_dim)  # (T, S, H, C)
        query = self.q_norm(self.q_proj(hidden_states)).view(heads).transpose(1, 2)  # (T, H, S, C)
        key = self.k_norm(self.k_proj(hidden_states)).view(heads).transpose(1, 2)  # (T, H, S, C)
        value = self.v_proj(hidden_states).view(heads).transpose(1, 2)  # (T, H, S, C)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            is_causal=False,
            **kwargs,
        )
        return self.projection_dropout(self.projection_layer(output.flatten(2))), weights  # (T, S, D)


class InternVLVisionMLP(nn.Module):
    """Two linear layers around the activation."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        self.activation_fn = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class InternVLVisionLayer(GradientCheckpointingLayer):
    """Pre-norm block with LayerScale (arXiv:2103.17239) and stochastic depth."""

    def __init__(self, config: InternVLVisionConfig, drop_path: float = 0.0):
        super().__init__()
        norm = NORMS[config.norm_type]
        self.attention = InternVLVisionAttention(config)
        self.mlp = InternVLVisionMLP(config)
        self.layernorm_before = norm(config.hidden_size, eps=config.layer_norm_eps)
        self.layernorm_after = norm(config.hidden_size, eps=config.layer_norm_eps)
        self.lambda_1 = nn.Parameter(config.layer_scale_init_value * torch.ones(config.hidden_size))
        self.lambda_2 = nn.Parameter(config.layer_scale_init_value * torch.ones(config.hidden_size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        attended, _ = self.attention(self.layernorm_before(hidden_states), **kwargs)
        hidden_states = hidden_states + self.drop_path(self.lambda_1 * attended)
        refined = self.dropout(self.mlp(self.layernorm_after(hidden_states)))
        return hidden_states + self.drop_path(self.lambda_2 * refined)


def drop_path_rates(config: InternVLVisionConfig) -> list[float]:
    """With what probability each block is dropped: from 0 at the first up to `drop_path_rate` at the last."""
    last = max(config.num_hidden_layers - 1, 1)
    return [config.drop_path_rate * index / last for index in range(config.num_hidden_layers)]


class InternVLVisionEncoder(nn.Module):
    """The stack of blocks; the chance to be dropped grows linearly with depth."""

    def __init__(self, config: InternVLVisionConfig):
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList(InternVLVisionLayer(config, rate) for rate in drop_path_rates(config))
        self.gradient_checkpointing = False

    layers = property(lambda self: self.layer, doc="The blocks, by the original name.")

    def forward(self, hidden_states: torch.Tensor, num_layers: int | None = None, **kwargs: Any) -> torch.Tensor:
        for layer in self.layer[:num_layers]:
            hidden_states = layer(hidden_states, **kwargs)
        return hidden_states  # (T, S, D)


class InternVLVisionPreTrainedModel(InternVLPreTrainedModel):
    """Weight initialization and capabilities of the tower."""

    config: InternVLVisionConfig
    base_model_prefix = "internvl_vision"
    main_input_name = "pixel_values"
    input_modalities = ("image", "video")
    _no_split_modules = ["InternVLVisionLayer", "InternVLVisionEmbeddings", "AttentionPool", "ClassifierAttentionPool"]
    _can_record_outputs = {"hidden_states": InternVLVisionLayer, "attentions": InternVLVisionAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, InternVLVisionEmbeddings):
            init.zeros_(module.cls_token)
            if module.mask_token is not None:
                init.zeros_(module.mask_token)
            if module.position_embeddings is not None:
                init.zeros_(module.position_embeddings)
        elif isinstance(module, InternVLVisionLayer):
            init.constant_(module.lambda_1, self.config.layer_scale_init_value)
            init.constant_(module.lambda_2, self.config.layer_scale_init_value)


class InternVLVisionModel(InternVLVisionPreTrainedModel):
    """InternViT under upstream's name, configuration and parameter names.

    `pooler_output` is the mean over the patches when `config.use_mean_pooling` (the default), else the class token
    after the final norm: upstream documents it so and leaves it empty.
    """

    frozen = False  # whether it stays in evaluation mode (no stochastic depth) while the model around it trains

    def __init__(self, config: InternVLVisionConfig):
        super().__init__(config)
        self.embeddings = InternVLVisionEmbeddings(config)
        self.encoder = InternVLVisionEncoder(config)
        self.layernorm = nn.Identity()
        if not config.use_mean_pooling:
            self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def train(self, mode: bool = True) -> "InternVLVisionModel":
        """As PyTorch's, where the tower is not `frozen`."""
        return super().train(mode and not self.frozen)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embeddings

    @torch.no_grad()
    def resize_positions(self, image_size: int) -> None:
        """Fit the position table to square images of `image_size` pixels permanently, and note it in the config."""
        table = self.embeddings.position_embeddings
        if table is None:
            raise ValueError("This tower has no position table to resize (`use_absolute_position_embeddings=False`).")
        rows, columns = (image_size // patch for patch in self.config.patch_size)
        resized = interpolate_positions(table, rows, columns)
        self.embeddings.position_embeddings = nn.Parameter(resized, requires_grad=table.requires_grad)
        self.config.image_size = (image_size, image_size)

    def pool(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """One vector per tile from the tower's output: `(T, S, D)` to `(T, D)`."""
        return hidden_states[:, 1:].mean(dim=1) if self.config.use_mean_pooling else hidden_states[:, 0]

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values: torch.Tensor,
        bool_masked_pos: torch.Tensor | None = None,
        num_layers: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> InternVLVisionModelOutputWithPooling:
        """Encode tiles.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized; sides any multiple of the patch size.
            bool_masked_pos: `(T, h*w)`, True where the mask token replaces a patch.
            num_layers: run only so many blocks and return what the last of them gives, without the final norm.

        Returns:
            `last_hidden_state` `(T, 1 + h*w, D)`, class token first, and `pooler_output` `(T, D)`.
        """
        refuse_stray_caches(self, kwargs, "nowhere: tiles have none")
        hidden_states = self.embeddings(pixel_values, bool_masked_pos)
        hidden_states = self.encoder(hidden_states, num_layers, **kwargs)
        if num_layers is None or num_layers == len(self.encoder.layer):
            hidden_states = self.layernorm(hidden_states)
        return InternVLVisionModelOutputWithPooling(hidden_states, self.pool(hidden_states))


class InternVisionModel(InternVLVisionModel):
    """InternViT in the original format (`model_type: intern_vit_6b`); `pooler_output` is the class token."""

    config: InternVisionConfig

    def pool(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states[:, 0]

    def resize_pos_embeddings(self, old_size: int, new_size: int, patch_size: int) -> None:
        """Fit the position table to another image size permanently, as the original method of that name does.

        Args:
            old_size, new_size: side of the image in pixels, before and after.
            patch_size: side of a patch in pixels.
        """
        table = self.embeddings.position_embeddings
        if table is not None and table.shape[1] - 1 != (old_size // patch_size) ** 2:
            raise ValueError(
                f"The position table has {table.shape[1] - 1} patches, but old_size {old_size} with patch_size "
                f"{patch_size} would mean {(old_size // patch_size) ** 2}: pass the size the model has now."
            )
        self.resize_positions(new_size)


class InternVisionPatchModel(InternVisionModel):
    """The tower of Mono-InternVL in the original format (`model_type: intern_vit_patch`): embeddings without blocks.

    `last_hidden_state` is the embeddings, class token first, which the original model leaves out.
    """

    config: InternVisionPatchConfig


# Configuration -> tower, the more special ones first.
_TOWERS: dict[type[InternVLVisionConfig], type[InternVLVisionModel]] = {
    InternVisionPatchConfig: InternVisionPatchModel,
    InternVisionConfig: InternVisionModel,
    InternVLVisionConfig: InternVLVisionModel,
}


def build_vision_tower(config: InternVLVisionConfig) -> InternVLVisionModel:
    """The tower for a configuration: the original class for the original configuration, else the canonical one."""
    return next((tower for kind, tower in _TOWERS.items() if isinstance(config, kind)), InternVLVisionModel)(config)


__all__ = [
    "InternVLVisionModel",
    "InternVLVisionPreTrainedModel",
    "InternVisionModel",
    "InternVisionPatchModel",
    "build_vision_tower",
    "drop_path_rates",
    "interpolate_positions",
]
