# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Batches of our data sets for one rank, epoch after epoch, and where it is in them.

    RowLoader      a `ChatDataset`: batch m of rank r has the entries [(m * ranks + r) * size, ... + size)
    PackLoader     a `PackedDataset`: each worker of each rank packs every n-th entry
    StreamLoader   a `StreamedDataset`: each worker of each rank reads a share of the shards, or of the rows of one

No sample is lost or repeated, so that ranks may differ in how many batches they have; the trainer adds empty batches.
Every batch comes with the place after it. Resuming there reads nothing twice, except for the samples that wait
in open packs, and nothing depends on the global random numbers, or changes them.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from .dataset import ChatDataset, PackedDataset
from .sampling import refuse_changes
from .streamed import StreamedDataset

Batch = dict[str, Any]
Collate = Callable[[list[Any]], Batch]


class EpochBatches:
    """What is left of an epoch on this rank. It reads one batch ahead, to know whether it has `ended`.

    Iterating gives batches; None stands for a batch without any sample.
    """

    def __init__(self, source: Iterator[tuple[Batch | None, Any]], note: Callable[[Any], None]):
        self._source, self._note = source, note
        self._ahead = next(source, None)

    @property
    def ended(self) -> bool:
        """Whether there is no further batch."""
        return self._ahead is None

    def __iter__(self) -> Iterator[Batch | None]:
        return self

    def __next__(self) -> Batch | None:
        if self._ahead is None:
            raise StopIteration
        batch, place = self._ahead
        self._ahead = next(self._source, None)
        self._note(place)
        return batch


class TrainingLoader(ABC):
    """What both loaders share. Iterating gives the rest of the epoch, or after `finished = True` the next one.

    Args:
        data: a `ChatDataset`, a `PackedDataset` or a `StreamedDataset`.
        collate: makes a batch of a list of samples or packs.
        batch_size: samples or packs in a batch.
        rank, ranks: which rank this is, of those that read different data.
        **options: of `torch.utils.data.DataLoader`.

    Attributes:
        epoch: the epoch it is in, from 0.
        finished: whether all ranks are through with it.
    """

    def __init__(
        self, data: Any, collate: Collate, batch_size: int, rank: int = 0, ranks: int = 1, **options: Any
    ) -> None:
        self.data, self.collate, self.batch_size, self.rank, self.ranks = data, collate, batch_size, rank, ranks
        # A generator of its own: a resumed epoch starts its workers once more than an uninterrupted one.
        self.options = {"num_workers": 0, **options, "generator": torch.Generator()}
        self.epoch, self.finished = 0, False
        self.batches: EpochBatches | None = None

    def __iter__(self) -> EpochBatches:
        if self.finished:
            self.epoch, self.finished = self.epoch + 1, False
            self._rewind()
        self.batches = EpochBatches(self._read(), self._note)
        return self.batches

    @property
    @abstractmethod
    def entries(self) -> float | None:
        """How many entries an epoch has, on all ranks; None where that is not known, or it has no end."""

    @property
    def counts_steps(self) -> bool:
        """Whether it is known beforehand how many batches there are."""
        return True

    @property
    def counts_entries(self) -> bool:
        """Whether `entries` is counted, and not what a user has said of a stream."""
        return True

    @abstractmethod
    def batches_per_epoch(self) -> int:
        """How many batches each rank has in an epoch, or about how many."""

    @abstractmethod
    def entries_out(self) -> float:
        """How many entries of this rank went out in batches since the first epoch began."""

    @abstractmethod
    def _rewind(self) -> None:
        """Go to the begin of the epoch."""

    @abstractmethod
    def _read(self) -> Iterator[tuple[Batch | None, Any]]:
        """The batches from here on, each with the argument of `_note` for when it has been given away."""

    @abstractmethod
    def _note(self, place: Any) -> None:
        """Remember the place after the batch that was returned."""

    @abstractmethod
    def _identity(self) -> dict[str, Any]:
        """What must not have changed for a place to mean the same."""

    @abstractmethod
    def _place(self) -> dict[str, Any]:
        """Behind the last batch that was given away, within the epoch."""

    @abstractmethod
    def _go_to(self, place: dict[str, Any]) -> None:
        """Continue at a place."""

    def state_dict(self) -> dict[str, Any]:
        """Behind the last batch that was given away: plain numbers, for JSON."""
        return {"epoch": self.epoch, "finished": self.finished, "data": self._identity(), "place": self._place()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue there.

        Raises:
            ValueError: in mid-epoch, and data, ranks or workers changed since.
        """
        if not state["finished"]:
            refuse_changes(state["data"], self._identity())
            self._go_to(state["place"])
        self.epoch, self.finished = state["epoch"], state["finished"]


class RowLoader(TrainingLoader):
    """Batches of a `ChatDataset`, in the order of its mixture. What was passed over is not read.

    Args:
        drop_last: leave out the entries at the end of an epoch that do not fill a batch on every rank.
    """

    data: ChatDataset

    def __init__(self, *args: Any, drop_last: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.drop_last = drop_last
        self._rewind()

    @property
    def entries(self) -> int:
        return len(self.data)

    def batches_per_epoch(self) -> int:
        """As many on each rank; the last ones may be without samples on some."""
        whole, rest = divmod(self.entries, self.ranks * self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def entries_out(self) -> int:
        return self.epoch * self._entries_before(self.entries) + self._entries_before(self._position)

    def _entries_before(self, position: int) -> int:
        whole, rest = divmod(position, self.ranks * self.batch_size)
        return whole * self.batch_size + min(max(rest - self.rank * self.batch_size, 0), self.batch_size)

    def _rewind(self) -> None:
        self._position = 0  # the first entry that no rank has had

    def _read(self) -> Iterator[tuple[Batch | None, int]]:
        self.data.set_epoch(self.epoch)
        together = self.ranks * self.batch_size
        stop = self.entries - self.entries % together if self.drop_last else self.entries
        begins = range(self._position, stop, together)
        rows = _Slices(begins, self.rank * self.batch_size, self.batch_size, stop)
        loader: DataLoader = DataLoader(
            self.data, batch_sampler=rows, collate_fn=_Present(self.collate), **self.options
        )
        return zip(loader, (min(begin + together, stop) for begin in begins), strict=True)

    def _note(self, place: int) -> None:
        self._position = place

    def _identity(self) -> dict[str, Any]:
        return self.data.mixture.identity()

    def _place(self) -> dict[str, Any]:
        return {"position": self._position}

    def _go_to(self, place: dict[str, Any]) -> None:
        self._position = place["position"]


class _Slices:
    """The entries of each batch of a rank: `size` of them from `begin + offset` on, if there are so many."""

    def __init__(self, begins: range, offset: int, size: int, stop: int):
        self.begins, self.offset, self.size, self.stop = begins, offset, size, stop

    def __len__(self) -> int:
        return len(self.begins)

    def __iter__(self) -> Iterator[range]:
        for begin in self.begins:
            first = begin + self.offset
            yield range(min(first, self.stop), min(first + self.size, self.stop))


class _Present:
    """Collates the samples that were not left out, if there are any."""

    def __init__(self, collate: Collate):
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Batch | None:
        present = [sample for sample in samples if sample is not None]
        return self.collate(present) if present else None


class TurnLoader(TrainingLoader):
    """What loaders of iterable data share. Workers take turns, and each has a place of its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._workers = max(1, self.options["num_workers"])
        self._rewind()

    @property
    def counts_steps(self) -> bool:
        return False

    @property
    def counts_entries(self) -> bool:
        return not isinstance(self.source, StreamedDataset)

    @property
    @abstractmethod
    def source(self) -> Any:
        """The samples, a `ChatDataset` or a `StreamedDataset`."""

    @property
    def entries(self) -> float | None:
        return self.source.entries

    def batches_per_epoch(self) -> int:
        """Estimated from a few samples."""
        share = math.ceil((self.entries or 0) / (self.ranks * self._workers))
        packs = self._workers * math.ceil(share * self.data.packs_per_entry())
        return math.ceil(packs / self.batch_size)

    def entries_out(self) -> float:
        ended = self.batches is not None and self.batches.ended
        return sum(self._out_of(worker, ended) for worker in range(self._workers))

    def _out_of(self, worker: int, ended: bool) -> float:
        if worker in self._places and not ended:
            return self._places[worker]["out"]
        return (self.epoch + ended) * self.source.entries_of_share(*self._share(worker)[:2])

    @abstractmethod
    def _share(self, worker: int) -> tuple[int, ...]:
        """What a worker of this rank reads: which share, of how many, and for streams in which blocks."""

    def _rewind(self) -> None:
        self._places: dict[int, dict[str, Any]] = {}  # of each worker, once it gave a batch
        self._next = 0  # the worker whose turn it is

    def _read(self) -> Iterator[tuple[Batch | None, Any]]:
        turns = [(self._next + turn) % self._workers for turn in range(self._workers)]
        shares = [(worker, self._share(worker), self._places.get(worker)) for worker in turns]
        batches = _WorkersBatches(self.data, self.collate, self.batch_size, self.epoch, shares)
        return iter(DataLoader(batches, batch_size=None, collate_fn=_as_it_is, **self.options))

    def _note(self, place: tuple[int, dict[str, Any]]) -> None:
        worker, self._places[place[0]] = place
        self._next = (worker + 1) % self._workers

    def _identity(self) -> dict[str, Any]:
        return {"rank": self.rank, "ranks": self.ranks, "workers": self._workers, **self.source.identity()}

    def _place(self) -> dict[str, Any]:
        return {"next": self._next, "workers": {str(worker): place for worker, place in self._places.items()}}

    def _go_to(self, place: dict[str, Any]) -> None:
        self._next = place["next"]
        self._places = {int(worker): state for worker, state in place["workers"].items()}


class PackLoader(TurnLoader):
    """Batches of a `PackedDataset`."""

    data: PackedDataset

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if (self.data.rank, self.data.world_size) not in ((0, 1), (self.rank, self.ranks)):
            raise ValueError(
                f"The packed data set is for rank {self.data.rank} of {self.data.world_size}, this is rank "
                f"{self.rank} of {self.ranks}: leave `rank` and `world_size` out, the trainer sets them."
            )

    @property
    def source(self) -> Any:
        return self.data.data

    def _share(self, worker: int) -> tuple[int, ...]:
        return self.rank * self._workers + worker, self.ranks * self._workers

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "endless": self.data.endless, **self.data.limits}


class StreamLoader(TurnLoader):
    """Batches of a `StreamedDataset`, as `RowLoader` makes them of the same rows in the same order.

    Of a shard that is shared by rows, batch m of rank r has the rows [(m * ranks + r) * size, ... + size).
    """

    data: StreamedDataset

    def __init__(self, data: StreamedDataset, collate: Collate, *args: Any, **options: Any) -> None:
        super().__init__(data, _Present(collate), *args, **options)

    @property
    def source(self) -> Any:
        return self.data

    @property
    def counts_steps(self) -> bool:
        return True

    def batches_per_epoch(self) -> int:
        """By the number of rows that is known; ranks with smaller shards have fewer."""
        return math.ceil((self.entries or 0) / (self.ranks * self.batch_size))

    def _share(self, worker: int) -> tuple[int, ...]:
        return worker * self.ranks + self.rank, self.ranks * self._workers, self.batch_size

    def _identity(self) -> dict[str, Any]:
        return {**super()._identity(), "batch": self.batch_size}


class _WorkersBatches(IterableDataset):
    """The batches of one worker, each with the worker's number and its place after them.

    Args:
        shares: the number, share and place of each worker, in the order of their turns.
    """

    def __init__(self, data: Any, collate: Collate, batch_size: int, epoch: int, shares: list[Any]):
        self.data = copy.copy(data)  # the user's own stays as it is
        self.collate, self.batch_size, self.epoch, self.shares = collate, batch_size, epoch, shares

    def __iter__(self) -> Iterator[tuple[Batch | None, tuple[int, dict[str, Any]]]]:
        process = get_worker_info()
        worker, self.data.share, place = self.shares[0 if process is None else process.id]
        if place is None:
            self.data.epoch = self.epoch
        else:
            self.data.load_state_dict(place["state"])
        packs = iter(self.data)
        while batch := list(islice(packs, self.batch_size)):
            here = {"out": self.data.entries_out(), "state": self.data.state_dict()}
            yield self.collate(batch), (worker, here)


def _as_it_is(batch: Any) -> Any:
    return batch


def training_loader(data: Dataset, *args: Any, drop_last: bool = False, **options: Any) -> TrainingLoader | None:
    """The loader for a data set of ours, with the arguments of `TrainingLoader`; None for any other data set.

    Raises:
        ValueError: packs or streams, whose last batch is not known beforehand, with `drop_last`; packs for another
            rank.
    """
    if isinstance(data, ChatDataset):
        return RowLoader(data, *args, drop_last=drop_last, **options)
    loaders = {PackedDataset: PackLoader, StreamedDataset: StreamLoader}
    chosen = next((loader for kind, loader in loaders.items() if isinstance(data, kind)), None)
    if chosen is None:
        return None
    if drop_last:
        raise ValueError(
            "Nothing is dropped at the end of an epoch of packs or of a stream: leave `dataloader_drop_last` off."
        )
    return chosen(data, *args, **options)


__all__ = [
    "EpochBatches",
    "PackLoader",
    "RowLoader",
    "StreamLoader",
    "TrainingLoader",
    "TurnLoader",
    "training_loader",
]
