# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Packing by integers: nothing lost, both limits kept, no image in two, little room left."""

import numpy as np
import pytest

from tests.training.length_mix import SHARES, length_mix
from transformers_internvl.training.packing import AuthorsPacker, Image, Pack, Packer, Piece, cut_piece


def text(key, tokens):
    return Piece(key, 0, tokens, labelled=((tokens // 2, tokens),))


def picture(key, tiles, before=2, after=3):
    stop = before + 4 * tiles + 2
    return Piece(key, 0, stop + after, (Image(before, stop, tiles),), ((stop, stop + after),))


def random_pieces(count, seed=0, largest=6):
    rng = np.random.default_rng(seed)
    pieces = []
    for key in range(count):
        images, at = [], int(rng.integers(1, 9))
        for _ in range(rng.integers(0, 4)):
            tiles = int(rng.integers(1, largest))
            images.append(Image(at, at + 4 * tiles + 2, tiles))
            at = images[-1].stop + int(rng.integers(0, 5))
        stop = at + int(rng.integers(1, 40))
        pieces.append(Piece(key, 0, stop, tuple(images), ((at, stop),)))
    return pieces


def run(packer, pieces):
    return [pack for piece in pieces for pack in packer.add(piece)] + packer.flush()


def check(packs, pieces, max_tokens, max_tiles, lost=()):
    """Every token of every sample exactly once, every image whole and with its own tiles, the limits kept."""
    seen = {piece.key: np.zeros(piece.tokens, dtype=int) for piece in pieces}
    whole = {piece.key: piece for piece in pieces}
    for key, start, stop in lost:
        seen[key][start:stop] += 1
    for pack in packs:
        assert 0 < pack.tokens <= max_tokens and pack.tiles <= max_tiles
        assert [piece.index for piece in pack.pieces][0] == 0 or lost
        for piece in pack.pieces:
            seen[piece.key][piece.start : piece.stop] += 1
            images = [
                image for image in whole[piece.key].images if image.start < piece.stop and image.stop > piece.start
            ]
            assert tuple(images) == piece.images
            assert all(piece.start <= image.start and image.stop <= piece.stop for image in images)
            before = [image.tiles for image in whole[piece.key].images if image.stop <= piece.start]
            assert piece.first_tile == sum(before)
    assert all((count == 1).all() for count in seen.values())


@pytest.mark.parametrize("max_open", [1, 3, 20])
@pytest.mark.parametrize("packer_class", [Packer, AuthorsPacker])
def test_nothing_is_lost_or_twice(packer_class, max_open):
    pieces = random_pieces(400)
    packer = packer_class(128, 20, max_open)
    packs = []
    for piece in pieces:
        packs += packer.add(piece)
        assert len(packer.open) <= max_open
    packs += packer.flush()
    assert not packer.open and not getattr(packer, "lost", [])
    check(packs, pieces, 128, 20)
    assert len(packs) < 300


def test_samples_that_are_cut():
    pieces = random_pieces(300, seed=1)
    packs = run(Packer(40, 6, cut=True), pieces)
    check(packs, pieces, 40, 6)
    cut = [piece for pack in packs for piece in pack.pieces if piece.start > 0]
    assert len(cut) > 50 and all(piece.position == 0 for piece in cut)


def test_the_authors_say_what_they_lose():
    pieces = random_pieces(300, seed=2, largest=4)
    packer = AuthorsPacker(60, 12, 8, overflow=True)
    packs = run(packer, pieces)
    check(packs, pieces, 60, 12, packer.lost)
    assert packer.lost and any(piece.position == piece.start > 0 for pack in packs for piece in pack.pieces)


def test_the_fullest_pack_is_searched():
    packer = Packer(100, 10)
    for tokens in (30, 80, 75):
        assert packer.add(text(tokens, tokens)) == []
    (pack,) = packer.add(text("x", 20))
    assert [piece.key for piece in pack.pieces] == [80, "x"] and pack.tokens == 100
    assert [piece.index for piece in pack.pieces] == [0, 1]
    (pack,) = packer.add(picture("y", 10))  # a limit of either kind makes a pack full
    assert (pack.tiles, pack.tokens) == (10, 47 + 30) and len(packer.open) == 1


def test_the_fullest_goes_when_too_many_are_open():
    packer = Packer(100, 10, max_open=2)
    assert packer.add(text(0, 60)) == packer.add(text(1, 90)) == []
    (pack,) = packer.add(text(2, 70))
    assert [piece.key for piece in pack.pieces] == [1]


def test_little_room_is_left():
    """At most 2 % of the tiles, which are the binding limit at 16,384 tokens and 48 tiles, on the published mix."""
    mix = length_mix(6000)
    packs = run(Packer(16384, 48), mix)
    assert sum(pack.tiles for pack in packs) / (48 * len(packs)) >= 0.98
    assert sum(pack.tokens for pack in packs) / (16384 * len(packs)) > 0.84
    authors = run(AuthorsPacker(16384, 48), mix)
    assert len(packs) <= len(authors)


def test_the_mix_is_the_published_one():
    mix = length_mix(6000)
    total = sum(piece.tokens for piece in mix)
    texts = sum(piece.tokens for piece in mix if not piece.images) / total
    assert abs(texts - SHARES["text"]) < 0.01
    singles = sum(piece.tokens for piece in mix if len(piece.images) == 1) / total
    assert abs(singles - SHARES["single"]) < 0.02


def test_too_large():
    packer = Packer(50, 5)
    for piece in (text("t", 51), picture("p", 6)):
        with pytest.raises(ValueError, match="is larger than a pack of 50 tokens and 5 tiles"):
            packer.add(piece)
    with pytest.raises(ValueError, match="An image of sample 'p' is larger"):
        Packer(50, 5, cut=True).add(picture("p", 6))
    assert packer.flush() == []
    with pytest.raises(ValueError, match="Limits are above 0"):
        Packer(0, 5)


def test_an_image_is_not_cut():
    piece = picture("p", 3)  # its image is tokens 2 to 16
    for at in (3, 15):
        with pytest.raises(ValueError, match="would be cut in two"):
            piece.split(at, at)
    parts = cut_piece(piece, 15, 9)
    assert [(part.start, part.stop, part.tiles) for part in parts] == [(0, 2, 0), (2, 17, 3), (17, 19, 0)]
    assert [part.supervised for part in parts] == [0, 1, 2]


def test_state_names_the_open_pieces():
    packer = Packer(100, 10)
    packer.add(text("a", 30))
    packer.add(picture("b", 2))
    assert packer.state_dict() == {"open": [[["a", 0, 30], ["b", 0, 15]]]}
    assert Pack().tokens == Pack().tiles == 0
