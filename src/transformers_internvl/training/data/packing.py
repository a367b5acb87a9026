# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which samples share a sequence: select, search, pack, maintain (InternVL 2.5 report, section 4.2). Integers only.

A pack holds at most `max_tokens` tokens and `max_tiles` tiles. Packs that still have room are kept open, at most
`max_open` of them:

    select      a sample comes; what is longer than a whole pack is refused, or cut between images
    search      an open pack with room for it                     ######..   ####....   ##......
    pack        joined, or a new pack is opened                       ^ ##
    maintain    a full pack goes out; of too many open ones the fullest does

`Packer` takes the fullest pack with room, of equals the oldest. `AuthorsPacker` searches and cuts as the authors'
released code does (`dataset_packed.py`), where the text between a cut and the next image is lost.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


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
        dummy_tiles: tiles without tokens, as the authors give to texts. They come before all others.
        first_tile: how many tiles of the sample come before those of this piece.
        position: the position id of its first token.
        index: its number in the pack, counted on over cuts.
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
            raise ValueError(f"An image of sample {self.key!r} would be cut in two at {left} or {right}.")
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


class _Buffers:
    """What both packers share: limits, open packs, saving."""

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


class Packer(_Buffers):
    """Packs samples so that little room is left.

    A sample goes into the fullest open pack with room for it, measured by whichever limit is closer; of too many open
    packs the fullest goes out.

    Args:
        max_tokens: most tokens of a pack.
        max_tiles: most tiles of a pack.
        max_open: most packs that wait for more. More fill better, and mix samples over a longer stretch.
        cut: cut samples that are larger than a pack; else they are refused.

    Raises:
        ValueError: a limit below 1.
    """

    def __init__(self, max_tokens: int, max_tiles: int, max_open: int = 20, cut: bool = False):
        super().__init__(max_tokens, max_tiles, max_open)
        self.cut = cut

    def add(self, piece: Piece) -> list[Pack]:
        """Take a sample; the packs that are complete by it, in order.

        Raises:
            ValueError: it is larger than a pack and may not be cut, or a single image is. The packer is unchanged.
        """
        parts = [piece]
        if piece.tokens > self.max_tokens or piece.tiles > self.max_tiles:
            if not self.cut:
                raise ValueError(
                    f"A sample of {piece.tokens} tokens and {piece.tiles} tiles is larger than a pack of "
                    f"{self.max_tokens} tokens and {self.max_tiles} tiles: raise the limits, lower `max_patches`, or "
                    "let samples be cut."
                )
            parts = cut_piece(piece, self.max_tokens, self.max_tiles)
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


def cut_piece(piece: Piece, max_tokens: int, max_tiles: int) -> list[Piece]:
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


class AuthorsPacker(_Buffers):
    """The order of the authors' `PackedDataset`, pack for pack.

    A sample goes into the first open pack with room, packs with most tiles first. A pack that is longer than
    `max_tokens`, because a single sample is or by `overflow`, is cut; parts without tiles, or with hardly any label,
    are lost, and so is the text between a cut and the next image: see `lost`.

    Args:
        max_tokens, max_tiles: most of a pack (`max_packed_tokens`, `num_images_expected`).
        max_open: most open packs (`max_buffer_size`).
        overflow: whether a pack with room for the tiles but not the tokens is taken, once half of the open packs are
            there, and cut (`allow_overflow`).

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
        for part in self._cut(pack.with_piece(piece)):
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

    def _cut(self, pack: Pack) -> list[Pack]:
        """The pack in parts of at most `max_tokens`, of which the last begins with an image."""
        parts: list[Pack] = []
        while pack.tokens > self.max_tokens:
            left, pack = self._cut_once(pack)
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

    def _cut_once(self, pack: Pack) -> tuple[Pack, Pack]:
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
            else:  # the cut goes through it
                last, first = (min(max(piece.start + at - begin, piece.start), piece.stop) for at in (left, right))
                before, after = piece.split(last, first)
                sides[0].extend([before] if before.tokens else [])
                sides[1].extend([after] if after.tokens else [])
                self._lose([replace(piece, start=last, stop=first)])
        return Pack(sides[0]), Pack(sides[1])


__all__ = ["AuthorsPacker", "Image", "Pack", "Packer", "Piece", "cut_piece"]
