# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A row becomes a sample, with random numbers of its own: the same in whatever process and order it is made."""

import copy
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jinja2.exceptions import TemplateError

from ...modeling.losses import IGNORE_INDEX
from ..feature_cache.model import name_tiles
from ..feature_cache.store import FeatureStore
from .augmentation import RandomJpeg
from .records import SkipPolicy
from .rows import MessagesRow, ParsedRow, PreferenceRow, StepsRow, UnusableSample
from .samples import Sample, SampleEncoder
from .step_labels import StepLabels
from .urls import Fetched, UrlRules, url_rules

# What a file, an image or a template can be wrong with. Anything else is a fault of the program and stops it.
_DATA_ERRORS = (ValueError, OSError, TemplateError)


class Augmented(Protocol):
    """What a set says about its samples, see [`DataSet`]."""

    @property
    def name(self) -> str: ...
    @property
    def augment(self) -> bool: ...
    @property
    def max_patches(self) -> int | None: ...


class RowEncoder:
    """What data sets of rows have in common: settings, and how a row becomes a sample.

    Args:
        sets: where the rows are from.
        encoder: turns conversations into samples.
        num_frames: minimum and maximum number of frames of a video, drawn for each; the original ones are 8 and 32.
        policy: what happens to samples that cannot be used; None raises.
        allow_urls: whether `http(s)` URLs that rows name are fetched, from public addresses; or by which
            [`UrlRules`]. Else they are samples that cannot be used.
        step_labels: how rows of scored steps become conversations. None: they are samples that cannot be used.

    Raises:
        ValueError: `num_frames` is not a minimum and a maximum.
    """

    def __init__(
        self,
        sets: Sequence[Any],
        encoder: SampleEncoder,
        num_frames: tuple[int, int] = (8, 32),
        policy: SkipPolicy | None = None,
        allow_urls: bool | UrlRules = False,
        step_labels: StepLabels | None = None,
    ):
        if not 1 <= num_frames[0] <= num_frames[1]:
            raise ValueError(f"`num_frames` is the minimum and maximum number of frames of a video, got {num_frames}.")
        self.sets, self.encoder, self.num_frames = list(sets), encoder, num_frames
        self.policy = SkipPolicy() if policy is None else policy
        self.url_rules, self.step_labels = url_rules(allow_urls), step_labels
        self.features: FeatureStore | None = None
        self.epoch = 0

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

    def encode_row(self, row: ParsedRow, part: Augmented, seed: list[int]) -> Sample:
        """A row of a set as a sample; what is random about it follows from `seed`.

        Raises:
            UnusableSample: it cannot be used.
        """
        try:
            encoder = self._with_random_numbers(seed, part.augment)
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

    def _with_random_numbers(self, seed: list[int], augment: bool) -> SampleEncoder:
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


def refuse_augmentation(sets: Sequence[Augmented]) -> None:
    """Raise `ValueError` where sets are augmented, so that the features of their images change with every epoch."""
    augmented = [part.name for part in sets if part.augment]
    if augmented:
        raise ValueError(
            f"Features cannot be kept of images that are augmented, as those of {', '.join(augmented)} are: set "
            '`augment=False` (in a meta file `"data_augment": false`), or train without the feature cache.'
        )


@dataclass(frozen=True)
class Entry:
    """A sample that is yet to be made.

    Attributes:
        key: names it; plain values, from which `entry` of its data set makes it again.
        encode: makes it.
        where: file and line, for errors.
    """

    key: tuple
    encode: Callable[[], Sample]
    where: Callable[[], str]


__all__ = ["Augmented", "Entry", "RowEncoder", "refuse_augmentation"]
