# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What tower and chat models return: upstream's classes, by upstream's names, with the additional fields of ours.

Shape letters: T tiles, S tokens of the tower, n image tokens of a tile; B rows, L positions, D width, V vocabulary.
"""

from dataclasses import dataclass

import torch
from transformers.modeling_outputs import (
    BaseModelOutputWithPooling,
    MultimodalBaseModelOutputWithPast,
    MultimodalCausalLMOutputWithPast,
)
from transformers.utils import logging

logger = logging.get_logger(__name__)


@dataclass
class InternVLVisionModelOutputWithPooling(BaseModelOutputWithPooling):
    """The tower's `last_hidden_state` `(T, S, D)`, `pooler_output` `(T, D)`, `hidden_states` and `attentions`."""


@dataclass
class InternVLFlashOutputWithPooling(InternVLVisionModelOutputWithPooling):
    """The tower's outputs where tiles were compressed: `pooler_output` is a list of T tensors `(n, D)` or `(n/4, D)`.

    `compressed_tiles` `(T,)` says which of them were; `gate` `(T, 2)` holds the router's probabilities that a tile
    may be compressed and that it is to be kept.
    """

    compressed_tiles: torch.Tensor | None = None
    gate: torch.Tensor | None = None


@dataclass
class InternVLPrunedOutputWithPooling(InternVLVisionModelOutputWithPooling):
    """The tower's outputs where image tokens were pruned: `pooler_output` is a list of T tensors `(k, D)`.

    `kept_tokens` `(T, k)` are the places in its tile of every token that was kept; None: they are means of several.
    """

    kept_tokens: torch.Tensor | None = None


class _NamesImageTokens:
    """The former name of the image tokens, as long as transformers carries it."""

    image_outputs: BaseModelOutputWithPooling | None

    @property
    def image_hidden_states(self) -> torch.Tensor | None:
        """Deprecated name of `image_outputs.pooler_output` `(T, n, D)`; None where there was no image."""
        logger.warning_once(
            "`image_hidden_states` is deprecated, and upstream transformers will return the hidden states of the "
            "tower's layers under this name from 5.30 on: use `image_outputs.pooler_output` for the image tokens."
        )
        return None if self.image_outputs is None else self.image_outputs.pooler_output


@dataclass
class InternVLModelOutputWithPast(_NamesImageTokens, MultimodalBaseModelOutputWithPast):
    """Outputs of [`InternVLModel`]: the language model's, and `image_outputs`, those of the tower.

    `image_outputs.pooler_output` `(T, n, D)` holds the projected image tokens; None where there was no image. Where
    tiles were compressed or pruned, `kept_positions` `(B, K)` are the positions of the rows that the outputs belong
    to, -1 at padding; None: all of them.
    """

    router_logits: tuple[torch.Tensor, ...] | None = None
    kept_positions: torch.Tensor | None = None


@dataclass
class InternVLCausalLMOutputWithPast(_NamesImageTokens, MultimodalCausalLMOutputWithPast):
    """Outputs of [`InternVLForConditionalGeneration`].

    `logits` `(B, L, V)` are None when they were not computed (see `skip_logits`); `aux_loss` is the load-balancing
    loss of a mixture of experts, already part of `loss`: with `num_items_in_batch`, in the share that this batch has
    in the step. `kept_positions` are those of [`InternVLModelOutputWithPast`].
    """

    aux_loss: torch.Tensor | None = None
    router_logits: tuple[torch.Tensor, ...] | None = None
    kept_positions: torch.Tensor | None = None


__all__ = [
    "InternVLCausalLMOutputWithPast",
    "InternVLFlashOutputWithPooling",
    "InternVLModelOutputWithPast",
    "InternVLPrunedOutputWithPooling",
    "InternVLVisionModelOutputWithPooling",
]
