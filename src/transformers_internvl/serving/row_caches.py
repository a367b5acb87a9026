# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Keys and values of several sequences of different lengths, for decoding one token of each at a time.

Every sequence has a row of a buffer, from its first position on, and writes behind its own last one. What is behind
that, another row's length or the rest of one that has left, is masked. So rows come and go without moving the others:
where one leaves, the last row takes its place.

    row 0   k k k k k k . .     length 6
    row 1   k k . . . . . .     length 2; its next key goes to index 2
    mask    1 1 1 0 0 0 0       of row 1, with that key: as many columns as the longest row has with its own

Shape letters: R rows, S rows for which there is room, C positions for which there is room, H heads of keys, d width of
a head.
"""

from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from ..modeling.pretrained.stepwise import Layers

_POSITIONS = 256  # room grows and shrinks by so many positions,
_SHARE = 4  # and by a fourth of the rows


class _RowsLayer(DynamicLayer):
    """Keys and values `(S, H, C, d)` of one layer."""

    def __init__(self, rows: "RowsCache", keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.rows = rows
        self.lazy_initialization(keys, values)
        self.keys = keys.new_zeros((0, keys.shape[1], 0, keys.shape[3]))
        self.values = values.new_zeros((0, values.shape[1], 0, values.shape[3]))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one position `(R, H, 1, d)` behind the last one of every row. Returns those of all rows."""
        count, longest = len(self.rows.lengths), self.get_seq_length()
        rows, places = self.rows.places(self.keys.device)
        self.keys[rows, :, places] = key_states[:, :, 0]
        self.values[rows, :, places] = value_states[:, :, 0]
        return self.keys[:count, :, : longest + 1], self.values[:count, :, : longest + 1]

    def get_seq_length(self) -> int:
        """The length of the longest row."""
        return max(self.rows.lengths, default=0)

    def make_room(self, rows: int, positions: int, used: int) -> None:
        """Have room for so many rows and positions; `used` rows are kept."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            # Zeros: what a mask hides is multiplied by zero, which must not be a NaN.
            new = old.new_zeros((rows, old.shape[1], positions, old.shape[3]))
            shared = min(old.shape[2], positions)
            new[:used, :, :shared] = old[:used, :, :shared]
            setattr(self, name, new)


class RowsCache(Cache):
    """A cache of sequences of different lengths, each of which gets one token at a time.

    Args:
        layers: keys and values `(1, H, L, d)` of every layer, of any sequence, for their shapes.

    Attributes:
        lengths: of the sequences, R numbers.
    """

    def __init__(self, layers: Layers):
        self.lengths: list[int] = []
        self._places: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}
        super().__init__(layers=[_RowsLayer(self, keys, values) for keys, values in layers])

    def places(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the next keys go: rows `(R,)` and positions `(R,)`."""
        if device not in self._places:
            places = torch.tensor(self.lengths, device=device)
            self._places[device] = torch.arange(len(self.lengths), device=device), places
        return self._places[device]

    def mask(self, device: torch.device) -> torch.Tensor:
        """Which positions the next token of each row sees, itself included: `(R, longest + 1)`."""
        _, places = self.places(device)
        columns = torch.arange(max(self.lengths) + 1, device=device)
        return (columns[None] <= places[:, None]).long()

    def add(self, layers: Layers) -> None:
        """Add a sequence, keys and values `(1, H, L, d)` of every layer, as the last row."""
        length, row = layers[0][0].shape[2], len(self.lengths)
        self._make_room(row + 1, max(length, *self.lengths, 0) + 1)
        for layer, (keys, values) in zip(self.layers, layers, strict=True):
            layer.keys[row, :, :length], layer.values[row, :, :length] = keys[0], values[0]
        self.lengths.append(length)
        self._places.clear()

    def remove(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        removed, last = self.lengths[row], self.lengths.pop()
        if row < len(self.lengths):
            for layer in self.layers:
                layer.keys[row, :, :last] = layer.keys[len(self.lengths), :, :last]
                layer.values[row, :, :last] = layer.values[len(self.lengths), :, :last]
                self._clear(layer, row, last, removed)
            self.lengths[row] = last
        for layer in self.layers:
            self._clear(layer, len(self.lengths), 0, last)
        self._places.clear()

    @staticmethod
    def _clear(layer: Any, row: int, start: int, end: int) -> None:
        """Write zeros, as in new room: a row that overflowed has NaN, which a mask does not keep from the next one."""
        layer.keys[row, :, start:end], layer.values[row, :, start:end] = 0, 0

    def copy_of(self, row: int) -> Layers:
        """Keys and values `(1, H, L, d)` of a row."""
        part = slice(row, row + 1), slice(None), slice(self.lengths[row])
        return tuple((layer.keys[part].clone(), layer.values[part].clone()) for layer in self.layers)

    def make_room_for_next(self) -> None:
        """Have room for one further position of every row, and give up what rows that have left needed."""
        self._make_room(len(self.lengths), max(self.lengths) + 1)

    def grow(self) -> None:
        """Every row has got its position, in all layers."""
        self.lengths = [length + 1 for length in self.lengths]
        self._places.clear()

    def _make_room(self, rows: int, positions: int) -> None:
        """Have room for so many rows and positions, and not for many more."""
        have = self.layers[0].keys.shape
        most = rows + rows // _SHARE
        positions = -(-positions // _POSITIONS) * _POSITIONS
        if not rows <= have[0] <= most + 1 or positions != have[2]:
            for layer in self.layers:
                layer.make_room(most, positions, len(self.lengths))


__all__ = ["RowsCache"]
