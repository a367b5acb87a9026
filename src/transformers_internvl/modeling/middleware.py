# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT with QLLaMA behind it: the tower of InternVL-Chat v1 in its larger form (arXiv:2312.14238, section 3.4).

An image becomes its patches, as everywhere, and what the queries of QLLaMA make of them. The two do not come from the
same depth: the patches are taken some blocks before the end, the queries look at the tower's last output.

Shape letters: T images, S tokens of the tower, C its width, N queries, D width of QLLaMA.

Source: the authors' LLaVA code, `multimodal_encoder/internvl_14b/modeling_internvl.py`.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .configuration import InternVLConfig
from .outputs import InternVLVisionModelOutputWithPooling
from .qllama import QLlamaModel
from .sharding import gather_plans
from .vision import InternVLVisionModel, build_vision_tower


@dataclass
class InternVLMiddlewareOutput(InternVLVisionModelOutputWithPooling):
    """The outputs of the tower, and `query_hidden_states` `(T, N, D)` of QLLaMA."""

    query_hidden_states: torch.Tensor | None = None


class InternVLMiddlewareTower(nn.Module):
    """InternViT, QLLaMA without its text side, and the queries."""

    def __init__(self, config: InternVLConfig):
        super().__init__()
        self.vision_model = build_vision_tower(config.vision_config)
        self.qllama = QLlamaModel(config.middleware_config, text=False)
        queries = (1, config.middleware_config.num_query_token, config.middleware_config.hidden_size)
        self.query_tokens = nn.Parameter(torch.zeros(queries))
        self._gather_from_parts()

    def _gather_from_parts(self) -> None:
        """What a model around this module asks its children for, and finds in those that are models themselves."""
        parts: dict[str, Any] = {"vision_model": self.vision_model, "qllama": self.qllama}
        self._no_split_modules = set().union(*(part._no_split_modules for part in parts.values()))
        self._skip_keys_device_placement = set().union(*(p._skip_keys_device_placement for p in parts.values()))
        gather_plans(self, parts)

    def forward(
        self, pixel_values: torch.Tensor, num_layers: int | None = None, **kwargs: Any
    ) -> InternVLMiddlewareOutput:
        """As the tower's: `last_hidden_state` `(T, S, C)` is of block `num_layers`; the queries see the last."""
        outputs = self.vision_model(pixel_values, num_layers=num_layers, **kwargs)
        last = outputs.last_hidden_state
        if num_layers is not None:
            for layer in self.vision_model.encoder.layer[num_layers:]:
                last = layer(last)
            last = self.vision_model.layernorm(last)
        queries = self.qllama.encode_queries(self.query_tokens, last)
        return InternVLMiddlewareOutput(**outputs, query_hidden_states=queries)


def build_tower(config: InternVLConfig) -> InternVLVisionModel | InternVLMiddlewareTower:
    """The tower of a model: with QLLaMA if the configuration has one."""
    if config.middleware_config is not None:
        return InternVLMiddlewareTower(config)
    return build_vision_tower(config.vision_config)


__all__ = ["InternVLMiddlewareOutput", "InternVLMiddlewareTower", "build_tower"]
