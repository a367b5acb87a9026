# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Masks of packed samples, for language models that do not make them themselves.

Most of transformers' language models see from `position_ids` where a packed sample begins. Those that make their masks
without looking at positions would let samples see each other; they get their masks ready-made, one a layer type.
"""

from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

# Model types whose forward does not hand positions to the mask functions (transformers 5.23).
IGNORE_POSITIONS = ("gpt_oss",)
_MASKS = {"full_attention": create_causal_mask, "sliding_attention": create_sliding_window_causal_mask}


def packed_masks(
    config: PreTrainedConfig,
    inputs_embeds: torch.Tensor,
    attention_mask: Any,
    position_ids: torch.Tensor | None,
    past_key_values: Any,
) -> Any:
    """What to give to a language model as `attention_mask`.

    Args:
        config: of the language model.
        inputs_embeds: `(B, L, D)`.
        attention_mask: of the caller; anything but None is left as it is.
        position_ids: `(B, L)`, which begin anew with every packed sample.
        past_key_values: with a cache nothing is packed.

    Returns:
        `attention_mask`, or masks by layer type where samples would not be apart without them.
    """
    if attention_mask is not None or past_key_values is not None or position_ids is None:
        return attention_mask
    if config.model_type not in IGNORE_POSITIONS:
        return None
    options = {"config": config, "inputs_embeds": inputs_embeds, "attention_mask": None, "past_key_values": None}
    return {kind: _MASKS[kind](**options, position_ids=position_ids) for kind in set(config.layer_types)}


__all__ = ["packed_masks"]
