# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Generation under V2PE: images of the prompt take fractional steps, new tokens count on by 1 from its last position.

Keys in a cache keep the positions that they were made with. A conversation that goes on with a cache gives the whole
prompt again, as transformers wants it, and the same stride.

Shape letters: B rows, L positions, D width.
"""

from typing import Any

import torch

from .visual_positions import VisualStride, is_off, visual_positions


def refuse_positions(v2pe_stride: VisualStride, position_ids: torch.Tensor | None) -> None:
    """Raise `ValueError` for position ids beside a stride that makes them, or for a stride that is none."""
    if not is_off(v2pe_stride) and position_ids is not None:
        raise ValueError("`v2pe_stride` makes the position ids: leave out `position_ids`, or the stride.")


def prompt_positions(
    model: Any, inputs_tensor: torch.Tensor, model_kwargs: dict[str, Any], stride: VisualStride
) -> torch.Tensor:
    """Positions `(B, L)` of prompts, ids `(B, L)` or embeddings `(B, L, D)`.

    Args:
        model: a chat model, whose `model` has `find_placeholders`.
        inputs_tensor: ids or embeddings.
        model_kwargs: of a call of `generate`: ids beside embeddings, and the mask.
        stride: the step of an image token.
    """
    embeds = model_kwargs.get("inputs_embeds")
    ids = model_kwargs["input_ids"] if embeds is not None and "input_ids" in model_kwargs else inputs_tensor
    if embeds is not None and ids.shape[1:2] != embeds.shape[1:2]:
        ids = None
    placeholders = model.model.find_placeholders(None if ids is None or ids.is_floating_point() else ids, embeds)
    return visual_positions(placeholders, stride, model.config.image_seq_length, model_kwargs.get("attention_mask"))


__all__ = ["prompt_positions", "refuse_positions"]
