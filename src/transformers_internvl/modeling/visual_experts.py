# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternLM2 with visual experts: the language model of Mono-InternVL (arXiv:2410.08202, section 3.2).

Every layer has two feed-forward networks of the same shape. Positions of image tokens go through `mlp_ve`, all others
through `mlp`; attention and norms are shared. The original code computes both networks at every position and keeps one
result by a 0/1 mask. Here every network sees only its own positions: the same values for half of the work.

Shape letters: B rows, L positions, D width, I positions of image tokens in all rows.

Source: `modeling_internlm2_ve.py` of the original repository.
"""

from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP
from transformers.utils import is_torchdynamo_compiling

from .language_models import InternLM2Config, InternLM2ForCausalLM, InternLM2Model


@strict
class InternLM2VEConfig(InternLM2Config):
    """Configuration of InternLM2 with visual experts. All fields are InternLM2's.

    In the original layout its `model_type` is `internlm2`; `architectures` says that there are visual experts.
    """

    model_type = "internlm2_ve"
    base_model_tp_plan: ClassVar[dict[str, str]] = {
        **InternLM2Config.base_model_tp_plan,
        "layers.*.mlp_ve.gate_proj": "colwise",
        "layers.*.mlp_ve.up_proj": "colwise",
        "layers.*.mlp_ve.down_proj": "rowwise",
    }


@strict
class LlamaVEConfig(InternLM2VEConfig):
    """The same configuration in the canonical layout, whose weights have Llama's names."""

    model_type = "llama_ve"


class InternLM2VEDecoderLayer(LlamaDecoderLayer):
    """A layer of InternLM2 with a second feed-forward network for image tokens."""

    def __init__(self, config: InternLM2VEConfig, layer_idx: int):
        super().__init__(config, layer_idx)
        self.mlp_ve = LlamaMLP(config)

    def forward(
        self, hidden_states: torch.Tensor, *, image_token_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> torch.Tensor:
        """`hidden_states` `(B, L, D)`; `image_token_mask` `(B, L)`, True at image tokens. None: there are none."""
        attended, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        normed = self.post_attention_layernorm(hidden_states)
        return hidden_states + self.feed_forward(normed, image_token_mask)

    def feed_forward(self, hidden_states: torch.Tensor, image_token_mask: torch.Tensor | None) -> torch.Tensor:
        """Each position `(B, L, D)` through the network it belongs to."""
        if image_token_mask is None:
            return self.mlp(hidden_states)
        mask = image_token_mask.to(hidden_states.device)  # (B, L)
        if is_torchdynamo_compiling() or torch.jit.is_tracing():
            # How many image tokens there are is data, which no graph has as a shape: both networks see all positions.
            return torch.where(mask[..., None], self.mlp_ve(hidden_states), self.mlp(hidden_states))
        routed = torch.empty_like(hidden_states)
        # Without an image, `mlp_ve` runs on no position: its weights get zeros as gradients, as ranks of a distributed
        # run need.
        routed[mask] = self.mlp_ve(hidden_states[mask])  # (I, D)
        routed[~mask] = self.mlp(hidden_states[~mask])  # (B*L - I, D)
        return routed


class InternLM2VEModel(InternLM2Model):
    """The decoder of Mono-InternVL, without a language modeling head.

    `forward` takes `image_token_mask` `(B, L)`, True at image tokens, beside the arguments of [`InternLM2Model`].
    Without it every position is text.
    """

    config_class = InternLM2VEConfig
    config: InternLM2VEConfig
    routes_image_tokens = True
    _no_split_modules: ClassVar[list[str]] = ["InternLM2VEDecoderLayer"]
    _can_record_outputs: ClassVar[dict[str, Any]] = {
        **InternLM2Model._can_record_outputs,
        "hidden_states": InternLM2VEDecoderLayer,
    }

    def __init__(self, config: InternLM2VEConfig):
        super().__init__(config)
        self.layers = nn.ModuleList(
            InternLM2VEDecoderLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.post_init()


class InternLM2VEForCausalLM(InternLM2ForCausalLM):
    """The decoder of Mono-InternVL with its language modeling head."""

    config_class = InternLM2VEConfig
    config: InternLM2VEConfig
    body_class = InternLM2VEModel


class LlamaVEModel(InternLM2VEModel):
    """The decoder of Mono-InternVL in the canonical layout."""

    config_class = LlamaVEConfig
    config: LlamaVEConfig


__all__ = [
    "InternLM2VEConfig",
    "InternLM2VEDecoderLayer",
    "InternLM2VEForCausalLM",
    "InternLM2VEModel",
    "LlamaVEConfig",
    "LlamaVEModel",
]
