# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation under V2PE: images of the prompt take fractional steps, new tokens count on by 1 from its last position.

Keys in a cache keep the positions that they were made with. A conversation that goes on with a cache gives the whole
prompt again, as transformers wants it, and the same stride.

Shape letters: B rows, L positions, D width.
"""

from typing import Any

import torch
from transformers import GenerationMixin

from .visual_positions import VisualStride, is_off, visual_positions


class VisualPositionsGenerationMixin(GenerationMixin):
    """Mixin in front of transformers' generation, for a model with `model.find_placeholders`."""

    config: Any
    model: Any

    def generate(self, *args: Any, v2pe_stride: VisualStride = None, **kwargs: Any) -> Any:
        """As transformers'.

        Args:
            v2pe_stride: by how much positions grow from one token of an image to the next, a power of two; 1: off.

        Raises:
            ValueError: a stride that is none, or `position_ids` beside it.
        """
        if is_off(v2pe_stride):
            return super().generate(*args, **kwargs)
        if kwargs.get("position_ids") is not None:
            raise ValueError("`v2pe_stride` makes the position ids: leave out `position_ids`, or the stride.")
        return super().generate(*args, v2pe_stride=v2pe_stride, **kwargs)

    def _prepare_position_ids_for_generation(
        self, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Positions `(B, L)` of prompts, ids `(B, L)` or embeddings `(B, L, D)`."""
        stride = model_kwargs.pop("v2pe_stride", None)  # not for the steps: they get positions
        if stride is None:
            return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)
        embeds = model_kwargs.get("inputs_embeds")
        ids = model_kwargs["input_ids"] if embeds is not None and "input_ids" in model_kwargs else inputs_tensor
        if embeds is not None and ids.shape[1:2] != embeds.shape[1:2]:
            ids = None
        placeholders = self.model.find_placeholders(None if ids is None or ids.is_floating_point() else ids, embeds)
        mask = model_kwargs.get("attention_mask")
        return visual_positions(placeholders, stride, self.config.image_seq_length, mask)


__all__ = ["VisualPositionsGenerationMixin"]
