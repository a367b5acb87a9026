# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Samples to batches: packed into one sequence, or padded to rows.

A packed batch is isolated by nothing but its positions, which begin at 0 with every sample, and by the missing
attention mask: that is what transformers looks at on every attention backend, and flash attention takes one row only.

      input_ids      a a a a a b b b c c c c 0 0
      position_ids   0 1 2 3 4 0 1 2 0 1 2 3 0 0
      labels         - - a a a - - b - c c c - -       the first of a sample would be predicted by the one before
      loss_weight    0 0 x x x 0 0 y 0 z z z 0 0       by the labels of the sample (`losses.REDUCTIONS`)

Shape letters: B rows, L tokens, T tiles, S tile side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...modeling.losses import IGNORE_INDEX, REDUCTIONS, token_weights
from ..feature_cache.store import NEW_TILES
from .packing import Image, Piece

Sample = dict[str, torch.Tensor]


def as_piece(sample: Sample, key: Any, start_image_id: int, end_image_id: int) -> Piece:
    """A sample as packers see it.

    Args:
        sample: `input_ids`, `labels` `(L,)`; with images `pixel_values` `(T, 3, S, S)`, and `num_patches`, the tiles
            of each image, or one a frame.
        key: tells samples apart.
        start_image_id, end_image_id: ids of `<img>` and `</img>`.

    Raises:
        ValueError: there are not as many tiles as the images and frames between the tokens need.
    """
    ids = sample["input_ids"]
    starts = (ids == start_image_id).nonzero().flatten().tolist()
    stops = ((ids == end_image_id).nonzero().flatten() + 1).tolist()
    total = len(sample["pixel_values"]) if "pixel_values" in sample else 0
    lengths = [stop - start - 2 for start, stop in zip(starts, stops, strict=True)]
    per_tile = sum(lengths) // total if total else 0
    tiles = [length // per_tile if per_tile else 0 for length in lengths]
    if sum(tiles) != total or any(length != count * per_tile for length, count in zip(lengths, tiles, strict=True)):
        raise ValueError(f"Sample {key!r} has {total} tiles, but {lengths} image tokens between <img> and </img>.")
    images = tuple(Image(*place) for place in zip(starts, stops, tiles, strict=True))
    return Piece(key, 0, len(ids), images, _stretches(sample["labels"] != IGNORE_INDEX))


def _stretches(mask: torch.Tensor) -> tuple[tuple[int, int], ...]:
    """Where a mask `(L,)` is True, as `[start, stop)`."""
    edges = torch.diff(mask.int(), prepend=mask.new_zeros(1).int(), append=mask.new_zeros(1).int())
    starts, stops = (edges == 1).nonzero().flatten(), (edges == -1).nonzero().flatten()
    return tuple(zip(starts.tolist(), stops.tolist(), strict=True))


def take_piece(sample: Sample, piece: Piece) -> Sample:
    """The part of a sample that a piece stands for, with its `position_ids`."""
    part = {name: sample[name][piece.start : piece.stop] for name in ("input_ids", "labels")}
    part["position_ids"] = torch.arange(piece.tokens) + piece.position
    if "pixel_values" in sample and piece.tiles:
        tiles = slice(piece.first_tile, piece.first_tile + piece.tiles)
        part["pixel_values"] = sample["pixel_values"][tiles]
        if "image_flags" in sample:
            part["image_flags"] = sample["image_flags"][tiles]
        part |= {name: sample[name] for name in NEW_TILES if name in sample}
    return part


@dataclass(frozen=True)
class PackingCollator:
    """Joins samples into one sequence without padding between them.

    Attributes:
        reduction: how the tokens of a sample are weighted, `"token"`, `"sample"` or `"square"`; None leaves
            `loss_weight` out and the model's own `loss_reduction` to it, which counts the labels of the whole row. The
            weights are for `InternVLTrainer`, which divides by their sum. transformers' `Trainer` divides by the
            number of labels, which is right with `"token"` or None.
        pad_token_id: fills up to `pad_to_tokens`.
        pad_to_tokens: pad to this length; padding tokens have position 0, no label and weight 0.
        pad_to_tiles: pad with empty tiles of flag 0 (the original `strict_mode`).
        return_statistics: add `statistics` (samples, padding tokens, tiles of flag 0) and `cu_seqlens`, where samples
            begin and the last one ends, padding being one. They are for logs: models do not take them.

    Calling it with packs, lists of samples of `take_piece` or of the encoder, or with samples (None where one was
    left out), gives `input_ids`,
    `labels`, `position_ids` `(1, L)` int64, `loss_weight` `(1, L)` float32, and if there are tiles `pixel_values`
    `(T, 3, S, S)` and `image_flags` `(T,)`.

    Raises:
        ValueError: (calling) there is more than `pad_to_tokens` or `pad_to_tiles` have room for.
    """

    reduction: str | None = "square"
    pad_token_id: int = 0
    pad_to_tokens: int | None = None
    pad_to_tiles: int | None = None
    return_statistics: bool = False

    def __post_init__(self) -> None:
        if self.reduction is not None and self.reduction not in REDUCTIONS:
            raise ValueError(f"`reduction` is one of {list(REDUCTIONS)} or None, got {self.reduction!r}.")

    def __call__(self, packs: Sequence[Sample | None | list[Sample]]) -> dict[str, Any]:
        samples = _present([sample for pack in packs for sample in (pack if isinstance(pack, list) else [pack])])
        rows = [self._row(sample) for sample in samples]
        used = sum(len(row["input_ids"]) for row in rows)
        padding = _missing("token", self.pad_to_tokens, used)
        batch: dict[str, Any] = {}
        fillers = {"input_ids": self.pad_token_id, "labels": IGNORE_INDEX, "position_ids": 0, "loss_weight": 0.0}
        for name in rows[0]:
            filler = rows[0][name].new_full((padding,), fillers[name])
            batch[name] = torch.cat([*(row[name] for row in rows), filler])[None]  # (1, L)
        batch |= self._tiles(samples)
        if self.return_statistics:
            ends = torch.tensor([0, *(len(row["input_ids"]) for row in rows), *([padding] if padding else [])])
            batch["cu_seqlens"] = ends.cumsum(0)
            empty = int((batch["image_flags"] == 0).sum()) if "image_flags" in batch else 0
            batch["statistics"] = torch.tensor([len(samples), padding, empty])
        return batch

    def _row(self, sample: Sample) -> Sample:
        """One sample, its first token unlabelled, with positions and weights."""
        labels = sample["labels"].clone()
        labels[:1] = IGNORE_INDEX
        ids = sample["input_ids"]
        row = {"input_ids": ids, "labels": labels, "position_ids": sample.get("position_ids", torch.arange(len(ids)))}
        if self.reduction is not None:
            # The original code computes the weights in float64.
            row["loss_weight"] = token_weights(labels, self.reduction, torch.float64)
        return row

    def _tiles(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        with_tiles = [sample for sample in samples if "pixel_values" in sample]
        if not with_tiles:
            return {}
        pixels = [sample["pixel_values"] for sample in with_tiles]
        flags = [
            sample.get("image_flags", torch.ones(len(sample["pixel_values"]), dtype=torch.long))
            for sample in with_tiles
        ]
        if missing := _missing("tile", self.pad_to_tiles, sum(map(len, pixels))):
            pixels.append(pixels[0].new_zeros(missing, *pixels[0].shape[1:]))
            flags.append(torch.zeros(missing, dtype=torch.long))
        return {"pixel_values": torch.cat(pixels), "image_flags": torch.cat(flags)}


def _present(samples: Sequence[Sample | None]) -> list[Sample]:
    """The samples of a batch without those that were left out, which are None."""
    present = [sample for sample in samples if sample is not None]
    if not present:
        raise ValueError(
            f"All {len(samples)} samples of the batch were left out: mend the data, or use larger batches."
        )
    return present


def _missing(kind: str, wanted: int | None, used: int) -> int:
    if wanted is not None and used > wanted:
        raise ValueError(f"The pack has {used} {kind}s, more than the {wanted} that it is padded to: raise the limit.")
    return 0 if wanted is None else wanted - used


@dataclass(frozen=True)
class PaddingCollator:
    """Samples as rows, padded on the right to the longest.

    Attributes:
        pad_token_id: fills the rows up.
        pad_to_multiple_of: round the length up to a multiple.
        reduction: as for `PackingCollator`; None leaves the weighting to the model, which does the same by rows.

    Calling it gives `input_ids`, `labels`, `attention_mask` `(B, L)` int64, with a reduction `loss_weight` `(B, L)`,
    and if there are tiles `pixel_values` `(T, 3, S, S)`, those of the first row first.
    """

    pad_token_id: int
    pad_to_multiple_of: int = 1
    reduction: str | None = None

    def __call__(self, samples: Sequence[Sample | None]) -> dict[str, torch.Tensor]:
        samples = _present(samples)
        length = max(len(sample["input_ids"]) for sample in samples)
        length = -(-length // self.pad_to_multiple_of) * self.pad_to_multiple_of
        fillers = {"input_ids": self.pad_token_id, "labels": IGNORE_INDEX, "attention_mask": 0}
        batch = {
            name: torch.stack([_padded(sample[name], length, filler) for sample in samples])
            for name, filler in fillers.items()
        }
        if self.reduction is not None:
            batch["loss_weight"] = token_weights(batch["labels"], self.reduction)
        tiles = [sample["pixel_values"] for sample in samples if "pixel_values" in sample]
        return {**batch, **({"pixel_values": torch.cat(tiles)} if tiles else {})}


def _padded(row: torch.Tensor, length: int, filler: int) -> torch.Tensor:
    return torch.cat([row, row.new_full((length - len(row),), filler)])


__all__ = ["PackingCollator", "PaddingCollator", "as_piece", "take_piece"]
