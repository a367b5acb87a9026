# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which row of streamed sets comes when: shards in a drawn order, shuffled through a buffer, mixed, shared, resumed.

Nobody knows how many rows there are, and none is read twice to find out. A share of a rank and worker

    gets shards     whole ones, dealt out; of those that are left over, every n-th row
    shuffles        row k of the share comes k + u places late, u drawn from [0, buffer)
    mixes           the next set is drawn: by what is left of it, or by its weight

Rows that wait are kept in memory, never more than `buffer`, about half of it on average. A place in a stream is
that of the oldest row that waits, and the key of the row that went out last: going there reads `buffer` rows at most
a second time, and gives exactly what would have come.
"""

import hashlib
import heapq
import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.utils import logging

from .records import MAX_REPEAT
from .sampling import Mixing, refuse_changes
from .shards import ShardRow, Shards

logger = logging.get_logger(__name__)

_BLOCK = 1024  # random numbers that are drawn at a time
_TRIES = 5  # times that a shard is opened again after an error of a network, with pauses of 1, 2, 4, ... seconds


@dataclass(frozen=True)
class StreamSet:
    """A set whose rows are read from front to back.

    Attributes:
        name: shown in reports.
        shards: its rows.
        repeat: how often an epoch goes through it, in (0, 4]; of a fraction of a pass each row is drawn by itself.
        weight: how often its rows are drawn beside those of other sets, for ever: a set that has run out begins again,
            and there are no epochs. Either all sets of a mixture have a weight, or none. None: it lasts as long as
            its rows do.
        length: how many rows it has, where that is known. None: not known.
        augment: whether images are degraded by random JPEG; videos never are.
        max_patches: maximum number of tiles of a sample; None = the processor's.
        question: what rows of an image and a `caption` answer, with `<image>` where the image goes. None: such rows
            cannot be used.

    Raises:
        ValueError: a number is outside its range.
    """

    name: str
    shards: Shards
    repeat: float = 1.0
    weight: float | None = None
    length: int | None = None
    augment: bool = False
    max_patches: int | None = None
    question: str | None = None

    def __post_init__(self) -> None:
        limits = {
            "the repeat factor": (self.repeat, 0 < self.repeat <= MAX_REPEAT, f"in (0, {MAX_REPEAT:g}]"),
            "the weight": (self.weight, self.weight is None or self.weight > 0, "above 0"),
            "the length": (self.length, self.length is None or self.length > 0, "above 0"),
            "`max_patches`": (self.max_patches, self.max_patches is None or self.max_patches > 0, "above 0"),
        }
        for what, (value, right, wanted) in limits.items():
            if not right:
                raise ValueError(f"Set {self.name!r}: {what} should be {wanted}, got {value}.")
        if self.weight is not None and self.repeat != 1:
            raise ValueError(f"Set {self.name!r}: a weight or a repeat factor, not both.")

    @property
    def entries(self) -> float | None:
        """How many rows an epoch has of it, on average; None where its length is not known, or it has no end."""
        return None if self.length is None or self.weight is not None else self.length * self.repeat


@dataclass(frozen=True)
class Share:
    """What one rank or worker reads.

    Attributes:
        number: which share it is, from 0.
        of: how many there are.
        block: so many rows that follow each other in a shard go to the same share, where a shard is shared by rows.
    """

    number: int = 0
    of: int = 1
    block: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of or self.block < 1:
            raise ValueError(f"Expected a share from 0 to {self.of - 1}, got {self.number} by {self.block} rows.")


@dataclass(frozen=True)
class StreamedRow:
    """A row as it comes out of a stream.

    Attributes:
        set: number of the set.
        turn: which pass through the set it is of, from 0.
        shard: number of the shard.
        row: as it is in the shard.
    """

    set: int
    turn: int
    shard: int
    row: ShardRow


@dataclass
class _Cursor:
    """A place from which a share of a set can be read on: `skip` rows after `place`, in the share's task `task`."""

    turn: int = 0
    task: int = 0
    place: Any = None
    skip: int = 0
    passed: int = 0  # rows of shards that are shared by rows, before `place`, in this turn
    index: int = 0  # rows that the share has got before

    def as_list(self) -> list[Any]:
        return [self.turn, self.task, self.place, self.skip, self.passed, self.index]


class _Numbers:
    """Random numbers in [0, 1) by index, two for each, the same in every process."""

    def __init__(self, seed: Sequence[int]):
        self.seed, self._block, self._values = list(seed), -1, np.empty((2, 0))

    def at(self, index: int) -> tuple[float, float]:
        block, place = divmod(index, _BLOCK)
        if block != self._block:
            self._block, self._values = block, np.random.default_rng([*self.seed, block]).random((2, _BLOCK))
        return float(self._values[0, place]), float(self._values[1, place])


class SetStream:
    """The rows of one set that a share gets in an epoch, shuffled.

    Args:
        part: the set.
        number: its number in the mixture.
        share: which rows.
        buffer: maximum number of rows that wait; 0 or 1 = shards and rows come as they are written.
        seed, epoch: another one is another order.
    """

    def __init__(self, part: StreamSet, number: int, share: Share, buffer: int, seed: int, epoch: int):
        self.part, self.number, self.share, self.buffer = part, number, share, buffer
        self.seed = [seed, epoch, number]
        self.out = 0  # rows that were given away
        self.ended = False
        self._cursor = _Cursor()
        self._last: tuple[float, int] | None = None  # the key of what went out last

    def __iter__(self) -> Iterator[StreamedRow]:
        last = self._last
        source = self._read(self._cursor)
        waiting: list[tuple[float, int, StreamedRow]] = []  # a heap: by when it comes
        cursors: OrderedDict[int, _Cursor] = OrderedDict()  # of the rows that wait, in the order of reading
        behind, more = self._cursor, True  # where reading goes on
        while True:
            while more and (not waiting or behind.index <= waiting[0][0]):
                found = next(source, None)
                if found is None:
                    more = False
                    break
                here, behind, late, row = found
                key = (here.index + late * max(0, self.buffer - 1), here.index)
                if row is not None and (last is None or key > last):
                    heapq.heappush(waiting, (*key, row))
                    cursors[here.index] = here
            if not waiting:
                self._cursor, self.ended = behind, True
                return
            late_by, index, ready = heapq.heappop(waiting)
            del cursors[index]
            self._last = (late_by, index)
            self._cursor = next(iter(cursors.values()), behind)
            self.out += 1  # before it is given away: who saves now has had it
            yield ready

    def _read(self, cursor: _Cursor) -> Iterator[tuple[_Cursor, _Cursor, float, StreamedRow | None]]:
        """Rows as they are written: place, place behind it, a random number, and the row unless it is left out."""
        part, share = self.part, self.share
        numbers = _Numbers([*self.seed, 1, share.number, share.of])
        turn, first, place, skip, passed, index = cursor.as_list()
        nothing = place is None  # whether the pass has given this share no row
        while part.weight is not None or turn < part.repeat:
            for task, (shard, shared) in enumerate(self._tasks(turn)):
                if task < first:
                    continue
                for row in _patiently(part.shards, shard, place):
                    before, passed = passed, passed + shared
                    if skip:
                        skip -= 1
                        continue
                    if shared and (before // share.block) % share.of != share.number:
                        continue
                    late, drawn = numbers.at(index)
                    here = _Cursor(turn, task, row.place, 0, before, index)
                    index, nothing = index + 1, False
                    behind = _Cursor(turn, task, row.place, 1, before, index)
                    kept = part.weight is not None or drawn < part.repeat - turn
                    yield here, behind, late, StreamedRow(self.number, turn, shard, row) if kept else None
                place, skip = None, 0
            if part.weight is not None and nothing:
                raise ValueError(
                    f"Set {part.name!r} has no row for share {share.number} of {share.of}: it needs at least as many "
                    "rows as there are ranks times workers."
                )
            turn, first, passed, nothing = turn + 1, 0, 0, True

    def _tasks(self, turn: int) -> list[tuple[int, bool]]:
        """The shards that the share reads in a pass, and whether it shares them by rows."""
        count, of = len(self.part.shards), self.share.of
        order = list(range(count))
        if self.buffer > 1:
            order = np.random.default_rng([*self.seed, 0, turn]).permutation(count).tolist()
        dealt = count - count % of
        own = [(shard, False) for shard in order[self.share.number : dealt : of]]
        return own + [(shard, True) for shard in order[dealt:]]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as plain values."""
        return {"cursor": self._cursor.as_list(), "last": self._last, "out": self.out, "ended": self.ended}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there."""
        self._cursor = _Cursor(*state["cursor"])
        self._last = None if state["last"] is None else (float(state["last"][0]), int(state["last"][1]))
        self.out, self.ended = state["out"], state["ended"]


def _patiently(shards: Shards, shard: int, place: Any) -> Iterator[ShardRow]:
    """The rows of a shard from a place on; where a network fails, it is opened again where it broke off."""
    failures, had = 0, False  # whether the row at `place` was given away
    while True:
        try:
            rows = shards.read(shard, place)
            if had:
                next(rows, None)
            for row in rows:
                yield row
                place, had, failures = row.place, True, 0
            return
        except (FileNotFoundError, PermissionError, IsADirectoryError):
            raise
        except OSError as error:
            failures += 1
            if not shards.remote or failures > _TRIES:
                raise
            logger.warning(f"{error} It is opened again, {failures} of {_TRIES} times.")
            time.sleep(2 ** (failures - 1))


class MixedStream:
    """One share of the epochs of a mixture: an iterator that can be stopped, saved and resumed.

    Args:
        sets: what is mixed.
        share: which rows.
        buffer: of each set, see [`SetStream`].
        mixing: how sets without weights are drawn while they last, see `sampling.Mixture`.
        seed: another seed is another order.
        epoch: the epoch to begin with.
    """

    def __init__(
        self,
        sets: Sequence[StreamSet],
        share: Share,
        *,
        buffer: int = 1000,
        mixing: Mixing = "size",
        seed: int = 0,
        epoch: int = 0,
    ):
        self.sets, self.share, self.buffer, self.mixing, self.seed = list(sets), share, buffer, mixing, seed
        self.epoch = epoch
        self._begin()

    def _begin(self) -> None:
        shared = (self.share, self.buffer, self.seed, self.epoch)
        self._streams = [SetStream(part, number, *shared) for number, part in enumerate(self.sets)]
        self.position = 0

    def __iter__(self) -> Iterator[StreamedRow]:
        """The rest of the epoch. Then the next begins."""
        streams = self._streams
        sources = [iter(stream) for stream in streams]
        numbers = _Numbers([self.seed, self.epoch, len(streams), self.share.number, self.share.of])
        while not all(stream.ended for stream in streams):
            drawn = self._draw(numbers.at(self.position)[0]) if len(streams) > 1 else 0
            row = next(sources[drawn], None)
            if row is not None:
                self.position += 1  # before it is given away: who saves now has had it
                yield row
        self.epoch += 1
        self._begin()

    def _draw(self, number: float) -> int:
        """The set that comes next, by a random number in [0, 1)."""
        rates = np.array([0.0 if stream.ended else self._rate(stream) for stream in self._streams])
        if not rates.any():  # longer than was said
            rates = np.array([0.0 if stream.ended else 1.0 for stream in self._streams])
        return int(np.searchsorted(np.cumsum(rates) / rates.sum(), number, side="right"))

    def _rate(self, stream: SetStream) -> float:
        if stream.part.weight is not None:
            return stream.part.weight
        entries = stream.part.entries or 0.0
        return entries**0.5 if self.mixing == "root" else max(0.0, entries / self.share.of - stream.out)

    @property
    def entries(self) -> float | None:
        """How many rows an epoch has on all shares, on average; None where that is not known, or it has no end."""
        counts = [part.entries for part in self.sets]
        return None if None in counts else float(sum(count for count in counts if count is not None))

    def entries_out(self) -> float:
        """How many rows this share has given away since the first epoch began; of the epoch at most its part."""
        if self.entries is None:
            return self.position
        expected = self.entries / self.share.of
        return self.epoch * expected + min(self.position, expected)

    def identity(self) -> dict[str, Any]:
        """What must not change for a place to mean the same, as plain values."""
        return {
            "sets": [identity_of(part) for part in self.sets],
            "buffer": self.buffer,
            "mixing": self.mixing,
            "seed": self.seed,
            "share": [self.share.number, self.share.of, self.share.block],
        }

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as plain values."""
        place = {"epoch": self.epoch, "position": self.position}
        return {**place, "streams": [stream.state_dict() for stream in self._streams], **self.identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state_dict` was taken.

        Raises:
            ValueError: it was taken of another mixture or share, in which the place means something else.
        """
        refuse_changes(state, self.identity())
        self.epoch = int(state["epoch"])
        self._begin()
        self.position = int(state["position"])
        for stream, place in zip(self._streams, state["streams"], strict=True):
            stream.load_state_dict(place)


def identity_of(part: StreamSet) -> list[Any]:
    """What makes the rows of a set what they are, as plain values: its shards are named by number and a digest."""
    digest = hashlib.sha256(json.dumps(part.shards.identity()).encode()).hexdigest()[:16]
    return [part.name, f"{len(part.shards)} shards {digest}", part.repeat, part.weight, part.length]


__all__ = ["MixedStream", "SetStream", "Share", "StreamSet", "StreamedRow", "identity_of"]
