# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What tests of spread-out models ask: every golden folder, and LLaVA's layout, for numbers to compare."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

import transformers_internvl  # noqa: F401  (registers the classes)
from tests.parity.golden import golden_cases

CHAT, TOWERS, DUAL = (golden_cases(prefix) for prefix in ("chat_", "intern_vit_", "internvl_14b"))
FOLDERS = {path.name: path for path in (*CHAT, *TOWERS, *DUAL)}


def batch(path: Path) -> dict[str, torch.Tensor]:
    inputs = load_file(path / "inputs.safetensors")
    if "tiles.input_ids" in inputs:  # InternVL3.5-Flash
        ids, tiles = inputs["tiles.input_ids"], inputs["pixel_values"][inputs["tiles.pixel_rows"]]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": tiles}
    if path in CHAT:
        row = {key: inputs[f"left.{key}"] for key in ("input_ids", "attention_mask")}
        return {**row, "pixel_values": inputs["pixel_values"], "image_flags": inputs["image_flags"]}
    if path in TOWERS:
        return {"pixel_values": next(value for name, value in inputs.items() if name.endswith("pixel_values"))}
    ids = torch.tensor([[3, 4, 5, 6], [7, 8, 9, 0]])
    return {"pixel_values": inputs["image"][:2], "input_ids": ids, "mode": "InternVL-G"}


def load(path: Path, **kwargs):
    canonical = AutoConfig.from_pretrained(path).model_type == "internvl"  # its AutoModel has no head
    model = (AutoModelForImageTextToText if canonical else AutoModel).from_pretrained(path, **kwargs).eval()
    ids = path / "ids.json"
    if ids.exists() and model.config.image_token_id is None:
        model.config.image_token_id = json.loads(ids.read_text())["image_token_id"]
    return model


@torch.no_grad()
def answers(model, path: Path) -> dict[str, torch.Tensor]:
    inputs = batch(path)
    if path in TOWERS:
        return {"states": model(**inputs).last_hidden_state}
    if path in DUAL:
        return {"logits": model(**inputs).logits_per_image}
    real = inputs["attention_mask"].bool()
    found = {}
    if not getattr(model.config.text_config, "output_router_logits", False):  # upstream cannot generate with it
        found["ids"] = model.generate(**inputs, max_new_tokens=4, do_sample=False).float()
    return {**found, "logits": model(**inputs).logits[real]}


def llava_batch(model) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[1, *[model.config.image_token_id] * model.config.image_seq_length, 5, 6, 7]])
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "pixel_values": pixels}


@torch.no_grad()
def llava_answers(model) -> dict[str, torch.Tensor]:
    return {"logits": model(**llava_batch(model)).logits}
