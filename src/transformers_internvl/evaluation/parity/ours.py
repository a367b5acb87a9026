# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What this package computes for the same questions: pixels first, then the rest from the original pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, AutoTokenizer

from .cases import Case

Arrays = Mapping[str, np.ndarray]
"""By `NUMBER.NAME` of a case: `pixels`, `prompt`, `features`, `logits`, `new`."""


def make_pixels(checkpoint: Path, cases: Sequence[Case], work: Path) -> dict[str, np.ndarray]:
    """The tiles of every image, float32 `(tiles, 3, side, side)`; also written to `ours.npz`."""
    processor = AutoProcessor.from_pretrained(checkpoint).image_processor
    found: dict[str, Any] = {}
    for number, case in enumerate(cases):
        if case.image is not None:
            image = Image.open(work / case.image).convert("RGB")
            options: dict[str, Any] = {"crop_to_patches": True, "min_patches": 1, "max_patches": case.max_tiles}
            found[f"{number}.pixels"] = processor(image, return_tensors="pt", **options)["pixel_values"].numpy()
    np.savez(work / "ours.npz", **found)
    return found


@torch.no_grad()
def run_ours(
    checkpoint: Path, cases: Sequence[Case], pixels: Arrays, *, dtype: torch.dtype, device: str, tokens: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of every case, and the answers.

    Args:
        checkpoint: a folder in the original layout.
        cases: the questions.
        pixels: the tiles that the model is given.
        dtype: of the weights.
        device: where it runs.
        tokens: maximum number of new tokens.

    Raises:
        ValueError: the checkpoint is no chat model in the original layout.
    """
    model = AutoModel.from_pretrained(checkpoint, dtype=dtype, attn_implementation="eager").to(device).eval()
    if not hasattr(model, "chat"):
        raise ValueError(
            f"{checkpoint} holds {type(model).__name__}, which has no original chat code to compare with."
        )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    arrays: dict[str, np.ndarray] = {}
    answers = []
    for number, case in enumerate(cases):
        tiles = None
        if case.image is not None:
            tiles = torch.from_numpy(pixels[f"{number}.pixels"]).to(model.device, model.dtype)
        seen, answer = _chat(model, tokenizer, tiles, case.question, tokens)
        answers.append(answer)
        inputs = {name: seen[name] for name in ("input_ids", "attention_mask")}
        if tiles is not None:
            inputs["pixel_values"] = tiles
            arrays[f"{number}.features"] = model.extract_feature(tiles).float().cpu().numpy()
        arrays[f"{number}.prompt"] = seen["input_ids"][0].cpu().numpy()
        arrays[f"{number}.logits"] = model(**inputs).logits[0].float().cpu().numpy()
        arrays[f"{number}.new"] = seen["new"][0, seen["input_ids"].shape[1] :].cpu().numpy()
    return arrays, answers


def _chat(model: Any, tokenizer: Any, tiles: Any, question: str, tokens: int) -> tuple[dict[str, Any], str]:
    """What `chat` hands to `generate`, with `new`, what comes back; and the answer."""
    seen: dict[str, Any] = {}
    generate = model.generate

    def spy(**options: Any) -> Any:
        seen.update(options)
        seen["new"] = generate(**options)
        return seen["new"]

    model.generate = spy
    try:
        answer = model.chat(tokenizer, tiles, question, {"max_new_tokens": tokens, "do_sample": False})
    finally:
        model.generate = generate
    return seen, answer


__all__ = ["Arrays", "make_pixels", "run_ours"]
