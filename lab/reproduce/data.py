# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the world to what trainers take: rows, encoded by the encoder of `internvl train`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from tqdm.auto import tqdm

from lab.nano.palette import COLORS
from lab.nano.questions import SHAPES
from lab.world import TASKS, Sample, caption_question, draw_sample
from transformers_internvl.evaluation.reasoning.repetition import check_conversation
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder

from .models import TILE, processor
from .stages import LOOKS, Mix

NAMES = (*map(str, range(10)), *COLORS, *SHAPES, *(f"{count}-shapes" for count in range(1, 6)))
"""What a tower learns to name before anything else: digits, colors, kinds and numbers of shapes."""

LOOP = " ".join(["and what you see in the picture is the same"] * 3)
"""What a planted bad sample answers behind its right answer: a loop, of which nearly half of the ten-grams repeat."""


def sample_of(mix: Mix, index: int, split: str = "train") -> Sample:
    """Sample `index` of a mix."""
    task = mix.tasks[index % len(mix.tasks)]
    look = mix.looks[index // len(mix.tasks) % len(mix.looks)]
    return draw_sample(task, split, f"{mix.seed}-{index}", LOOKS[look], mix.language)


def row_of(mix: Mix, index: int, split: str = "train") -> dict[str, Any]:
    """A row of training data: question and answer, or what the shares of the mix put in their place."""
    sample = sample_of(mix, index, split)
    rng = random.Random(f"row-{mix.seed}-{index}-{split}")
    question, answer = sample.question, sample.answer
    if rng.random() < mix.described:
        question, answer = caption_question(sample, split, rng), sample.caption
    elif rng.random() < mix.wordy:
        answer = f"{sample.caption}: {answer}"
    if rng.random() < mix.looping:
        answer = f"{answer} {LOOP}"
    if mix.text_only:
        turns = [{"from": "human", "value": f"{sample.caption}\n{question}"}, {"from": "gpt", "value": answer}]
        return {"conversations": turns}
    return sample.row(question, answer)


def uneven_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows whose lengths differ as much as those of real mixes: a quarter of texts, of one to sixteen turns, a quarter
    of small pictures, a quarter of fine ones, and pairs and clips."""
    rows: list[dict[str, Any]] = []
    for index in range(count):
        rng = random.Random(f"uneven-{seed}-{index}")
        kind = rng.choice(("text", "large", "fine", rng.choice(("pair", "clip"))))
        name, look = f"uneven-{seed}-{index}", LOOKS["large" if kind in ("text", "large") else "fine"]
        if kind != "text":
            task = kind if kind in ("pair", "clip") else rng.choice(("number", "receipt", "chart", "count"))
            sample = draw_sample(task, "train", name, look, "en")
            rows.append(sample.row(*([sample.question, sample.answer], _described(sample, rng))[rng.random() < 0.3]))
            continue
        turns: list[dict[str, str]] = []
        for turn in range(min(16, 1 + int(rng.lognormvariate(0.5, 1.0)))):
            sample = draw_sample(rng.choice(TASKS), "train", f"{name}-{turn}", look, "en")
            asked = {"from": "human", "value": f"{sample.caption}\n{sample.question}"}
            turns += [asked, {"from": "gpt", "value": sample.answer}]
        rows.append({"conversations": turns})
    return rows


def _described(sample: Sample, rng: random.Random) -> list[str]:
    return [caption_question(sample, "train", rng), sample.caption]


def rows_of(mix: Mix) -> list[dict[str, Any]]:
    """The rows of a mix, without those that the filter leaves out."""
    rows = [row_of(mix, index) for index in range(mix.samples)]
    return [row for row in rows if check_conversation(row["conversations"])] if mix.filtered else rows


def chat_dataset(rows: Sequence[dict[str, Any]], mix: Mix, max_tiles: int | None = None) -> ChatDataset:
    """Rows as a data set of `internvl train`; `max_tiles` in the place of the mix's."""
    tiles = max_tiles or mix.max_tiles
    encoder = SampleEncoder(processor(tiles, mix.thumbnail))
    part = DataSet("world", TableRows("world", rows), augment=mix.augment, max_patches=tiles)
    return ChatDataset([part], encoder, seed=mix.seed)


def encoded(rows: Sequence[dict[str, Any]], mix: Mix, max_tiles: int | None = None) -> list[dict[str, Any]]:
    """Every row once, as tensors."""
    data = chat_dataset(rows, mix, max_tiles)
    numbers = tqdm(range(len(rows)), desc="encode", leave=False, disable=len(rows) < 500)
    return [data.encode(0, index, 0, index) for index in numbers]


@lru_cache(maxsize=2)
def encoded_mix(mix: Mix) -> list[dict[str, Any]]:
    """The samples of a mix as tensors; kept, since stages share mixes."""
    return encoded(rows_of(mix), mix)


def judged(mix: Mix, task: str, count: int) -> list[Sample]:
    """Samples of the test split of one task and the looks of a mix."""
    looks = [LOOKS[name] for name in mix.looks]
    return [
        draw_sample(task, "test", f"judged-{index}", looks[index % len(looks)], mix.language) for index in range(count)
    ]


class Pairs(Sequence[dict[str, Any]]):
    """Pictures of one tile with captions, for the dual encoder."""

    def __init__(self, mix: Mix, split: str = "train"):
        self.rows = [_pair(sample_of(mix, index, split)) for index in range(mix.samples)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]


class Named(Sequence[dict[str, Any]]):
    """Pictures of one tile with what their captions name, for the tower and a classifier: `pixel_values`
    `(3, S, S)`, `labels` `(N,)` float32, 1 where a name of `NAMES` is said."""

    def __init__(self, mix: Mix):
        samples = [sample_of(mix, index) for index in range(mix.samples)]
        images = processor().image_processor
        self.rows = [
            {
                "pixel_values": images(sample.images[0], return_tensors="pt")["pixel_values"][0],
                "labels": torch.tensor([float(name in named(sample.caption)) for name in NAMES]),
            }
            for sample in tqdm(samples, desc="encode", leave=False, disable=len(samples) < 500)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]


def named(caption: str) -> set[str]:
    """The names of `NAMES`, and other words, in an English caption; the number 3 is no 3 shapes."""
    return set(caption.replace(" shapes", "-shapes").split())


def _pair(sample: Sample) -> dict[str, Any]:
    return {"image": sample.images[0].resize((TILE, TILE)), "caption": sample.caption}


__all__ = [
    "LOOP",
    "NAMES",
    "Named",
    "Pairs",
    "chat_dataset",
    "encoded",
    "encoded_mix",
    "judged",
    "named",
    "row_of",
    "rows_of",
    "sample_of",
    "uneven_rows",
]
