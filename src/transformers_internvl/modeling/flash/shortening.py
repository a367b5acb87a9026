# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Sequences without the positions of image tokens that compression or pruning leaves out.

A prompt is written before anyone has seen the pixels, with as many placeholders for every tile as a whole one has. Of
the placeholders of a shorter tile the first ones stay, the others leave the sequence. What is behind them moves up,
so rows of a batch that had one length may need padding afterwards:

    whole tile of 4, compressed tile of 1        a A A A A B B B B b      ->      . . . a A A A A B b
                                                 a B B B B B B B B b      ->      . . . . . . a B B b

Shape letters: B rows, L positions of a prompt, K positions that a row keeps at most, T tiles, n image tokens of a
whole tile.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..pretrained.packed_masks import sample_numbers

IGNORED = -100  # a label that is none


def tokens_per_tile(placeholders: torch.Tensor, num_tiles: int) -> int:
    """How many image tokens a whole tile has, n, by the prompts that were written for them.

    Args:
        placeholders: `(B, L)`, True at image tokens.
        num_tiles: T.

    Raises:
        ValueError: they are no equal shares for so many tiles.
    """
    tokens = int(placeholders.sum())
    if num_tiles == 0 or tokens % num_tiles:
        raise ValueError(
            f"Image features and image tokens do not match: {tokens} image tokens for {num_tiles} tiles, of which all "
            "have equally many in a prompt. Let the processor write it, and do not truncate the result."
        )
    return tokens // num_tiles


def tiles_of_samples(
    placeholders: torch.Tensor,
    num_tiles: int,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
) -> list[int]:
    """How many tiles every sample has: a row, or of rows of packs every packed sample.

    Args:
        placeholders: `(B, L)`, True at image tokens.
        num_tiles: T.
        attention_mask: of the rows. None, with positions that begin again: the rows are packs.
        position_ids: `(B, L)`.

    Raises:
        ValueError: the image tokens of a sample are no whole tiles.
    """
    per_tile = tokens_per_tile(placeholders, num_tiles)
    segments = None
    if attention_mask is None and position_ids is not None:
        segments = sample_numbers(position_ids.expand(len(placeholders), -1))
    counts = placeholders.sum(-1).tolist()
    if segments is not None:
        rows = zip(placeholders, segments, strict=True)
        counts = [count for row, samples in rows for count in samples[row].bincount(minlength=1).tolist()]
    for index, count in enumerate(counts):
        if count % per_tile:
            raise ValueError(
                f"Sample {index} has {count} image tokens, no multiple of the {per_tile} of a tile: let the processor "
                "write them, and do not truncate the result."
            )
    return [count // per_tile for count in counts]


@dataclass(frozen=True)
class Shortening:
    """Which positions of the rows of a batch stay.

    Attributes:
        kept: `(B, K)`, the indices of a row's positions that stay, in order; -1 is padding.
        length: L.
    """

    kept: torch.Tensor
    length: int

    @classmethod
    def of(
        cls,
        placeholders: torch.Tensor,
        tile_lengths: Sequence[int],
        attention_mask: torch.Tensor | None = None,
        pads_left: bool = False,
    ) -> "Shortening":
        """From the image tokens that every tile has in the end.

        Args:
            placeholders: `(B, L)`, True at image tokens, n for every tile.
            tile_lengths: of T tiles, in order.
            attention_mask: `(B, past + L)`: rows are padded on the side on which this is; and its padding goes, as far
                as all rows have it.
            pads_left: the side, where the mask does not tell.

        Raises:
            ValueError: there are not n placeholders for every tile.
        """
        rows, length = placeholders.shape
        per_tile = tokens_per_tile(placeholders, len(tile_lengths))
        if per_tile < max(tile_lengths):
            raise ValueError(
                f"The prompts have {per_tile} image tokens for every tile, and one tile has {max(tile_lengths)} "
                "features: encode tiles of the size that the prompts were written for."
            )
        lengths = torch.tensor(list(tile_lengths), device=placeholders.device)
        stays = torch.ones_like(placeholders)
        stays[placeholders] = (torch.arange(per_tile, device=lengths.device) < lengths[:, None]).flatten()
        if attention_mask is not None:
            _check_mask(attention_mask, rows, length)
            real = attention_mask[:, -length:].bool()
            stays &= real
            pads_left = bool((~real[:, 0]).any()) or (pads_left and bool(real.all()))
        return cls.of_kept(stays, pads_left)

    @classmethod
    def of_kept(cls, stays: torch.Tensor, pads_left: bool) -> "Shortening":
        """From the positions that stay, `(B, L)`, True there; padding goes to the left, or to the right."""
        rows, length = stays.shape
        counts = stays.sum(-1)
        longest = int(counts.max())
        places = torch.arange(longest, device=counts.device).expand(rows, -1)
        filled = places >= longest - counts[:, None] if pads_left else places < counts[:, None]
        kept = places.new_full((rows, longest), -1)
        kept[filled] = stays.nonzero()[:, 1]  # row by row
        return cls(kept, length)

    @property
    def real(self) -> torch.Tensor:
        """`(B, K)`, False at padding."""
        return self.kept >= 0

    def apply(self, tensor: torch.Tensor, fill: float = 0) -> torch.Tensor:
        """`(B, L, ...)` to `(B, K, ...)`, with `fill` at padding."""
        return at_kept(tensor, self.kept, fill)

    def mask(self, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
        """The mask `(B, past + K)` for a mask `(B, past + L)`; None if there was none and none is needed."""
        if attention_mask is None:
            return None if bool(self.real.all()) else self.real.long()
        past = attention_mask[:, : attention_mask.shape[1] - self.length]
        return torch.cat([past, self.real.to(attention_mask.dtype)], dim=1)

    def positions(self, position_ids: torch.Tensor | None) -> torch.Tensor | None:
        """Positions `(B, K)` that count on over what is left, within every sample, for positions `(B, L)`."""
        if position_ids is None:
            return None
        if position_ids.is_floating_point():
            raise ValueError(
                "Tiles are compressed or pruned, and fractional `position_ids` were counted over whole ones: pass "
                "`v2pe_stride` instead, or keep all image tokens (`flash_mode=False`, no `kept_tokens`)."
            )
        position_ids = position_ids.expand(len(self.kept), -1)
        steps = position_ids.diff(dim=-1, prepend=position_ids[:, :1])
        begins = (steps <= 0) | (torch.arange(self.length, device=steps.device) == 0)  # a row, a sample of a pack
        stays = torch.zeros_like(begins).scatter(1, self.kept.clamp(min=0), self.real)
        gone = (~stays).cumsum(-1)
        before = torch.where(begins, gone - (~stays).long(), 0).cummax(-1).values  # lost in earlier samples
        return self.apply(position_ids - (gone - before))


def _check_mask(attention_mask: torch.Tensor, rows: int, length: int) -> None:
    if attention_mask.dim() != 2 or attention_mask.shape[0] != rows or attention_mask.shape[1] < length:
        raise ValueError(
            f"`attention_mask` must be ({rows}, {length}), or longer by what a cache holds, where tiles are "
            f"compressed or pruned: got {tuple(attention_mask.shape)}. A mask of pairs is not shortened."
        )


def at_kept(tensor: torch.Tensor, kept: torch.Tensor, fill: float = 0) -> torch.Tensor:
    """The kept positions of a tensor.

    Args:
        tensor: `(B, L, ...)`.
        kept: `(B, K)`, -1 at padding.
        fill: what stands at padding.
    """
    kept = kept.to(tensor.device)
    index = kept.clamp(min=0).reshape(*kept.shape, *[1] * (tensor.dim() - 2)).expand(-1, -1, *tensor.shape[2:])
    padding = (kept < 0).reshape(*kept.shape, *[1] * (tensor.dim() - 2))
    return tensor.gather(1, index).masked_fill(padding, fill)


def shifted_at_kept(labels: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Labels that are shifted already, `(B, L)` to `(B, K)`: every kept position predicts the next one."""
    own = torch.nn.functional.pad(labels[:, :-1], (1, 0), value=IGNORED)  # of the position itself
    following = torch.nn.functional.pad(at_kept(own, kept, IGNORED)[:, 1:], (0, 1), value=IGNORED)
    last = (kept.to(labels.device) == labels.shape[1] - 1) & (labels[:, -1:] != IGNORED)
    return torch.where(last, labels[:, -1:], following)


__all__ = ["Shortening", "at_kept", "shifted_at_kept", "tiles_of_samples", "tokens_per_tile"]
