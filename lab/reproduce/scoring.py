# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How good a model of the lab is, on samples of the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from lab.world import Sample
from transformers_internvl.modeling.losses import IGNORE_INDEX
from transformers_internvl.training.data.augmentation import through_jpeg
from transformers_internvl.training.data.collation import PaddingCollator

from .data import encoded, judged
from .models import processor, tokenizer
from .stages import Mix

BATCH = 100


@torch.no_grad()
def exact(model: Any, rows: Sequence[dict[str, Any]], mix: Mix, max_tiles: int | None = None) -> list[bool]:
    """Of every row whether greedy decoding gives exactly its answer: every token is the likeliest, given those
    before."""
    collator, right = PaddingCollator(tokenizer().pad_token_id), []
    for start in range(0, len(rows), BATCH):
        batch = collator(encoded(rows[start : start + BATCH], mix, max_tiles))
        labels = batch.pop("labels")[:, 1:]
        likeliest = model(**batch).logits[:, :-1].argmax(-1)
        right += ((likeliest == labels) | (labels == IGNORE_INDEX)).all(dim=1).tolist()
    return right


def score(
    model: Any, mix: Mix, tasks: Sequence[str], count: int, max_tiles: int | None = None, quality: int | None = None
) -> float:
    """Percentage of exact answers on `count` test samples of each task, the mean over tasks.

    `quality`: pictures went through JPEG of this quality.
    """
    shares = []
    for task in tasks:
        rows = [_through_jpeg(sample, quality).row() for sample in judged(mix, task, count)]
        right = exact(model, rows, mix, max_tiles)
        shares.append(100 * sum(right) / len(right))
    return sum(shares) / len(shares)


def _through_jpeg(sample: Sample, quality: int | None) -> Sample:
    if quality is None:
        return sample
    images = tuple(Image.fromarray(through_jpeg(np.asarray(image), quality)) for image in sample.images)
    return dataclasses.replace(sample, images=images)


@torch.no_grad()
def generated(
    model: Any,
    samples: Sequence[Sample],
    mix: Mix,
    *,
    questions: Sequence[str] | None = None,
    sample: bool = False,
    max_new_tokens: int = 12,
) -> list[str]:
    """Answers to samples of one picture, greedy or drawn at temperature 1; to other questions, if given."""
    asks, answers = processor(mix.max_tiles, mix.thumbnail), []
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        texts = [one.question for one in part] if questions is None else questions[start : start + BATCH]
        conversations = [
            [{"role": "user", "content": [{"type": "image", "image": one.images[0]}, {"type": "text", "text": text}]}]
            for one, text in zip(part, texts, strict=True)
        ]
        inputs = asks.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=sample, use_cache=True)
        answers += asks.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


__all__ = ["exact", "generated", "score"]
