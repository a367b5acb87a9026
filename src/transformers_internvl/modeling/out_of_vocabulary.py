# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image tokens that the language model has no embedding for.

Vicuna's vocabulary is full: in InternVL-Chat v1 the first id behind it stands for an image token (the authors write a
single -200 for an image). No output has such an id, it can only come from a prompt. Its embedding is never read: the
features take its place. And logits processors, some of which index scores by a prompt's ids, must not see it.

Shape letters: B rows, L positions, V vocabulary, D width.
"""

from typing import Any

import torch
from torch import nn
from transformers import LogitsProcessorList

from .configuration import InternVLConfig

STAND_IN = 0  # `<unk>` in Llama's vocabulary


def has_no_embedding(config: InternVLConfig) -> bool:
    """Whether the id of an image token lies behind the vocabulary."""
    return config.image_token_id is not None and config.image_token_id >= config.text_config.vocab_size


def embed_known(embeddings: nn.Module, input_ids: torch.Tensor, config: InternVLConfig) -> torch.Tensor:
    """Embed ids `(B, L)` to `(B, L, D)`; in the place of image tokens without an embedding stands another's."""
    if has_no_embedding(config):
        input_ids = input_ids.masked_fill(input_ids == config.image_token_id, STAND_IN)
    return embeddings(input_ids)


class HidesImageTokens(LogitsProcessorList):
    """Logits processors that see `<unk>` where an image stands."""

    def __init__(self, processors: LogitsProcessorList, config: InternVLConfig):
        super().__init__(processors)
        self.token = config.image_token_id

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Scores `(B, V)` after ids `(B, L)`."""
        return super().__call__(input_ids.masked_fill(input_ids == self.token, STAND_IN), scores, **kwargs)


__all__ = ["HidesImageTokens", "embed_known", "has_no_embedding"]
