# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The rows of a batch on their way through the chat model.

Shape letters: B rows, L positions, K positions that are kept where tiles are compressed or pruned, D width.
"""

from dataclasses import dataclass

import torch

from ..flash.shortening import Shortening


@dataclass
class Rows:
    """Ids or embeddings of a batch, and what belongs to each position. The steps of `forward` change it in place.

    Attributes:
        input_ids: `(B, L)`; None: the caller gave embeddings.
        inputs_embeds: `(B, L, D)`, of text tokens, and in the end of image tokens.
        attention_mask: `(B, past + L)`, or None.
        position_ids: `(B, L)`, or None.
        image_copies: how often the rows go through all tiles.
    """

    input_ids: torch.Tensor | None
    inputs_embeds: torch.Tensor
    attention_mask: torch.Tensor | None = None
    position_ids: torch.Tensor | None = None
    image_copies: int = 1

    def shorten(self, shortened: Shortening) -> None:
        """Leave out the positions that do not stay: `(B, L)` becomes `(B, K)`."""
        self.input_ids = None if self.input_ids is None else shortened.apply(self.input_ids)
        self.inputs_embeds = shortened.apply(self.inputs_embeds)
        self.attention_mask = shortened.mask(self.attention_mask)
        self.position_ids = shortened.positions(self.position_ids)


__all__ = ["Rows"]
