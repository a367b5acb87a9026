# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A chat model's parts and settings by the names that the original class gives them.

    vision_model      model.vision_tower
    mlp1              model.multi_modal_projector, as the original code's `nn.Sequential`
    language_model    model.language_model with lm_head, as a model of its own that generates
    select_layer, ps_version, downsample_ratio, patch_size      of the config

The modules are the same objects: to freeze, inspect or change them there is to do it here.

Source: `InternVLChatModel.__init__` in `modeling_internvl_chat.py` of the released checkpoints.
"""

import copy
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

_MODULES = {"vision_model": "vision_tower", "mlp1": "multi_modal_projector", "language_model": "language_model"}


class OriginalAttributesMixin(nn.Module):
    """Mixin in front of an [`InternVLForConditionalGeneration`]."""

    config: Any
    model: Any
    lm_head: nn.Module

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _MODULES and isinstance(value, nn.Module):
            raise AttributeError(
                f"`{name}` is another name of a part of this model, and cannot be replaced: set `model.model."
                f"{_MODULES[name]}`{' and `model.lm_head`' if name == 'language_model' else ''}. An adapter of peft "
                "goes around the whole model: `get_peft_model(model, config)`."
            )
        super().__setattr__(name, value)

    @property
    def vision_model(self) -> nn.Module:
        """The tower."""
        return self.model.vision_tower

    @property
    def mlp1(self) -> nn.Sequential:
        """The projector: norm, linear layer, activation, linear layer."""
        projector = self.model.multi_modal_projector
        return nn.Sequential(projector.layer_norm, projector.linear_1, projector.act, projector.linear_2)

    @property
    def language_model(self) -> PreTrainedModel:
        """The language model with its head, as transformers' class for causal language modeling."""
        body, head = self.model.language_model, self.lm_head
        known = self.__dict__.get("_language_model")
        if known is None or known.base_model is not body or known.get_output_embeddings() is not head:
            known = self.__dict__["_language_model"] = as_causal_model(body, head)
        known.generation_config, known.training = self.generation_config, self.training
        return known

    def get_decoder(self) -> nn.Module:
        """The language model without its head."""
        return self.model.language_model

    def set_decoder(self, decoder: nn.Module) -> None:
        """Replace the language model, the head stays."""
        self.model.language_model = decoder

    @property
    def select_layer(self) -> int | list[int]:
        """Which hidden state of the tower feeds the projector."""
        return self.config.vision_feature_layer

    @select_layer.setter
    def select_layer(self, value: int) -> None:
        self.config.vision_feature_layer = value

    @property
    def ps_version(self) -> str:
        """Version of the pixel shuffle."""
        return self.config.ps_version

    @ps_version.setter
    def ps_version(self, value: str) -> None:
        self.config.ps_version = value

    @property
    def downsample_ratio(self) -> float:
        """By what the sides of the patch grid shrink in the pixel shuffle."""
        return self.config.downsample_ratio

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        return self.config.vision_config.patch_size[0]


def as_causal_model(body: PreTrainedModel, head: nn.Module) -> PreTrainedModel:
    """A language model and its head as transformers' causal language model of that kind; the modules are shared."""
    small = copy.deepcopy(body.config)
    small.num_hidden_layers = 1
    if getattr(small, "layer_types", None):
        small.layer_types = small.layer_types[:1]
    with torch.device("meta"):
        causal = AutoModelForCausalLM.from_config(small)
    causal.config = body.config
    setattr(causal, causal.base_model_prefix, body)
    causal.set_output_embeddings(head)
    return causal


__all__ = ["OriginalAttributesMixin", "as_causal_model"]
