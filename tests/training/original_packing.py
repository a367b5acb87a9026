# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The packing of the original code (`dataset_packed.py`), which ours is compared with.

It loses the text between a split and the next image.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from transformers_internvl.training.data.packing import Pack, PackBuffers, Piece


class OriginalPacker(PackBuffers):
    """The order of the original `PackedDataset`, pack for pack.

    A sample goes into the first open pack with room, packs with most tiles first. A pack that is longer than
    `max_tokens`, because a single sample is or by `overflow`, is split; parts without tiles, or with hardly any label,
    are lost, and so is the text between a split and the next image: see `lost`.

    Args:
        max_tokens, max_tiles: the maximum of a pack (`max_packed_tokens`, `num_images_expected`).
        max_open: maximum number of open packs (`max_buffer_size`).
        overflow: whether a pack with room for the tiles but not the tokens is taken, once half of the open packs are
            there, and split (`allow_overflow`).

    Attributes:
        lost: `(key, start, stop)` of the tokens that came into no pack.
    """

    def __init__(self, max_tokens: int, max_tiles: int, max_open: int = 20, overflow: bool = False):
        super().__init__(max_tokens, max_tiles, max_open)
        self.overflow = overflow
        self.lost: list[tuple[Hashable, int, int]] = []

    def add(self, piece: Piece) -> list[Pack]:
        """Take a sample; the packs that are complete by it, in order."""
        found = self._search(piece)
        pack = Pack() if found is None else self.open.pop(found)
        complete = []
        for part in self._split(pack.with_piece(piece)):
            if part.tiles > self.max_tiles:
                self._lose(part.pieces)
            elif part.tokens == self.max_tokens:
                complete.append(part)
            else:
                fewer = (at for at, other in enumerate(self.open) if other.tiles < part.tiles)
                self.open.insert(next(fewer, len(self.open)), part)
        while self.open and (self.open[0].tiles == self.max_tiles or len(self.open) > self.max_open):
            complete.append(self.open.pop(0))
        return complete

    def _search(self, piece: Piece) -> int | None:
        overflowing = None
        for at, pack in enumerate(self.open):
            if self.fits(pack, piece):
                return at
            if self.overflow and pack.tiles + piece.tiles <= self.max_tiles and len(self.open) >= self.max_open // 2:
                overflowing = at
        return overflowing

    def _split(self, pack: Pack) -> list[Pack]:
        """The pack in parts of at most `max_tokens`, of which the last begins with an image."""
        parts: list[Pack] = []
        while pack.tokens > self.max_tokens:
            left, pack = self._split_once(pack)
            self._keep(left, parts)
            if pack.tiles == 0:
                self._lose(pack.pieces)
                return parts
            if pack.tokens <= self.max_tokens:
                self._keep(pack, parts)
                return parts
        return [pack]

    def _keep(self, pack: Pack, parts: list[Pack]) -> None:
        if pack.tiles > 0 and 256 * sum(piece.supervised for piece in pack.pieces) > pack.tokens:
            parts.append(pack)
        else:
            self._lose(pack.pieces)

    def _lose(self, pieces: Sequence[Piece]) -> None:
        self.lost += [(piece.key, piece.start, piece.stop) for piece in pieces if piece.tokens]

    def _split_once(self, pack: Pack) -> tuple[Pack, Pack]:
        begins = [sum(piece.tokens for piece in pack.pieces[:at]) for at in range(len(pack.pieces))]
        images = [
            (begin + image.start - piece.start, begin + image.stop - piece.start)
            for begin, piece in zip(begins, pack.pieces, strict=True)
            for image in piece.images
        ]
        cut = self.max_tokens
        left = next((start for start, stop in images if start <= cut < stop), cut)
        right = next((start for start, _ in images if start >= left), pack.tokens)
        sides: tuple[list[Piece], list[Piece]] = ([], [])
        for begin, piece in zip(begins, pack.pieces, strict=True):
            if begin + piece.tokens <= left:
                sides[0].append(piece)
            elif begin >= right:
                sides[1].append(piece)
            else:  # it is split
                last, first = (min(max(piece.start + at - begin, piece.start), piece.stop) for at in (left, right))
                before, after = piece.split(last, first)
                sides[0].extend([before] if before.tokens else [])
                sides[1].extend([after] if after.tokens else [])
                self._lose([replace(piece, start=last, stop=first)])
        return Pack(sides[0]), Pack(sides[1])
