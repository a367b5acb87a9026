# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From the world to what trainers take: rows, encoded by the encoder of `internvl train`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tqdm.auto import tqdm

from lab.world import Sample, caption_question, draw_sample
from transformers_internvl.evaluation.reasoning.repetition import check_conversation
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder

from .models import TILE, processor
from .stages import LOOKS, Mix

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


def _pair(sample: Sample) -> dict[str, Any]:
    return {"image": sample.images[0].resize((TILE, TILE)), "caption": sample.caption}


__all__ = ["LOOP", "Pairs", "chat_dataset", "encoded", "encoded_mix", "judged", "row_of", "rows_of", "sample_of"]
