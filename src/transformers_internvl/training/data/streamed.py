# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Samples of streamed sets, one by one, or for `PackedDataset` to pack.

sets = [StreamSet("web", FileShards(expand("s3://bucket/{000..127}.tar")))]
data = StreamedDataset(sets, encoder, shuffle_buffer=5000)
packs = PackedDataset(data, 8192, 40)
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from .encoding import Entry, RowEncoder
from .records import SkipPolicy
from .rows import ParsedRow, UnusableSample, parse_row
from .samples import Sample, SampleEncoder
from .sampling import MIXINGS, Mixing
from .shards import ShardRow
from .step_labels import StepLabels
from .streams import MixedStream, Share, StreamedRow, StreamSet, identity_of
from .urls import UrlRules


class StreamedDataset(RowEncoder, IterableDataset):
    """The rows of streamed sets, encoded in the order in which they come.

    Under `InternVLTrainer` each rank and worker reads a share of its own, every row of an epoch comes once, and
    checkpoints hold the place. In your own loop, `rank` and `world_size` say which share this is, and each worker of a
    data loader takes a part of it.

    Args:
        sets: what is mixed. Of several, each needs a `length` or each a `weight`.
        encoder: turns conversations into samples.
        shuffle_buffer: maximum number of rows of a set that wait to be shuffled, in each worker; 0 = rows come as
            they are written, shard after shard.
        rank, world_size: which rank this is, of how many, in your own loop.
        mixing, seed, num_frames, policy, allow_urls, step_labels: as for [`ChatDataset`].

    Iterating gives samples; one that is left out is None. `state_dict()` between two samples, and `load_state_dict`
    before iterating, continue exactly there.

    Raises:
        ValueError: sets without rows' numbers that could be mixed by them; weights for some sets only.
        UnusableSample: (iterating) file, line and reason, unless the policy leaves it out.
    """

    def __init__(
        self,
        sets: Sequence[StreamSet],
        encoder: SampleEncoder,
        *,
        shuffle_buffer: int = 1000,
        mixing: Mixing = "size",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_frames: tuple[int, int] = (8, 32),
        policy: SkipPolicy | None = None,
        allow_urls: bool | UrlRules = False,
        step_labels: StepLabels | None = None,
    ):
        super().__init__(sets, encoder, num_frames, policy, allow_urls, step_labels)
        _check_mixture(sets, mixing)
        if shuffle_buffer < 0:
            raise ValueError(f"`shuffle_buffer` is a number of rows from 0, got {shuffle_buffer}.")
        self.own = Share(rank, world_size)
        self.shuffle_buffer, self.mixing, self.seed = shuffle_buffer, mixing, seed
        self.share: tuple[int, ...] | None = None  # (which, of how many, in what blocks), where the worker does not
        self._stream: MixedStream | None = None
        self._loaded: dict[str, Any] | None = None

    @property
    def entries(self) -> float | None:
        """How many rows an epoch has, on average; None where that is not known, or it has no end."""
        return self.stream(0, 1, 0).entries

    def entries_of_share(self, share: int, shares: int) -> float:
        """How many of them a share has; 0 where that is not known."""
        return (self.entries or 0.0) / shares

    def identity(self) -> dict[str, Any]:
        """What makes the rows and their order what they are, as plain values."""
        sets = [identity_of(part) for part in self.sets]
        return {"sets": sets, "buffer": self.shuffle_buffer, "mixing": self.mixing, "seed": self.seed}

    def stream(self, share: int, shares: int, epoch: int, block: int = 1) -> MixedStream:
        """A share of the rows of an epoch, and of those behind it."""
        options: dict[str, Any] = {"buffer": self.shuffle_buffer, "mixing": self.mixing, "seed": self.seed}
        return MixedStream(self.sets, Share(share, shares, block), epoch=epoch, **options)

    def entry(self, epoch: int, item: StreamedRow) -> Entry:
        """The sample of a row. Its key tells where the row can be read again."""
        row = item.row
        key = (epoch, item.set, item.turn, item.shard, row.number, json.dumps(row.place))
        return Entry(key, lambda: self._encode(epoch, item), lambda: row.where)

    def entry_again(self, key: tuple) -> Entry:
        """The sample of a key of `entry`, whose row is read again."""
        epoch, number, turn, shard, _, place = key
        row = next(iter(self.sets[number].shards.read(shard, json.loads(place))), None)
        if row is None:
            raise ValueError(f"Set {self.sets[number].name!r}: shard {shard} is shorter than it was.")
        return self.entry(epoch, StreamedRow(number, turn, shard, row))

    def first_entries(self, count: int) -> Iterator[Entry]:
        """The first entries of the first epoch, `count` at most."""
        for _, item in zip(range(count), self.stream(0, 1, 0), strict=False):
            yield self.entry(0, item)

    some_entries = first_entries

    def parsed(self, item: StreamedRow) -> ParsedRow:
        """A row of the stream, checked.

        Raises:
            UnusableSample: it cannot be used.
        """
        return parsed(item.row, self.sets[item.set])

    def _encode(self, epoch: int, item: StreamedRow) -> Sample:
        seed = [self.seed, epoch, item.set, item.turn, item.shard, item.row.number]
        return self.encode_row(self.parsed(item), self.sets[item.set], seed)

    def __iter__(self) -> Iterator[Sample | None]:
        worker = get_worker_info()
        workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        own = (self.own.number * workers + number, self.own.of * workers)
        which, of, *block = own if self.share is None else self.share
        self._stream = stream = self.stream(which, of, self.epoch, *block)
        if self._loaded is not None:
            state, self._loaded = self._loaded, None
            stream.load_state_dict(state)
        epoch = stream.epoch
        for item in stream:
            try:
                yield self.entry(epoch, item).encode()
            except UnusableSample as error:
                self.policy(error)
                yield None
        self.epoch = stream.epoch

    def entries_out(self) -> float:
        """How many rows of this share went out since the first epoch began."""
        return 0 if self._stream is None else self._stream.entries_out()

    def state_dict(self) -> dict[str, Any]:
        """Where the data is, as plain values.

        Raises:
            ValueError: nothing was read yet.
        """
        if self._stream is None:
            raise ValueError("Nothing was read yet: there is no state to save. Begin to iterate first.")
        return self._stream.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue there when iterating begins.

        Raises:
            ValueError: (then) the data changed since; see `MixedStream.load_state_dict`.
        """
        self._loaded = state
        self.epoch = state["epoch"]


def parsed(row: ShardRow, part: StreamSet) -> ParsedRow:
    """A row of a shard, checked; a caption becomes the answer to the set's question.

    Raises:
        UnusableSample: it cannot be used.
    """
    fields = row.fields
    if isinstance(fields, UnusableSample):
        raise fields
    is_caption = isinstance(fields, dict) and "caption" in fields
    if is_caption and not fields.keys() & {"conversations", "messages", "question"}:
        if part.question is None:
            raise UnusableSample(
                row.where,
                "it has a caption and no conversation: say what it answers, by `question` of the set, such as "
                "'<image>\\nDescribe the image.'",
            )
        turns = [{"from": "human", "value": part.question}, {"from": "gpt", "value": fields["caption"]}]
        fields = {**fields, "conversations": turns}
    return parse_row(fields, row.where, part.shards.root)


def _check_mixture(sets: Sequence[StreamSet], mixing: str) -> None:
    if not sets:
        raise ValueError("Expected at least one set, got none.")
    if mixing not in MIXINGS:
        raise ValueError(f"`mixing` is one of {list(MIXINGS)}, got {mixing!r}.")
    without_weight = [part.name for part in sets if part.weight is None]
    if without_weight and len(without_weight) < len(sets):
        raise ValueError(f"Either all sets have a weight, or none: {without_weight} have none.")
    unknown = [part.name for part in sets if part.length is None]
    if without_weight and unknown and len(sets) > 1:
        raise ValueError(
            f"Streamed sets are mixed by their numbers of rows, which {unknown} do not tell: give each a `length`, or "
            "each a `weight` by which it is drawn."
        )


__all__ = ["StreamedDataset", "parsed"]
