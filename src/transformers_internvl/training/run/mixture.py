# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a mixture is made of, and what a run would see of it: `internvl train --dry-run --mixture`.

Some rows of every set are encoded as in training. Their tokens and tiles stand for the others.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.dataset import ChatDataset
from ..data.encoding import Entry
from ..data.rows import UnusableSample
from ..data.samples import Sample
from ..data.streamed import StreamedDataset
from ..data.streams import SetStream, Share
from .objectives import chat_samples, objective_of
from .options import RunOptions
from .run import data_seed, load_processor

LOOKED_AT = 100
"""Rows of a set that are encoded."""


@dataclass(frozen=True)
class SetContent:
    """A set and the rows of it that were looked at.

    Attributes:
        name: of the set.
        rows: how many it has; None where that is not known.
        repeat, weight: see [`DataSet`] and [`StreamSet`].
        share: of the samples of a run, from 0 to 1.
        modalities: how many of the rows that were looked at are of which: `"text"`, `"image"`, `"multi-image"`,
            `"video"`, `"grounding"`, `"pretraining"`.
        tokens, supervised, tiles: of each of these rows; of a preference those of both answers.
        unusable: where and why rows could not be used.
    """

    name: str
    rows: int | None
    repeat: float
    weight: float | None
    share: float
    modalities: tuple[str, ...]
    tokens: tuple[int, ...]
    supervised: tuple[int, ...]
    tiles: tuple[int, ...]
    unusable: tuple[tuple[str, str], ...]

    @property
    def looked_at(self) -> int:
        """How many rows were looked at."""
        return len(self.tokens) + len(self.unusable)

    def mean(self, name: str) -> float:
        """The mean of `tokens`, `supervised` or `tiles` over usable rows; 0 without one."""
        values = getattr(self, name)
        return sum(values) / len(values) if values else 0.0


@dataclass(frozen=True)
class MixtureReport:
    """What a mixture is made of.

    Attributes:
        sets: one by one.
        entries: samples of an epoch; None where that is not known, or there are no epochs.
        seen: samples that a run would see; None where it was not asked for.
    """

    sets: tuple[SetContent, ...]
    entries: float | None
    seen: float | None = None

    def shares(self, name: str) -> dict[str, float]:
        """The share of each set in all `"samples"`, `"tokens"`, `"supervised"` tokens or `"tiles"`, from 0 to 1."""
        amounts = {part.name: part.share * (1 if name == "samples" else part.mean(name)) for part in self.sets}
        return _normalized(amounts)

    def modality_shares(self, name: str) -> dict[str, float]:
        """The same of each modality, the largest share of samples first."""
        amounts: Counter[str] = Counter()
        samples: Counter[str] = Counter()
        for part in self.sets:
            values = [1] * len(part.tokens) if name == "samples" else getattr(part, name)
            for modality, value in zip(part.modalities, values, strict=True):
                amounts[modality] += part.share * value / len(part.tokens)
                samples[modality] += part.share / len(part.tokens)  # type: ignore[assignment]
        return _normalized({modality: amounts[modality] for modality, _ in samples.most_common()})

    def seen_of(self, part: SetContent) -> float | None:
        """How many samples of a set a run would see."""
        return None if self.seen is None else self.seen * part.share

    def passes(self, part: SetContent) -> float | None:
        """How often a run would see each row of a set, on average; None where that is not known."""
        seen = self.seen_of(part)
        return None if seen is None or part.rows is None else seen / part.rows

    def histogram(self, name: str = "tokens", bins: int = 8) -> list[tuple[int, int, float]]:
        """How the samples of a run are distributed: `(from, below, share)` by powers of two, the longest `bins`.

        Args:
            name: `"tokens"`, `"supervised"` or `"tiles"`.
            bins: at most so many; the first takes all that is shorter.
        """
        weights: Counter[int] = Counter()
        for part in self.sets:
            for value in getattr(part, name):
                weights[int(value).bit_length()] += part.share / len(part.tokens)  # type: ignore[assignment]
        if not weights:
            return []
        last = max(weights)
        first = max(min(weights), last - bins + 1)
        grouped = {at: sum(weights[low] for low in weights if max(low, first) == at) for at in range(first, last + 1)}
        total = sum(weights.values())
        begin = {at: 0 if at == first and min(weights) < first else (1 << at) >> 1 for at in grouped}
        return [(begin[at], 1 << at, grouped[at] / total) for at in grouped]


def mixture_report(
    data: ChatDataset | StreamedDataset, rows: int = LOOKED_AT, *, seen: float | None = None
) -> MixtureReport:
    """Look at a mixture.

    Args:
        data: its samples.
        rows: how many rows of each set are encoded, drawn by the seed of the data; of a streamed set those that come
            first.
        seen: how many samples a run sees.

    Raises:
        ValueError: no row of a set can be used; with the first reason.
    """
    shares = _shares(data)
    sets = []
    for number, part in enumerate(data.sets):
        modalities, counts, unusable = _look(_entries_of(data, number, rows))
        if not modalities:
            reason = f" ({unusable[0][0]}: {unusable[0][1]})" if unusable else ""
            raise ValueError(f"None of {len(unusable)} rows of set {part.name!r} can be used{reason}.")
        size = len(part.rows) if isinstance(data, ChatDataset) else part.length
        weight = None if isinstance(data, ChatDataset) else part.weight
        tokens, supervised, tiles = zip(*counts, strict=True)
        looked = (modalities, tokens, supervised, tiles, unusable)
        sets.append(SetContent(part.name, size, part.repeat, weight, shares[number], *looked))
    return MixtureReport(tuple(sets), data.entries, seen)


def mixture_of(options: RunOptions, ranks: int | None = None, rows: int = LOOKED_AT) -> MixtureReport:
    """What a run of chat models would see of its data.

    Args:
        options: what to run; of `model`, config and processor are enough.
        ranks: how many devices there will be; None: as torchrun sets it.
        rows: as for [`mixture_report`].

    Raises:
        ValueError: pairs of a dual encoder, which are no mixture; as [`mixture_report`] does.
        OSError: data or processor cannot be read.
    """
    if not objective_of(options).chats:
        raise ValueError(f"Objective {options.recipe.objective!r} has pairs, which are not mixed: leave it out.")
    processor, _ = load_processor(options)
    data = chat_samples(options, processor, data_seed(options))
    report, recipe = mixture_report(data, rows), options.recipe
    values = recipe.argument_values(ranks, **options.arguments)
    devices = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
    steps = values["max_steps"]
    if steps <= 0:
        return replace(report, seen=None if report.entries is None else report.entries * values["num_train_epochs"])
    whole = values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * devices
    if recipe.packed_tokens is not None and recipe.packed_tiles is not None:
        tokens, tiles = (sum(part.share * part.mean(name) for part in report.sets) for name in ("tokens", "tiles"))
        whole = whole / max(tokens / recipe.packed_tokens, tiles / recipe.packed_tiles)  # samples of full packs
    return replace(report, seen=steps * whole)


def _shares(data: ChatDataset | StreamedDataset) -> list[float]:
    """The share of each set in the samples."""
    if isinstance(data, ChatDataset):
        amounts: list[float] = [data.mixture.entries_of(number) for number in range(len(data.sets))]
    elif len(data.sets) == 1:
        amounts = [1.0]
    else:
        amounts = [part.entries if part.weight is None else part.weight for part in data.sets]
    return [amount / sum(amounts) for amount in amounts]


def _entries_of(data: ChatDataset | StreamedDataset, number: int, rows: int) -> Iterator[tuple[Any, Entry]]:
    """Some rows of a set: a function that parses each, and its entry."""
    part = data.sets[number]
    if isinstance(data, ChatDataset):
        order = np.random.default_rng([data.mixture.seed, number]).permutation(len(part.rows))
        for sample in order[:rows].tolist():
            yield (lambda at=sample: part.rows[at]), data.entry(0, (number, sample, 0))
        return
    once = replace(part, weight=None, repeat=1.0)  # no row twice
    stream = SetStream(once, number, Share(), data.shuffle_buffer, data.seed, 0)
    for _, item in zip(range(rows), stream, strict=False):
        yield (lambda at=item: data.parsed(at)), data.entry(0, item)


def _look(entries: Iterator[tuple[Any, Entry]]) -> tuple[tuple[str, ...], list[tuple[int, int, int]], tuple]:
    """Modalities, and tokens, supervised tokens and tiles of rows; where and why others cannot be used."""
    modalities, counts, unusable = [], [], []
    for parse, entry in entries:
        try:
            row, sample = parse(), entry.encode()
        except UnusableSample as error:
            unusable.append((error.where, error.reason))
            continue
        modalities.append(_modality(row, sample))
        tokens = sum(len(ids) for name, ids in sample.items() if name.endswith("input_ids"))
        supervised = sum(int((ids >= 0).sum()) for name, ids in sample.items() if name.endswith("labels"))
        counts.append((tokens, supervised, len(sample.get("pixel_values", ()))))
    return tuple(modalities), counts, tuple(unusable)


def _modality(row: Any, sample: Sample) -> str:
    if row.kind in ("grounding", "pretraining", "video"):
        return row.kind
    if row.videos:
        return "video"
    return ("text", "image", "multi-image")[min(len(sample.get("num_patches", ())), 2)]


def _normalized(amounts: dict[str, float]) -> dict[str, float]:
    total = sum(amounts.values())
    return {name: amount / total if total else 0.0 for name, amount in amounts.items()}


def draw_mixture(report: MixtureReport, path: str | os.PathLike) -> None:
    """Draw shares by set and by modality, and how many tokens and tiles samples have.

    Args:
        report: what is drawn.
        path: of the image file.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("The picture needs matplotlib: pip install matplotlib (extra `train`).") from error
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    amounts = {"samples": "#1f4e8c", "tokens": "#b3541e", "tiles": "#6a8f3c"}
    for axis, title, shares in (
        (axes[0, 0], "sets", report.shares),
        (axes[0, 1], "modalities", report.modality_shares),
    ):
        names = list(shares("samples"))
        for place, (name, color) in enumerate(amounts.items()):
            at = np.arange(len(names)) + (place - 1) * 0.27
            axis.barh(at, [100 * shares(name)[key] for key in names], 0.25, color=color, label=name)
        axis.set_yticks(np.arange(len(names)), names)
        axis.invert_yaxis()
        axis.set(title=title, xlabel="share (%)")
    axes[0, 0].legend(frameon=False)
    for axis, name in ((axes[1, 0], "tokens"), (axes[1, 1], "tiles")):
        bars = report.histogram(name, bins=12)
        axis.bar(range(len(bars)), [100 * share for _, _, share in bars], color=amounts[name])
        axis.set_xticks(range(len(bars)), [f"{begin}–{end - 1}" for begin, end, _ in bars], rotation=45, ha="right")
        axis.set(title=f"{name} of a sample", ylabel="share of samples (%)")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


__all__ = ["LOOKED_AT", "MixtureReport", "SetContent", "draw_mixture", "mixture_of", "mixture_report"]
