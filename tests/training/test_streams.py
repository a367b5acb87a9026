# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Streamed sets: the order of rows, shares, mixtures, resuming. No model."""

import json
from collections import Counter
from itertools import islice

import pytest

from tests.training.streamed import write_lines
from transformers_internvl.training.data.shards import FileShards, ShardRow
from transformers_internvl.training.data.streams import MixedStream, Share, StreamSet


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> FileShards:
    """Five files, 23 rows in the first and 20 in each other."""
    folder, begins = tmp_path_factory.mktemp("shards"), [0, 23, 43, 63, 83, 103]
    paths = [
        write_lines(folder / f"{begin}.jsonl", [json.dumps({"id": row}) + "\n" for row in range(begin, end)])
        for begin, end in zip(begins, begins[1:], strict=False)
    ]
    return FileShards(paths)


def ids(stream, count=None) -> list[tuple[int, int]]:
    return [(row.set, row.row.fields["id"]) for row in islice(stream, count)]


def resumed(make, stop: int, count: int | None) -> list[tuple[int, int]]:
    """What comes after a stream was saved, and went on from a copy of its state."""
    first = make()
    had = ids(first, stop) if stop else []
    again = make()
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    return had + ids(again, None if count is None else count - stop)


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
@pytest.mark.parametrize("buffer", [0, 5, 200])
def test_shares_have_every_row_once_and_go_on_where_they_were(shards, shares, buffer):
    seen: Counter = Counter()
    for number in range(shares):

        def make(number=number):
            return MixedStream([StreamSet("a", shards)], Share(number, shares, 2), buffer=buffer, seed=4)

        found = ids(make())
        seen.update(found)
        for stop in range(0, len(found) + 1, 9):
            assert resumed(make, stop, None) == found
    assert len(seen) == 103 and set(seen.values()) == {1}


def test_order(shards):
    parts = [StreamSet("a", shards)]
    one, other = (ids(MixedStream(parts, Share(), buffer=30, seed=seed)) for seed in (0, 1))
    plain = ids(MixedStream(parts, Share(), buffer=0))
    assert plain == [(0, row) for row in range(103)]
    assert sorted(one) == sorted(other) == plain and one != other
    stream = MixedStream(parts, Share(), buffer=30)
    assert ids(stream) == one and stream.epoch == 1
    assert sorted(second := ids(stream)) == plain and second != one
    of_first = [row for _, row in one if row < 23]
    assert of_first != sorted(of_first)
    late = [place - sum(1 for _, other in one if other < row) for place, (_, row) in enumerate(one)]
    assert max(map(abs, late)) > 5


def test_no_row_waits_longer_than_the_buffer(shards):
    read = 0

    class Counted(FileShards):
        def read(self, shard, place=None):
            nonlocal read
            for row in super().read(shard, place):
                read += 1
                yield row

    parts = [StreamSet("a", Counted(shards.paths[:1]))]
    for out, _ in enumerate(MixedStream(parts, Share(), buffer=8), start=1):
        assert out <= read <= out + 8


def test_weights_go_on_for_ever(shards):
    small, large = FileShards(shards.paths[:1]), FileShards(shards.paths[1:3])
    parts = [StreamSet("a", small, weight=1), StreamSet("b", large, weight=3)]

    def make():
        return MixedStream(parts, Share(), buffer=8)

    found = ids(make(), 800)
    drawn = Counter(number for number, _ in found)
    assert 150 < drawn[0] < 250
    of_small = Counter(row for number, row in found if number == 0)
    assert len(of_small) == 23 and max(of_small.values()) - min(of_small.values()) <= 2
    for stop in (0, 1, 333, 799):
        assert resumed(make, stop, 800) == found
    with pytest.raises(ValueError, match="no row for share 25 of 40"):
        ids(MixedStream(parts[:1], Share(25, 40), buffer=8), 1)


def test_repeats_and_lengths(shards):
    half = Counter(ids(MixedStream([StreamSet("a", shards, repeat=2.5, length=103)], Share(), buffer=9)))
    assert len(half) == 103 and set(half.values()) == {2, 3} and 30 < list(half.values()).count(3) < 73
    small = FileShards(shards.paths[:1])
    parts = [StreamSet("a", shards, length=103), StreamSet("b", small, length=23)]
    order = [number for number, _ in ids(MixedStream(parts, Share()))]
    assert sum(order) == 23 and sum(order[:63]) in range(6, 18)
    early = [number for number, _ in ids(MixedStream(parts, Share(), mixing="root"))]
    assert sum(early) == 23 and sum(early[:63]) > sum(order[:63])
    short = [StreamSet("a", shards, length=3), StreamSet("b", small, length=2)]
    assert len(ids(MixedStream(short, Share()))) == 126  # longer than was said


def test_what_sets_and_places_refuse(shards):
    for options, reason in (
        ({"repeat": 5}, "repeat factor"),
        ({"weight": 0.0}, "weight should be above 0"),
        ({"length": 0}, "length should be above 0"),
        ({"max_patches": 0}, "above 0"),
        ({"weight": 1, "repeat": 2}, "not both"),
    ):
        with pytest.raises(ValueError, match=reason):
            StreamSet("a", shards, **options)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Share(2, 2)
    state = MixedStream([StreamSet("a", shards)], Share()).state_dict()
    for stream, reason in (
        (MixedStream([StreamSet("a", FileShards(shards.paths[:2]))], Share()), "sets: .*5 shards"),
        (MixedStream([StreamSet("a", shards)], Share(0, 2)), "share: "),
        (MixedStream([StreamSet("a", shards)], Share(), buffer=3), "buffer: 1000 then, 3 now"),
    ):
        with pytest.raises(ValueError, match=reason):
            stream.load_state_dict(state)


def test_a_network_that_fails_loses_no_row(monkeypatch):
    pauses: list[float] = []
    monkeypatch.setattr("transformers_internvl.training.data.streams.time.sleep", pauses.append)

    class Failing:
        root, remote, failures = "", True, [3, 3, 7]

        def __len__(self):
            return 1

        def identity(self):
            return []

        def read(self, shard, place=None):
            for number in range(place or 0, 10):
                if number in self.failures:
                    self.failures.remove(number)
                    raise OSError("connection reset")
                yield ShardRow(number, number, "", {"id": number})

    parts = [StreamSet("a", Failing())]
    assert [row for _, row in ids(MixedStream(parts, Share(), buffer=0))] == list(range(10))
    assert pauses == [1, 2, 1]
    Failing.failures = [4] * 6
    with pytest.raises(OSError, match="connection reset"):
        ids(MixedStream(parts, Share(), buffer=0))
    Failing.remote, Failing.failures = False, [4]
    with pytest.raises(OSError, match="connection reset"):
        ids(MixedStream(parts, Share(), buffer=0))
