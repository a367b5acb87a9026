# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From tiles to image tokens: tower, pixel shuffle, projector.

Shape letters: T tiles, S tokens of the tower (class token + h*w patches), C its width, f = 1 / downsample_ratio, N
queries of the middleware (0 without one), n = N + h*w / f**2 image tokens of a tile, D width of the language model.
"""

from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, is_torchdynamo_compiling
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults

from .configuration import InternVLConfig
from .pixel_shapes import check_tiles
from .projector import pixel_shuffle
from .sharding import is_sharded


class EncodesImages:
    """The image side of a model with `vision_tower` and `multi_modal_projector`, mixed into it."""

    config: InternVLConfig
    dtype: torch.dtype
    training: bool
    vision_tower: nn.Module
    multi_modal_projector: nn.Module

    @merge_with_config_defaults
    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: torch.Tensor,
        vision_feature_layer: int | list[int] | None = None,
        vision_feature_select_strategy: str | None = None,
        image_flags: torch.Tensor | None = None,
        vision_chunk_size: int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode tiles into image tokens.

        Args:
            pixel_values: `(T, 3, height, width)`, normalized.
            vision_feature_layer: which hidden state of the tower is used, embeddings counted; -1 is the last block's
                output. Blocks behind it are not run. Defaults to the config's.
            vision_feature_select_strategy: `"default"` drops the class token, which has no place in the grid.
            image_flags: `(T,)` or `(T, 1)`, 0 marks a dummy tile, which is left out. None: all are real.
            vision_chunk_size: outside training, encode so many tiles at a time. Defaults to the config's. A tower that
                is sharded over ranks, compiled together with the rest, or exported, takes them all at once.

        Returns:
            `pooler_output` `(T, n, D)`, the image tokens; `last_hidden_state` `(T, S, C)` of the layer that was used;
            on request `hidden_states` and `attentions` of the tower.
        """
        check_tiles(pixel_values)
        layer = _single_layer(vision_feature_layer)
        if vision_feature_select_strategy != "default":
            raise ValueError(
                "`vision_feature_select_strategy` must be 'default': pixel shuffle works on the patch grid, which the "
                f"class token is no part of. Got {vision_feature_select_strategy!r}."
            )
        if image_flags is not None:
            pixel_values = pixel_values[image_flags.reshape(-1).to(pixel_values.device) == 1]
        pixel_values = pixel_values.to(dtype=self.dtype)
        chunk = vision_chunk_size or self.config.vision_chunk_size
        # Ranks with other numbers of tiles must call a sharded tower equally often: once. And a graph has no loops: it
        # would hold the whole tower once a chunk, and be another one for every number of chunks.
        graph = is_torchdynamo_compiling() or torch.jit.is_tracing()
        whole = self.training or graph or is_sharded(self.vision_tower)
        if whole or chunk is None or len(pixel_values) <= chunk:
            return self._encode(pixel_values, layer, **kwargs)
        return _join_chunks([self._encode(part, layer, **kwargs) for part in pixel_values.split(chunk)])

    def _encode(self, pixel_values: torch.Tensor, layer: int, **kwargs: Any) -> BaseModelOutputWithPooling:
        """One chunk through tower, shuffle and projector."""
        depth = self.config.vision_config.num_hidden_layers
        used = layer if layer >= 0 else depth + 1 + layer
        if not 0 <= used <= depth:
            raise ValueError(f"The tower has hidden states 0 to {depth} (-1 is the last), got layer {layer}.")
        whole = bool(kwargs.get("output_hidden_states"))  # who asks for hidden states gets those of every block
        outputs = self.vision_tower(pixel_values, num_layers=None if whole or layer == -1 else used, **kwargs)
        features = outputs.last_hidden_state if layer == -1 or not whole else outputs.hidden_states[layer]
        outputs.last_hidden_state = features  # (T, S, C)

        patch_rows, patch_columns = self.config.vision_config.patch_size
        grid = (pixel_values.shape[-2] // patch_rows, pixel_values.shape[-1] // patch_columns)  # h, w
        cells = features[:, 1:].reshape(-1, *grid, features.shape[-1])  # (T, h, w, C)
        cells = pixel_shuffle(cells, self.config.downsample_ratio, self.config.ps_version)  # (T, h/f, w/f, C*f*f)
        queries = () if self.config.middleware_config is None else (outputs.query_hidden_states,)
        outputs.pooler_output = self.multi_modal_projector(cells.flatten(1, 2), *queries)  # (T, n, D)
        return outputs


def _single_layer(layer: int | list[int] | None) -> int:
    """The one layer that feeds the projector."""
    if isinstance(layer, int):
        return layer
    if layer is not None and len(layer) == 1:
        return layer[0]
    raise ValueError(f"`vision_feature_layer` must be one layer: the projector has room for one, got {layer}.")


def real_first(features: torch.Tensor, image_flags: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put dummy tiles last, the others stay in their order.

    Args:
        features: `(T, n, D)`, of all tiles.
        image_flags: `(T,)`, 0 marks a dummy tile.

    Returns:
        `(T, n, D)`, and how many tiles are real, `()`.
    """
    dummy = (image_flags != 1).long().to(features.device)
    return features[dummy.sort(stable=True).indices], (1 - dummy).sum()


def _join_chunks(chunks: list[BaseModelOutputWithPooling]) -> BaseModelOutputWithPooling:
    """The outputs of several chunks of tiles as the output of all of them."""
    joined = type(chunks[0])()
    for key in list(chunks[0]):
        values = [chunk[key] for chunk in chunks]
        if isinstance(values[0], tuple):
            joined[key] = tuple(torch.cat(layer) for layer in zip(*values, strict=True))
        else:
            joined[key] = torch.cat(values)
    return joined


__all__ = ["EncodesImages", "real_first"]
