# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which samples share a sequence: select, search, pack, maintain (InternVL 2.5 report, section 4.2). Integers only.

A pack holds at most `max_tokens` tokens and `max_tiles` tiles. Packs that still have room are kept open, at most
`max_open` of them:

    select      a sample comes; what is longer than a whole pack is refused, or split between images
    search      an open pack with room for it                     ######..   ####....   ##......
    pack        joined, or a new pack is opened                       ^ ##
    maintain    a full pack goes out; of too many open ones the fullest does

`Packer` takes the fullest pack with room, of equals the oldest.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from ...renamed_modules import alias_former_names, former_argument


@dataclass(frozen=True)
class Image:
    """Where an image stands in a sample: tokens `[start, stop)`, `<img>` and `</img>` included, and its tiles."""

    start: int
    stop: int
    tiles: int


@dataclass(frozen=True)
class Piece:
    """A sample, or a part of it, as a packer sees it.

    Attributes:
        key: tells samples apart.
        start, stop: the tokens of the sample that belong to it, `[start, stop)`.
        images: those within it, by their places in the sample.
        labelled: stretches `[start, stop)` of supervised tokens in the sample.
        dummy_tiles: tiles without tokens, as the original code gives to texts. They come before all others.
        first_tile: how many tiles of the sample come before those of this piece.
        position: the position id of its first token.
        index: its number in the pack, counted on over splits.
    """

    key: Hashable
    start: int
    stop: int
    images: tuple[Image, ...] = ()
    labelled: tuple[tuple[int, int], ...] = ()
    dummy_tiles: int = 0
    first_tile: int = 0
    position: int = 0
    index: int = 0

    @property
    def tokens(self) -> int:
        """Its length."""
        return self.stop - self.start

    @property
    def tiles(self) -> int:
        """Its tiles, dummy ones included."""
        return sum(image.tiles for image in self.images) + self.dummy_tiles

    @property
    def supervised(self) -> int:
        """How many of its tokens are labelled."""
        return sum(max(0, min(b, self.stop) - max(a, self.start)) for a, b in self.labelled)

    def split(self, left: int, right: int) -> tuple[Piece, Piece]:
        """The pieces before token `left` and from token `right` on, neither of which lies within an image."""
        if any(image.start < at < image.stop for image in self.images for at in (left, right)):
            raise ValueError(f"An image of sample {self.key!r} would be split at {left} or {right}.")
        before = tuple(image for image in self.images if image.stop <= left)
        after = tuple(image for image in self.images if image.start >= right)
        skipped = self.tiles - sum(image.tiles for image in after)
        first = replace(self, stop=left, images=before)
        moved = self.position + right - self.start
        last = replace(
            self, start=right, images=after, dummy_tiles=0, first_tile=self.first_tile + skipped, position=moved
        )
        return first, last


@dataclass(eq=False)
class Pack:
    """Pieces that share a sequence, in order."""

    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = sum(piece.tokens for piece in self.pieces)
        self.tiles = sum(piece.tiles for piece in self.pieces)

    def with_piece(self, piece: Piece) -> Pack:
        """This pack with one more piece."""
        return Pack([*self.pieces, replace(piece, index=self.pieces[-1].index + 1 if self.pieces else 0)])


class PackBuffers:
    """Limits of a packer, its open packs, and their state to save."""

    def __init__(self, max_tokens: int, max_tiles: int, max_open: int = 20):
        if min(max_tokens, max_tiles, max_open) < 1:
            raise ValueError(f"Limits are above 0, got {max_tokens} tokens, {max_tiles} tiles, {max_open} open packs.")
        self.max_tokens, self.max_tiles, self.max_open = max_tokens, max_tiles, max_open
        self.open: list[Pack] = []

    def fits(self, pack: Pack, piece: Piece) -> bool:
        """Whether both limits hold for the pack with the piece."""
        return pack.tokens + piece.tokens <= self.max_tokens and pack.tiles + piece.tiles <= self.max_tiles

    def flush(self) -> list[Pack]:
        """The open packs, when there are no more samples."""
        packs, self.open = self.open, []
        return packs

    def state_dict(self) -> dict[str, Any]:
        """The open packs: for each piece its key, first and last token."""
        return {"open": [[[piece.key, piece.start, piece.stop] for piece in pack.pieces] for pack in self.open]}


class Packer(PackBuffers):
    """Packs samples so that little room is left.

    A sample goes into the fullest open pack with room for it, measured by whichever limit is closer; of too many open
    packs the fullest goes out.

    Args:
        max_tokens: maximum number of tokens of a pack.
        max_tiles: maximum number of tiles of a pack.
        max_open: maximum number of packs that wait for more. More fill better, and mix samples over a longer stretch.
        split: split samples that are larger than a pack; else they are refused.

    Raises:
        ValueError: a limit below 1.
    """

    def __init__(
        self, max_tokens: int, max_tiles: int, max_open: int = 20, split: bool = False, *, cut: bool | None = None
    ):
        super().__init__(max_tokens, max_tiles, max_open)
        self.split = former_argument("cut", cut, "split", split)

    def add(self, piece: Piece) -> list[Pack]:
        """Take a sample; the packs that are complete by it, in order.

        Raises:
            ValueError: it is larger than a pack and may not be split, or a single image is. The packer is unchanged.
        """
        parts = [piece]
        if piece.tokens > self.max_tokens or piece.tiles > self.max_tiles:
            if not self.split:
                raise ValueError(
                    f"A sample of {piece.tokens} tokens and {piece.tiles} tiles is larger than a pack of "
                    f"{self.max_tokens} tokens and {self.max_tiles} tiles: raise the limits, lower `max_patches`, or "
                    "let samples be split."
                )
            parts = split_piece(piece, self.max_tokens, self.max_tiles)
        return [pack for part in parts for pack in self._add(part)]

    def _add(self, piece: Piece) -> list[Pack]:
        room = [pack for pack in self.open if self.fits(pack, piece)]
        best = max(room, key=self._fill, default=None)
        if best is not None:
            self.open.remove(best)
        joined = (best or Pack()).with_piece(piece)
        if joined.tokens == self.max_tokens or joined.tiles == self.max_tiles:
            return [joined]
        self.open.append(joined)
        if len(self.open) <= self.max_open:
            return []
        fullest = max(self.open, key=self._fill)
        self.open.remove(fullest)
        return [fullest]

    def _fill(self, pack: Pack) -> float:
        return max(pack.tokens / self.max_tokens, pack.tiles / self.max_tiles)


def split_piece(piece: Piece, max_tokens: int, max_tiles: int) -> list[Piece]:
    """Pieces within both limits that together are all of `piece`; each counts its positions from 0.

    An image that crosses a limit begins the next piece.

    Raises:
        ValueError: a single image is beyond a limit.
    """
    parts, rest = [], piece
    while rest.tokens > max_tokens or rest.tiles > max_tiles:
        at, tiles = min(rest.start + max_tokens, rest.stop), rest.dummy_tiles
        for image in rest.images:
            tiles += image.tiles
            if image.start < at and (image.stop > at or tiles > max_tiles):
                at = image.start
        if at == rest.start:
            raise ValueError(
                f"An image of sample {piece.key!r} is larger than {max_tokens} tokens or {max_tiles} tiles."
            )
        left, rest = rest.split(at, at)
        rest = replace(rest, position=0)
        parts.append(left)
    return [*parts, rest]


alias_former_names(__name__, cut_piece="split_piece")

__all__ = ["Image", "Pack", "Packer", "Piece", "split_piece"]
