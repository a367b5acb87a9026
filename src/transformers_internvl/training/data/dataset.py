# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Data sets for training loops: rows in, samples or packs out, the same ones for the same seed.

    ChatDataset       sample by sample, map-style, for `PaddingCollator`
    PackedDataset     pack by pack, iterable, for `PackingCollator`

Everything random about a sample (JPEG, frames of a video) follows from seed, epoch and entry, so that an entry is the
same in whatever process and order it is made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ...renamed_modules import former_argument
from ..feature_cache.store import FeatureStore
from .collation import as_piece, take_piece
from .encoding import Entry, RowEncoder, refuse_augmentation
from .packing import Pack, Packer, Piece
from .records import DataSet, SkipPolicy
from .rows import UnusableSample
from .samples import Sample, SampleEncoder
from .sampling import Mixing, Mixture, MixtureStream, refuse_changes
from .step_labels import StepLabels
from .streamed import StreamedDataset
from .streams import MixedStream
from .urls import UrlRules

_FORMER_LIMITS = {"cut": "split"}  # in states that version 0.1.0 saved


class ChatDataset(RowEncoder, Dataset):
    """The entries of an epoch of a mixture, encoded when asked for.

    Args:
        sets: what is mixed; see `read_meta`.
        encoder: turns conversations into samples.
        mixing: `"size"` or `"root"`; see `Mixture`.
        seed: of the order, the repeated parts, JPEG qualities and frames.
        num_frames: minimum and maximum number of frames of a video, drawn for each; the original ones are 8 and 32.
        policy: what happens to samples that cannot be used; None raises. A sample that is left out is None, which
            collators skip.
        allow_urls: whether `http(s)` URLs that rows name are fetched, from public addresses; or by which
            [`UrlRules`]. Else they are samples that cannot be used.
        step_labels: how rows of scored steps become conversations. None: they are samples that cannot be used.

    `dataset[i]` is what `SampleEncoder` returns. Of a preference row it is `chosen_input_ids`, `chosen_labels`,
    `chosen_attention_mask`, the same of `rejected_`, and `pixel_values` and `num_patches` once.

    Raises:
        UnusableSample: (`dataset[i]`) file, line and reason, unless the policy leaves it out.
    """

    def __init__(
        self,
        sets: Sequence[DataSet],
        encoder: SampleEncoder,
        *,
        mixing: Mixing = "size",
        seed: int = 0,
        num_frames: tuple[int, int] = (8, 32),
        policy: SkipPolicy | None = None,
        allow_urls: bool | UrlRules = False,
        step_labels: StepLabels | None = None,
    ):
        super().__init__(sets, encoder, num_frames, policy, allow_urls, step_labels)
        self.mixture = Mixture([len(part.rows) for part in sets], [part.repeat for part in sets], mixing, seed)
        self._entries: tuple[int, np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, entry: int) -> Sample | None:
        if self._entries is None or self._entries[0] != self.epoch:
            self._entries = (self.epoch, *self.mixture.epoch(self.epoch))
        _, sets, samples = self._entries
        try:
            return self.encode(int(sets[entry]), int(samples[entry]), self.epoch, int(entry))
        except UnusableSample as error:
            self.policy(error)
            return None

    def encode(self, number: int, sample: int, epoch: int, entry: int) -> Sample:
        """Sample `sample` of set `number`, as it is at `entry` of `epoch`.

        Raises:
            UnusableSample: it cannot be used.
        """
        part = self.sets[number]
        seed = [self.mixture.seed, epoch, number, sample, entry]
        return self.encode_row(part.rows[sample], part, seed)

    # What packs of it need.

    @property
    def entries(self) -> int:
        """How many entries an epoch has."""
        return len(self)

    def entries_of_share(self, share: int, shares: int) -> int:
        """How many entries of an epoch a share has."""
        return len(range(share, len(self), shares))

    def identity(self) -> dict[str, Any]:
        """What makes the entries what they are, as plain values."""
        return self.mixture.identity()

    def stream(self, share: int, shares: int, epoch: int) -> MixtureStream:
        """A share of an epoch and of those behind it."""
        return MixtureStream(self.mixture, share, shares, epoch)

    def entry(self, epoch: int, item: tuple[int, int, int]) -> Entry:
        """The sample of what the stream gives."""
        number, sample, entry = item
        return Entry(
            (epoch, *item),
            lambda: self.encode(number, sample, epoch, entry),
            lambda: self.sets[number].rows[sample].where,
        )

    def entry_again(self, key: tuple) -> Entry:
        """The sample of a key of `entry`."""
        epoch, *item = key
        return self.entry(epoch, tuple(item))

    def first_entries(self, count: int) -> Iterator[Entry]:
        """The first entries of the first epoch, `count` at most."""
        for _, item in zip(range(count), self.stream(0, 1, 0), strict=False):
            yield self.entry(0, item)

    def some_entries(self, count: int) -> Iterator[Entry]:
        """Entries of the first epoch that stand for the others, `count` at most."""
        sets, numbers = self.mixture.epoch(0)
        for entry in np.random.default_rng(self.mixture.seed).permutation(len(sets))[:count].tolist():
            yield self.entry(0, (int(sets[entry]), int(numbers[entry]), entry))


class PackedDataset(IterableDataset):
    """The same samples, packed on the way.

    Under `InternVLTrainer` nothing else needs to be set: it gives each rank and worker its share, and keeps the place
    in its checkpoints. In your own loop, each worker of a data loader packs a share, and each rank one of
    `world_size`; accelerate must not split or dispatch them again (`dispatch_batches=False`), since it splits batches
    along their first dimension, which counts rows for ids and tiles for pixels.

    Args:
        data: the samples.
        max_tokens, max_tiles: maximum numbers of a pack.
        max_open: maximum number of packs that wait for more.
        split: split samples that are larger than a pack, between their images; else they are unusable.
        rank, world_size: which rank this is, of how many, in your own loop.
        endless: go on with the next epoch, without emptying the open packs between.

    Iterating gives packs: lists of samples.

    `state_dict()` between two packs, and `load_state_dict` before iterating, continue exactly there. With
    workers, that is for loaders that save the state of their workers, as `InternVLTrainer`'s does.
    """

    def __init__(
        self,
        data: ChatDataset | StreamedDataset,
        max_tokens: int,
        max_tiles: int,
        *,
        max_open: int = 20,
        split: bool = False,
        rank: int = 0,
        world_size: int = 1,
        endless: bool = False,
        cut: bool | None = None,
    ):
        split = former_argument("cut", cut, "split", split)
        if not 0 <= rank < world_size:
            raise ValueError(f"Expected a rank from 0 to {world_size - 1}, got {rank}.")
        self.data, self.rank, self.world_size, self.endless = data, rank, world_size, endless
        self.limits = {"max_tokens": max_tokens, "max_tiles": max_tiles, "max_open": max_open, "split": split}
        self._packer = Packer(**self.limits)  # type: ignore[arg-type]
        self._ready: list[Pack] = []
        self._samples: dict[tuple, Sample] = {}
        self._stream: MixtureStream | MixedStream | None = None
        self._last = False  # the epoch's samples are through, its last packs go out
        self._loaded: dict[str, Any] | None = None
        self.share: tuple[int, int] | None = None  # (which, of how many), where the worker does not set it
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch. A loaded state and an endless stream keep their own epoch."""
        if self._loaded is None and not self.endless:
            self.epoch = epoch

    def use_features(self, store: FeatureStore | None) -> None:
        """As [`ChatDataset.use_features`]."""
        self.data.use_features(store)

    def __iter__(self) -> Iterator[list[Sample]]:
        stream = self._begin()
        yield from self._take()
        empty = 0  # epochs without an entry, one behind the other
        while not self._last:
            empty += 1
            for item in stream:
                empty = 0
                self._add(self.data.entry(stream.epoch, item))  # type: ignore[arg-type]
                yield from self._take()
            if empty > 1:
                raise ValueError("A rank or worker has no rows: there are fewer of them than ranks times workers.")
            if not self.endless:
                self._last = True
                self._ready += self._packer.flush()
        yield from self._take()
        self._last = False
        self.epoch += 1

    def _begin(self) -> MixtureStream | MixedStream:
        """A new epoch, or the state of `load_state_dict`."""
        worker = get_worker_info()
        workers, own = (1, 0) if worker is None else (worker.num_workers, worker.id)
        share = (self.rank * workers + own, self.world_size * workers) if self.share is None else self.share
        self._stream = stream = self.data.stream(*share, self.epoch)
        self._packer, self._ready, self._samples = Packer(**self.limits), [], {}  # type: ignore[arg-type]
        self._last = False
        if self._loaded is not None:
            state, self._loaded = self._loaded, None
            stream.load_state_dict(state["stream"])
            refuse_changes(
                {_FORMER_LIMITS.get(name, name): limit for name, limit in state["limits"].items()}, self.limits
            )
            self._last = state["last"]
            self._packer.open = [self._restored(pack) for pack in state["open"]]
            self._ready = [self._restored(pack) for pack in state["ready"]]
        return stream

    def _add(self, entry: Entry) -> None:
        policy = self.data.policy
        try:
            piece = self._encoded(entry)
        except UnusableSample as error:
            policy(error)
            return
        try:
            self._ready += self._packer.add(piece)
        except ValueError as error:
            del self._samples[entry.key]
            policy(UnusableSample(entry.where(), str(error)))

    def _encoded(self, entry: Entry) -> Piece:
        """The whole sample as a piece; its tensors are kept until all of it went out."""
        encoded = entry.encode()
        tokenizer = self.data.encoder.processor
        if "input_ids" not in encoded:
            raise UnusableSample(entry.where(), "preference pairs cannot be packed: use ChatDataset")
        self._samples[entry.key] = encoded
        return as_piece(encoded, entry.key, tokenizer.start_image_token_id, tokenizer.end_image_token_id)

    def _take(self) -> Iterator[list[Sample]]:
        while self._ready:
            pack = self._ready.pop(0)  # before it is given away: who saves now has had it
            parts = [take_piece(self._samples[piece.key], piece) for piece in pack.pieces]  # type: ignore[index]
            needed = {piece.key for other in (*self._ready, *self._packer.open) for piece in other.pieces}
            self._samples = {key: sample for key, sample in self._samples.items() if key in needed}
            yield parts

    def _restored(self, pieces: list[list[Any]]) -> Pack:
        pack = Pack()
        for key, start, stop, position in pieces:
            whole = self._encoded(self.data.entry_again(tuple(key)))
            _, after = whole.split(start, start)
            piece, _ = after.split(stop, stop)
            pack = pack.with_piece(replace(piece, position=position))
        return pack

    def state_dict(self) -> dict[str, Any]:
        """Where the data is, as plain numbers: the stream, and which pieces wait in packs. Tensors are made again."""
        if self._stream is None:
            raise ValueError("Nothing was read yet: there is no state to save. Begin to iterate first.")
        packs = {"open": _named(self._packer.open), "ready": _named(self._ready)}
        place = {"epoch": self.epoch, "last": self._last, "stream": self._stream.state_dict()}
        return {**place, "limits": dict(self.limits), **packs}

    def entries_out(self) -> float:
        """How many entries of this share went out in packs, or were left out, since the first epoch began."""
        return 0 if self._stream is None else self._stream.entries_out() - len(self._samples)

    def packs_per_entry(self, samples: int = 64) -> float:
        """How much of a pack an entry fills on average, as a few samples tell that are read for it.

        Raises:
            UnusableSample: none of them can be used; the reason of the last.
        """
        pieces, failure = [], None
        for entry in self.data.some_entries(samples):
            try:
                pieces.append(self._encoded(entry))
            except UnusableSample as error:  # the policy gets it when the sample is read
                failure = error
        self._samples = {}
        if failure is not None and not pieces:
            raise failure
        tokens, tiles = sum(piece.tokens for piece in pieces), sum(piece.tiles for piece in pieces)
        return max(tokens / self.limits["max_tokens"], tiles / self.limits["max_tiles"]) / max(1, len(pieces))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue there when iterating begins.

        Raises:
            ValueError: (then) the data or the limits changed since; see `MixtureStream.load_state_dict`.
        """
        self._loaded = state
        self.epoch = state["epoch"]


def _named(packs: list[Pack]) -> list[list[list[Any]]]:
    return [[[list(p.key), p.start, p.stop, p.position] for p in pack.pieces] for pack in packs]  # type: ignore


__all__ = ["ChatDataset", "PackedDataset", "refuse_augmentation"]
