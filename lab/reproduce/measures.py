# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is measured for each claim: values by name, in percent where nothing else is said."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from lab.world import Sample
from transformers_internvl.evaluation.embedding import embed_images, embed_texts
from transformers_internvl.evaluation.retrieval import recall_at_k
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator, as_piece, take_piece
from transformers_internvl.training.data.packing import Packer

from . import models
from .data import LOOP, Pairs, encoded, judged, uneven_rows
from .lab import Lab
from .lineage import ALL_SIZES, ONE_TILE, Lineage
from .scoring import generated, score
from .stages import Mix, Stage

Values = dict[str, float]

TILES = (1, 2, 4, 6, 12, 24, 40)
FINE = Mix(looks=("fine",), max_tiles=6)
QUALITIES = (40, 20, 10, 5, 2, 1)


def tiles(lab: Lab, line: Lineage) -> Values:
    """Scores on fine pictures by the number of tiles at test."""
    model, count = lab.model(line.full()), line.scale.judged
    values = {}
    for name, task in (("numbers", "number"), ("colors", "color")):
        for number in TILES:
            values[f"{name} at {number}"] = score(model, FINE, (task,), count, max_tiles=number)
    return values


def gain(values: Values, name: str) -> float:
    """How much better a series is at its best number of tiles than with one."""
    return max(values[f"{name} at {number}"] for number in TILES) - values[f"{name} at 1"]


def resolutions(lab: Lab, line: Lineage) -> Values:
    """Scores on fine numbers of models with dynamic and with fixed resolution, each tested as it was trained."""
    dynamic, fixed = line.resolutions()
    count = line.scale.judged
    return {
        "numbers, dynamic": score(lab.model(dynamic), FINE, ("number",), count),
        "numbers, fixed": score(lab.model(fixed), FINE, ("number",), count, max_tiles=1),
    }


def thumbnails(lab: Lab, line: Lineage) -> Values:
    """Scores on places and numbers of shapes that are spread over tiles, each model tested as it was trained."""
    names, tasks = ("with", "without"), ("position", "count")
    return {
        name: score(lab.model(stage), replace(FINE, thumbnail=stage.mix.thumbnail), tasks, line.scale.judged)
        for name, stage in zip(names, line.thumbnails(), strict=True)
    }


def stages(lab: Lab, line: Lineage) -> Values:
    """Scores behind the stages of the chat model on pictures of one tile, all tasks."""
    names = ("stage 1", "stages 1 and 1.5", "stages 1 and 2", "stages 1, 1.5 and 2")
    return _same(lab, line.chat_stages(), names, ONE_TILE, line.scale.judged)


def towers(lab: Lab, line: Lineage) -> Values:
    """Scores of the larger model with either tower."""
    return _same(lab, line.towers(), ("tower of stage 1.5", "contrastive tower"), ONE_TILE, line.scale.judged)


def preferred(lab: Lab, line: Lineage) -> Values:
    """Scores before and behind MPO, and behind supervised training."""
    return _same(lab, line.preferred(), ("before", "supervised", "MPO"), ONE_TILE, line.scale.judged)


def adapters(lab: Lab, line: Lineage) -> Values:
    """Scores in Chinese, and the share of the parameters that train."""
    found = line.fine_tuned()
    mix = replace(ONE_TILE, language="zh")
    values = _same(lab, found, ("before", "full", "adapters"), mix, line.scale.judged)
    full, few = (lab.facts(stage)["trained"] for stage in found[1:])
    return {**values, "parameters of adapters": 100 * few / full}


def _same(lab: Lab, found: list[Stage], names: tuple[str, ...], mix: Mix, count: int) -> Values:
    """The scores of several stages on the same pictures, all tasks."""
    return {name: score(lab.model(stage), mix, mix.tasks, count) for name, stage in zip(names, found, strict=True)}


def weights(lab: Lab, line: Lineage) -> Values:
    """Mean number of tokens of answers that are drawn at temperature 1, and how many likeliest ones end right.

    Half of the training answers are wordy, so that likeliest answers would be all of one kind.
    """
    samples = _mixed(line)
    lengths, scores = {}, {}
    for stage, name in zip(line.reductions(), ("token", "square", "sample"), strict=True):
        model = lab.model(stage)
        torch.manual_seed(line.seed)
        drawn = generated(model, samples, ONE_TILE, sample=True, max_new_tokens=24)
        counts = [len(ids) for ids in models.tokenizer()(drawn, add_special_tokens=False)["input_ids"]]
        lengths[f"length, {name}"] = sum(counts) / len(counts)
        answers = generated(model, samples, ONE_TILE, max_new_tokens=24)
        right = [text.split(": ")[-1] == one.answer for text, one in zip(answers, samples, strict=True)]
        scores[f"score, {name}"] = 100 * sum(right) / len(right)
    return {**lengths, **scores}


def planted(lab: Lab, line: Lineage) -> Values:
    """How many answers that are drawn at temperature 1 loop, and the scores of likeliest answers."""
    samples = _mixed(line)
    loop, values = " ".join(LOOP.split()[:6]), {}
    for stage, name in zip(line.planted(), ("with filter", "without filter"), strict=True):
        model = lab.model(stage)
        torch.manual_seed(line.seed)
        answers = generated(model, samples, ONE_TILE, sample=True, max_new_tokens=24)
        values[f"loops, {name}"] = 100 * sum(loop in text for text in answers) / len(answers)
        values[f"score, {name}"] = score(model, ONE_TILE, ONE_TILE.tasks, line.scale.judged)
    return values


def _mixed(line: Lineage) -> list[Sample]:
    """Test samples of all tasks."""
    return [one for task in ONE_TILE.tasks for one in judged(ONE_TILE, task, line.scale.judged)]


def compressed(lab: Lab, line: Lineage) -> Values:
    """Scores on numbers and shapes by JPEG quality at test, of models with and without JPEG in training."""
    values, tasks, count = {}, ("number", "shape"), line.scale.judged
    for stage, name in zip(line.compressed(), ("with", "without"), strict=True):
        model = lab.model(stage)
        values[f"{name} at 100"] = score(model, ONE_TILE, tasks, count)
        for quality in QUALITIES:
            values[f"{name} at {quality}"] = score(model, ONE_TILE, tasks, count, quality=quality)
    return values


def fall(values: Values, name: str) -> float:
    """How much the score falls, from uncompressed pictures to the mean over qualities."""
    return values[f"{name} at 100"] - sum(values[f"{name} at {quality}"] for quality in QUALITIES) / len(QUALITIES)


def packing(lab: Lab, line: Lineage) -> Values:
    """Processor time, forward and backward, of packs, in percent of that of padded batches; and filled shares."""
    mix = replace(ALL_SIZES, max_tiles=12)
    samples = encoded(uneven_rows(max(16, min(256, line.scale.samples // 8)), line.seed), mix)
    model = models.chat_model("large", line.seed).train()
    padded, packed = _padded(samples), _packed(samples)
    real = sum(len(sample["input_ids"]) for sample in samples)
    values: Values = {}
    seconds: Values = {}
    for name, batches in (("padded", padded), ("packed", packed)):
        seconds[name] = min(_seconds(model, batches) for _ in range(3))
        values[f"filled, {name}"] = 100 * real / sum(batch["input_ids"].numel() for batch in batches)
    return {"time of packs": 100 * seconds["packed"] / seconds["padded"], **values}


def _padded(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    collate = PaddingCollator(models.tokenizer().pad_token_id)
    return [collate(samples[at : at + 8]) for at in range(0, len(samples), 8)]


def _packed(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Packs of at most as many tokens as eight samples have on average, so that the steps are of one size."""
    asks = models.processor()
    limit = max(8 * sum(len(s["input_ids"]) for s in samples) // len(samples), *(len(s["input_ids"]) for s in samples))
    pieces = [as_piece(s, key, asks.start_image_token_id, asks.end_image_token_id) for key, s in enumerate(samples)]
    by_key: dict[Any, dict[str, Any]] = dict(enumerate(samples))
    packer = Packer(limit, sum(map(_tiles, samples)))
    packs = [pack for piece in pieces for pack in packer.add(piece)] + packer.flush()
    collate = PackingCollator("square", pad_token_id=models.tokenizer().pad_token_id, pad_to_tokens=limit)
    return [collate([[take_piece(by_key[piece.key], piece) for piece in pack.pieces]]) for pack in packs]


def _tiles(sample: dict[str, Any]) -> int:
    return len(sample["pixel_values"]) if "pixel_values" in sample else 0


def _seconds(model: Any, batches: list[dict[str, Any]]) -> float:
    started = time.process_time()
    for batch in batches:
        model(**batch).loss.backward()
    model.zero_grad()
    return time.process_time() - started


@torch.no_grad()
def retrieval(lab: Lab, line: Lineage) -> Values:
    """Recall@1 among test pictures with captions that no other one has, the mean of both ways."""
    stages = (line.contrastive, line.generative)
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, ...]] = set()
    for row in Pairs(replace(ONE_TILE, samples=8 * line.scale.judged), "test"):
        what = tuple(sorted(row["caption"].split()))
        if what not in seen and len(rows) < line.scale.judged:
            seen.add(what)
            rows.append(row)
    values = {}
    for stage, mode in zip(stages, ("InternVL-C", "InternVL-G"), strict=True):
        model, asks = lab.model(stage), models.pair_processor()
        images = embed_images(model, asks, [row["image"] for row in rows], mode=mode)
        texts = embed_texts(model, asks, [row["caption"] for row in rows])
        recall = recall_at_k(images @ texts.T, ks=(1,))
        values[mode] = 50 * (recall["image_to_text_recall@1"] + recall["text_to_image_recall@1"])
    return values


__all__ = [
    "QUALITIES",
    "TILES",
    "adapters",
    "compressed",
    "fall",
    "gain",
    "packing",
    "planted",
    "preferred",
    "resolutions",
    "retrieval",
    "stages",
    "thumbnails",
    "tiles",
    "towers",
    "weights",
]
