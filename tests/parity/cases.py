# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Golden chat models with their inputs and outputs, and the records of the original training preprocessing."""

import json
from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel

from transformers_internvl.processing.tokenizers.loading import load_tokenizer

from .golden import golden_cases, whole_tile_chats

OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
# Chat models with the two batches and the prompt that `Case` reads; those with a router: `test_flash.py`.
CHATS = [*whole_tile_chats(), *golden_cases("mono_internvl")]
RECORDS = [
    (case, record)
    for case in golden_cases("labels")
    for record in json.loads((case / "labels.json").read_text(encoding="utf-8"))
]


class Case:
    """One golden folder: the model that our classes make of it, its inputs and the original outputs."""

    def __init__(self, path: Path, attention: str):
        self.path = path
        self.ids = json.loads((path / "ids.json").read_text())
        self.inputs = load_file(path / "inputs.safetensors")
        self.outputs = load_file(path / "outputs.safetensors")
        self.model = AutoModel.from_pretrained(path, attn_implementation=attention).eval()
        if not (path / "tokenizer_config.json").exists():
            self.model.config.image_token_id = self.ids["image_token_id"]

    def batch(self, side: str) -> dict[str, torch.Tensor]:
        batch = {key: self.inputs[f"{side}.{key}"] for key in ("input_ids", "attention_mask", "labels")}
        flags = self.inputs["image_flags"]
        return {**batch, "pixel_values": self.inputs["pixel_values"][: len(flags)], "image_flags": flags}

    def check(self, name: str, value: torch.Tensor, where: torch.Tensor | None = None) -> None:
        """Compare with the original tensor of that name, which a case need not have."""
        if name in self.outputs:
            expected = self.outputs[name]
            if where is not None:
                value, expected = value[where], expected[where]
            torch.testing.assert_close(value, expected, **OUTPUT, msg=lambda text: f"{self.path.name} {name}: {text}")


def name_of(record: dict) -> str:
    keys = ("function", "tokenizer", "conversation", "mode", "model_max_length")
    return "-".join(str(record[key]) for key in keys).replace(" ", "_")


@lru_cache
def tokenizer_of(folder):
    return load_tokenizer(folder)
