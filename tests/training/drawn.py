# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawn images with captions as training data of every form, and options of runs that take a second."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import TrainingArguments

from lab.nano.pairs import draw_pairs
from transformers_internvl import nano_path

QUESTION = "<image>\nWhat is drawn?"


def write_data(folder: Path, count: int = 12) -> Path:
    """`chat.jsonl`, `prefs.jsonl`, `pairs.jsonl` and `meta.json` beside `images/`."""
    (folder / "pictures").mkdir(parents=True)
    forms: dict[str, list[dict]] = {"chat": [], "prefs": [], "pairs": []}
    for index, pair in enumerate(draw_pairs("runs")[:count]):
        image = f"pictures/{index}.png"
        pair.image.save(folder / image)
        turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": pair.caption}]
        forms["chat"].append({"image": image, "conversations": turns})
        forms["prefs"].append({"image": image, "question": QUESTION, "chosen": pair.caption, "rejected": "a cat"})
        forms["pairs"].append({"image": image, "caption": pair.caption})
    for name, rows in forms.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    entry = {"root": str(folder), "annotation": str(folder / "chat.jsonl"), "data_augment": False}
    meta = {"all": {**entry, "repeat_time": 1}, "half": {**entry, "repeat_time": 0.5}}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def short(folder: Path, data: str = "chat.jsonl", **fields) -> dict:
    """Assignments of a run of the embedded model."""
    own = {"model": str(nano_path()), "data": str(folder / data), "output": str(folder / "out")}
    quick = {"batch_size": 2, "max_steps": 2, "bf16": False, "gradient_checkpointing": False, "warmup": 0}
    return {**own, **quick, **fields}


CAPTIONS = ("the red dog in the house", "two blue boat on the river picture", "a cloud above the mountain and the sky")


def pair_rows(count: int = 3) -> list[dict]:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 50, 60, 3), dtype=np.uint8)
    return [{"image": Image.fromarray(pixels[row]), "caption": CAPTIONS[row % 3]} for row in range(count)]


def trainer_arguments(folder, **options) -> TrainingArguments:
    options = {
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "max_steps": 1,
        **options,
    }
    return TrainingArguments(str(folder), **options)
