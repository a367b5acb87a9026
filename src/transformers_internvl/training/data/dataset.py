# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Data sets for training loops: rows in, samples or packs out, the same ones for the same seed.

    ChatDataset       sample by sample, map-style, for `PaddingCollator`
    PackedDataset     pack by pack, iterable, for `PackingCollator`

Everything random about a sample (JPEG, frames of a video) follows from seed, epoch and entry, so that an entry is the
same in whatever process and order it is made.
"""

import copy
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jinja2.exceptions import TemplateError
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from ...modeling.losses import IGNORE_INDEX
from ...renamed_modules import former_argument
from ..feature_cache.model import name_tiles
from ..feature_cache.store import FeatureStore
from .augmentation import RandomJpeg
from .collation import as_piece, take_piece
from .packing import Pack, Packer, Piece
from .records import DataSet, SkipPolicy
from .rows import MessagesRow, ParsedRow, PreferenceRow, StepsRow, UnusableSample
from .samples import Sample, SampleEncoder
from .sampling import Mixing, Mixture, MixtureStream, refuse_changes
from .step_labels import StepLabels
from .urls import Fetched, UrlRules, url_rules

# What a file, an image or a template can be wrong with. Anything else is a fault of the program and stops it.
_DATA_ERRORS = (ValueError, OSError, TemplateError)
_FORMER_LIMITS = {"cut": "split"}  # in states that version 0.1.0 saved


class ChatDataset(Dataset):
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
        if not 1 <= num_frames[0] <= num_frames[1]:
            raise ValueError(f"`num_frames` is the minimum and maximum number of frames of a video, got {num_frames}.")
        self.sets, self.encoder, self.num_frames = list(sets), encoder, num_frames
        self.mixture = Mixture([len(part.rows) for part in sets], [part.repeat for part in sets], mixing, seed)
        self.policy = SkipPolicy() if policy is None else policy
        self.url_rules, self.step_labels = url_rules(allow_urls), step_labels
        self.features: FeatureStore | None = None
        self.epoch = 0
        self._entries: tuple[int, np.ndarray, np.ndarray] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch: another order, other JPEG qualities and frames. Data loaders of accelerate call it."""
        self.epoch = epoch

    def use_features(self, store: FeatureStore | None) -> None:
        """Give tiles by name from now on, for a [`FeatureCollator`], and skip images that were encoded before.

        Args:
            store: where features are kept; None = give pixels again.

        Raises:
            ValueError: a set is augmented, so that its pixels change from epoch to epoch.
        """
        if store is not None:
            refuse_augmentation(self.sets)
        self.features = store

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
        row = part.rows[sample]
        seed = [self.mixture.seed, epoch, number, sample, entry]
        try:
            encoder = self._encoder_of(seed, part.augment)
            with_new_tiles = name_tiles(encoder.processor, self.features) if self.features else None
            fetched = Fetched(self.url_rules).row(row)
            encoded = _encode(fetched, encoder, part.max_patches, self.num_frames, self.step_labels)
            encoded = with_new_tiles(encoded) if with_new_tiles else encoded
        except _DATA_ERRORS as error:
            raise UnusableSample(row.where, str(error)) from error
        labels = [encoded[name] for name in ("labels", "chosen_labels", "rejected_labels") if name in encoded]
        if any((kind == IGNORE_INDEX).all() for kind in labels):
            raise UnusableSample(row.where, "no token is supervised: the answer is empty or was truncated")
        return encoded

    def _encoder_of(self, seed: list[int], augment: bool) -> SampleEncoder:
        """The encoder with random numbers of its own, for one sample."""
        processor = copy.copy(self.encoder.processor)
        processor.video_processor = copy.copy(processor.video_processor)
        processor.video_processor.rng = random.Random(str(seed))
        if augment:
            processor.image_processor = RandomJpeg(processor.image_processor, seed)
        return replace(self.encoder, processor=processor)


def _encode(
    row: ParsedRow,
    encoder: SampleEncoder,
    max_patches: int | None,
    num_frames: tuple[int, int],
    step_labels: StepLabels | None,
) -> Sample:
    options: dict[str, Any] = {"images_kwargs": {} if max_patches is None else {"max_patches": max_patches}}
    if any(isinstance(video, (str, os.PathLike, bytes)) for video in row.videos):  # frames in a list stay as they are
        drawn = encoder.processor.video_processor.rng.randint(*num_frames)
        options["videos_kwargs"] = {"num_frames": drawn, "sampling": "rand"}
        if row.clip is not None:
            options["videos_kwargs"]["bound"] = row.clip
    if isinstance(row, MessagesRow):
        return encoder.messages(row.messages, row.images, row.videos, **options)
    if isinstance(row, PreferenceRow):
        chosen = encoder.turns(row.turns_with(row.chosen), row.images, row.videos, **options)
        without_pixels = encoder.turns(row.turns_with(row.rejected), row.images, row.videos, **options)
        shared: Sample = {name: chosen[name] for name in ("pixel_values", "num_patches") if name in chosen}
        kinds = {"chosen": chosen, "rejected": without_pixels}
        texts = ("input_ids", "labels", "attention_mask")
        return {**{f"{kind}_{name}": data[name] for kind, data in kinds.items() for name in texts}, **shared}
    if isinstance(row, StepsRow):
        if step_labels is None:
            raise ValueError(
                "the row has scored steps, which objective 'prm' trains on (`ChatDataset(step_labels=...)`)"
            )
        return encoder.turns(step_labels.turns_of(row), row.images, **options)
    encode = encoder.pretraining if row.kind == "pretraining" else encoder.turns
    return encode(row.turns, row.images, row.videos, **options)


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
        data: ChatDataset,
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
        self._stream: MixtureStream | None = None
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
        while not self._last:
            for number, sample, entry in stream:
                self._add((stream.epoch, number, sample, entry))
                yield from self._take()
            if not self.endless:
                self._last = True
                self._ready += self._packer.flush()
        yield from self._take()
        self._last = False
        self.epoch += 1

    def _begin(self) -> MixtureStream:
        """A new epoch, or the state of `load_state_dict`."""
        worker = get_worker_info()
        workers, own = (1, 0) if worker is None else (worker.num_workers, worker.id)
        share = (self.rank * workers + own, self.world_size * workers) if self.share is None else self.share
        self._stream = stream = MixtureStream(self.data.mixture, *share, self.epoch)
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

    def _add(self, key: tuple) -> None:
        policy = self.data.policy
        try:
            piece = self._encoded(key)
        except UnusableSample as error:
            policy(error)
            return
        try:
            self._ready += self._packer.add(piece)
        except ValueError as error:
            _, number, sample, _ = key
            del self._samples[key]
            policy(UnusableSample(self.data.sets[number].rows[sample].where, str(error)))

    def _encoded(self, key: tuple) -> Piece:
        """The whole sample as a piece; its tensors are kept until all of it went out."""
        epoch, number, sample, entry = key
        encoded = self.data.encode(number, sample, epoch, entry)
        tokenizer = self.data.encoder.processor
        if "input_ids" not in encoded:
            where = self.data.sets[number].rows[sample].where
            raise UnusableSample(where, "preference pairs cannot be packed: use ChatDataset")
        self._samples[key] = encoded
        return as_piece(encoded, key, tokenizer.start_image_token_id, tokenizer.end_image_token_id)

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
            whole = self._encoded(tuple(key))
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

    def entries_out(self) -> int:
        """How many entries of this share went out in packs, or were left out, since the first epoch began."""
        if self._stream is None:
            return 0
        read = self._stream.epoch * len(self._stream) + self._stream.position
        return read - len(self._samples)

    def packs_per_entry(self, samples: int = 64) -> float:
        """How much of a pack an entry fills on average, as a few samples tell that are read for it.

        Raises:
            UnusableSample: none of them can be used; the reason of the last.
        """
        sets, numbers = self.data.mixture.epoch(0)
        drawn = np.random.default_rng(self.data.mixture.seed).permutation(len(sets))[:samples].tolist()
        pieces, failure = [], None
        for entry in drawn:
            try:
                pieces.append(self._encoded((0, int(sets[entry]), int(numbers[entry]), entry)))
            except UnusableSample as error:  # the policy gets it when the sample is read
                failure = error
        self._samples = {}
        if failure is not None and not pieces:
            raise failure
        tokens, tiles = sum(piece.tokens for piece in pieces), sum(piece.tiles for piece in pieces)
        return max(tokens / self.limits["max_tokens"], tiles / self.limits["max_tiles"]) / len(pieces)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue there when iterating begins.

        Raises:
            ValueError: (then) the data or the limits changed since; see `MixtureStream.load_state_dict`.
        """
        self._loaded = state
        self.epoch = state["epoch"]


def refuse_augmentation(sets: Sequence[DataSet]) -> None:
    """Raise `ValueError` where sets are augmented, so that the features of their images change with every epoch."""
    augmented = [part.name for part in sets if part.augment]
    if augmented:
        raise ValueError(
            f"Features cannot be kept of images that are augmented, as those of {', '.join(augmented)} are: set "
            '`augment=False` (in a meta file `"data_augment": false`), or train without the feature cache.'
        )


def _named(packs: list[Pack]) -> list[list[list[Any]]]:
    return [[[list(p.key), p.start, p.stop, p.position] for p in pack.pieces] for pack in packs]  # type: ignore


__all__ = ["ChatDataset", "PackedDataset", "refuse_augmentation"]
