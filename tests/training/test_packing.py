# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Packing by integers: nothing lost, both limits kept, no image in two, little room left."""

import numpy as np
import pytest

from tests.training.length_mix import SHARES, length_mix
from tests.training.original_packing import OriginalPacker
from transformers_internvl.training.data.packing import Image, Pack, Packer, Piece, split_piece


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
@pytest.mark.parametrize("packer_class", [Packer, OriginalPacker])
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
    packs = run(Packer(40, 6, split=True), pieces)
    check(packs, pieces, 40, 6)
    cut = [piece for pack in packs for piece in pack.pieces if piece.start > 0]
    assert len(cut) > 50 and all(piece.position == 0 for piece in cut)


def test_the_original_layout_says_what_it_loses():
    pieces = random_pieces(300, seed=2, largest=4)
    packer = OriginalPacker(60, 12, 8, overflow=True)
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
    authors = run(OriginalPacker(16384, 48), mix)
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
        Packer(50, 5, split=True).add(picture("p", 6))
    assert packer.flush() == []
    with pytest.raises(ValueError, match="Limits are above 0"):
        Packer(0, 5)


def test_an_image_is_not_split():
    piece = picture("p", 3)  # its image is tokens 2 to 16
    for at in (3, 15):
        with pytest.raises(ValueError, match="would be split at"):
            piece.split(at, at)
    parts = split_piece(piece, 15, 9)
    assert [(part.start, part.stop, part.tiles) for part in parts] == [(0, 2, 0), (2, 17, 3), (17, 19, 0)]
    assert [part.supervised for part in parts] == [0, 1, 2]


def test_state_names_the_open_pieces():
    packer = Packer(100, 10)
    packer.add(text("a", 30))
    packer.add(picture("b", 2))
    assert packer.state_dict() == {"open": [[["a", 0, 30], ["b", 0, 15]]]}
    assert Pack().tokens == Pack().tiles == 0


# --- against what is written out over lists of tokens ---


def tokens_of(piece):
    """`(key, place, kind, tiles, whether labelled)` of each token; of an image, "<" begins and ">" ends it."""
    kinds = ["t"] * piece.tokens
    tiles = [0] * piece.tokens
    for image in piece.images:
        kinds[image.start : image.stop] = ["<", *"i" * (image.stop - image.start - 2), ">"]
        tiles[image.start] = image.tiles
    learned = [any(a <= at < b for a, b in piece.labelled) for at in range(piece.tokens)]
    return [(piece.key, at, kinds[at], tiles[at], learned[at]) for at in range(piece.tokens)]


def tiles_in(pack):
    return sum(token[3] for token in pack)


def places(pack):
    return [(piece.key, at) for piece in pack.pieces for at in range(piece.start, piece.stop)]


def cut_by_the_original(pack, max_tokens):
    """`split_buffer`: at the limit, or before the image that it falls into; text before the next image is lost."""

    def is_kept(part):
        return tiles_in(part) > 0 and sum(token[4] for token in part) / len(part) > 1 / 256

    if len(pack) <= max_tokens:
        return [pack]
    parts = []
    while len(pack) > max_tokens:
        starts = [at for at, token in enumerate(pack) if token[2] == "<"]
        if pack[max_tokens][2] in "<i>":
            left = right = max(at for at in starts if at <= max_tokens)
        else:
            left = max_tokens
            right = min((at for at in starts if at > max_tokens), default=len(pack))
        parts += [pack[:left]] if is_kept(pack[:left]) else []
        pack = pack[right:]
        if not tiles_in(pack):
            return parts
    return [*parts, pack] if is_kept(pack) else parts


def packs_of_the_original_code(pieces, max_tokens, max_tiles, max_open, overflow):
    """`find_buffer` and `update_buffer_list`."""
    buffers, out = [], []
    for sample in map(tokens_of, pieces):
        found = None
        for at, buffer in enumerate(buffers):
            if tiles_in(buffer) + tiles_in(sample) <= max_tiles:
                if len(buffer) + len(sample) <= max_tokens:
                    found = at
                    break
                if overflow and len(buffers) >= max_open // 2:
                    found = at
        whole = [*(buffers.pop(found) if found is not None else []), *sample]
        for part in cut_by_the_original(whole, max_tokens):
            if tiles_in(part) > max_tiles:
                continue
            if len(part) == max_tokens:
                out.append(part)
                continue
            fewer = [at for at, buffer in enumerate(buffers) if tiles_in(buffer) < tiles_in(part)]
            buffers.insert(fewer[0] if fewer else len(buffers), part)
        while buffers and (tiles_in(buffers[0]) == max_tiles or len(buffers) > max_open):
            out.append(buffers.pop(0))
    return out + buffers


@pytest.mark.parametrize("overflow", [False, True])
@pytest.mark.parametrize("max_open", [1, 2, 5])
def test_the_original_rules_written_out(max_open, overflow):
    lost = 0
    for seed, (max_tokens, max_tiles) in enumerate([(30, 4), (31, 4), (40, 6), (47, 3), (64, 9), (25, 20)] * 4):
        pieces = random_pieces(60, seed=seed, largest=4)
        packer = OriginalPacker(max_tokens, max_tiles, max_open, overflow)
        packs = run(packer, pieces)
        expected = packs_of_the_original_code(pieces, max_tokens, max_tiles, max_open, overflow)
        assert [places(pack) for pack in packs] == [[token[:2] for token in pack] for pack in expected]
        for pack in packs:
            assert all(piece.position == piece.start for piece in pack.pieces)
            numbers = [piece.index for piece in pack.pieces]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        kept = {place for pack in packs for place in places(pack)}
        gone = [(key, at) for key, start, stop in packer.lost for at in range(start, stop)]
        assert len(gone) == len(set(gone)) and not kept & set(gone)
        assert len(kept) + len(gone) == sum(piece.tokens for piece in pieces)
        lost += len(gone)
    assert lost > 0


def packs_of_ours(pieces, max_tokens, max_tiles, max_open):
    """The fullest open pack with room, of equals the oldest; full ones go at once, of too many the fullest."""
    waiting, out = [], []

    def fill(pack):
        return max(sum(p.tokens for p in pack) / max_tokens, sum(p.tiles for p in pack) / max_tiles)

    for piece in pieces:
        room = [pack for pack in waiting if fill([*pack, piece]) <= 1]
        fullest = [pack for pack in room if fill(pack) == max(map(fill, room))]
        joined = [*fullest[0], piece] if fullest else [piece]
        if fullest:
            waiting = [pack for pack in waiting if pack is not fullest[0]]
        if fill(joined) == 1:
            out.append(joined)
            continue
        waiting.append(joined)
        if len(waiting) > max_open:
            gone = max(range(len(waiting)), key=lambda at: (fill(waiting[at]), -at))
            out.append(waiting.pop(gone))
    return out + waiting


@pytest.mark.parametrize("max_open", [1, 2, 5])
def test_our_rules_written_out(max_open):
    for seed, (max_tokens, max_tiles) in enumerate([(128, 16), (128, 20), (160, 16), (256, 18)] * 4):
        pieces = random_pieces(60, seed=seed)
        found = [[piece.key for piece in pack.pieces] for pack in run(Packer(max_tokens, max_tiles, max_open), pieces)]
        expected = packs_of_ours(pieces, max_tokens, max_tiles, max_open)
        assert found == [[piece.key for piece in pack] for pack in expected]


def test_of_packs_that_are_equally_full_the_oldest_is_taken():
    packer = Packer(100, 10)
    for key in "ab":
        packer.add(text(key, 60))
    packer.add(text("c", 30))
    assert [[piece.key for piece in pack.pieces] for pack in packer.open] == [["b"], ["a", "c"]]
    packer = Packer(100, 10, max_open=2)
    assert packer.add(text("a", 60)) == packer.add(text("b", 60)) == []
    (gone,) = packer.add(text("c", 60))
    assert [piece.key for piece in gone.pieces] == ["a"]


@pytest.mark.parametrize(
    "tokens, labels, kept",
    [(256, 0, False), (256, 1, False), (255, 1, True), (256, 2, True), (512, 2, False), (511, 2, True)],
)
def test_a_part_with_a_label_in_256_tokens_is_lost_and_one_with_more_is_kept(tokens, labels, kept):
    first, second = Image(0, 6, 1), Image(tokens, tokens + 6, 1)
    learned = ((100, 100 + labels), (tokens + 10, tokens + 30))
    packer = OriginalPacker(tokens, 9)
    packs = run(packer, [Piece("x", 0, tokens + 40, (first, second), learned)])
    assert packer.lost == ([] if kept else [("x", 0, tokens)])
    assert [places(pack)[0] for pack in packs] == [("x", 0), ("x", tokens)][not kept :]


def test_tiles_without_tokens_count():
    """Those that the original code gives to texts: towards the limit, before all others, and once."""
    piece = Piece("x", 0, 20, (Image(2, 8, 1), Image(9, 15, 1)), dummy_tiles=1)
    assert piece.tiles == 3
    left, right = piece.split(8, 8)
    assert (left.tiles, left.first_tile, right.tiles, right.first_tile) == (2, 0, 1, 2)
    assert [(part.start, part.stop, part.tiles) for part in split_piece(piece, 50, 2)] == [(0, 9, 2), (9, 20, 1)]
    packer = Packer(50, 3)
    (pack,) = packer.add(piece)
    assert pack.tiles == 3


def test_positions_and_tiles_go_on_over_several_cuts():
    piece = Piece("x", 0, 30, (Image(0, 6, 1), Image(10, 16, 1), Image(20, 26, 1)), position=5)
    first, rest = piece.split(10, 10)
    middle, last = rest.split(18, 20)
    assert [(p.start, p.stop, p.position, p.first_tile) for p in (first, middle, last)] == [
        (0, 10, 5, 0),
        (10, 18, 15, 1),
        (20, 30, 25, 2),
    ]
    for at in (6, 10):  # where an image ends or begins it may be cut
        piece.split(at, at)


@pytest.mark.parametrize("limits", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_every_limit_is_above_0(limits):
    for packer_class in (Packer, OriginalPacker):
        packer_class(1, 1, 1)
        with pytest.raises(ValueError, match="Limits are above 0"):
            packer_class(*limits)


def test_exactly_as_large_as_a_pack():
    for packer, whole in ((Packer(50, 5), text("t", 50)), (Packer(50, 5), picture("p", 5))):
        (pack,) = packer.add(whole)
        assert [piece.key for piece in pack.pieces] == [whole.key] and not packer.open
    (pack,) = Packer(16, 9, split=True).add(Piece("x", 0, 16, (Image(0, 16, 3),)))
    assert pack.tokens == 16
