# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs the code of a checkpoint in an environment of its own.

`python original.py WORK CHECKPOINT DTYPE DEVICE TOKENS`

This file is a script for another Python with another transformers, so it imports nothing of this package. It reads
`cases.json` and the images of the folder WORK, and writes `original.json` and `original.npz` there. Images become
pixels by `load_image` of the checkpoint's model card; without one there are no pixels, and ours are taken from
`ours.npz`.
"""

import ast
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


def main(work: Path, checkpoint: Path, dtype: str, device: str, tokens: int) -> None:
    """Ask all questions, and write what came."""
    import transformers

    model, tokenizer = _loaded(checkpoint, getattr(torch, dtype), device)
    load_image = card_function(checkpoint / "README.md", "load_image")
    side = model.config.force_image_size or model.config.vision_config.image_size
    given = np.load(work / "ours.npz")
    arrays: dict[str, Any] = {}
    answers = []
    for number, case in enumerate(json.loads((work / "cases.json").read_text(encoding="utf-8"))):
        pixels = None
        if case["image"] is not None and load_image is not None:
            pixels = load_image(str(work / case["image"]), input_size=side, max_num=case["max_tiles"])
            arrays[f"{number}.pixels"] = pixels.float().numpy()
        elif case["image"] is not None:
            pixels = torch.from_numpy(given[f"{number}.pixels"])
        arrays.update({f"{number}.{name}": value for name, value in _asked(model, tokenizer, case, pixels, tokens)})
        answers.append(model.last_answer)
    np.savez(work / "original.npz", **arrays)
    told = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "card": load_image is not None,
        "answers": answers,
    }
    (work / "original.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def _loaded(checkpoint: Path, dtype: Any, device: str) -> tuple[Any, Any]:
    """Model and tokenizer as the model cards load them, with eager attention."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=True)
    for part in (config.vision_config, config.llm_config):
        part.use_flash_attn = False
        part.attn_implementation = part._attn_implementation = "eager"
    options: dict[str, Any] = {"config": config, "torch_dtype": dtype, "trust_remote_code": True}
    model = AutoModel.from_pretrained(checkpoint, **options).to(device).eval()
    return model, AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=True, use_fast=False)


def card_function(card: Path, name: str) -> Any:
    """A function of the Python code in a model card, with the imports, constants and functions around it; or None."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        if f"def {name}(" not in block:
            continue
        space: dict[str, Any] = {}
        for node in ast.parse(block).body:
            imported = isinstance(node, (ast.Import, ast.ImportFrom))
            constant = isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Tuple))
            if not (imported or constant or isinstance(node, ast.FunctionDef)):
                continue
            try:
                exec(compile(ast.Module([node], []), str(card), "exec"), space)
            except ImportError:  # of a library for videos or servers, which images do not need
                continue
        return space[name]
    return None


@torch.no_grad()
def _asked(model: Any, tokenizer: Any, case: dict, pixels: Any, tokens: int) -> Any:
    """Names and arrays of what the model computes for one question. Its answer is left in `model.last_answer`."""
    seen: dict[str, Any] = {}
    generate = model.generate

    def spy(*args: Any, **options: Any) -> Any:
        seen.update(options)
        seen["new"] = generate(*args, **options)
        return seen["new"]

    model.generate = spy
    try:
        if pixels is not None:
            pixels = pixels.to(model.device, model.dtype)
        model.last_answer = model.chat(
            tokenizer, pixels, case["question"], {"max_new_tokens": tokens, "do_sample": False}
        )
    finally:
        model.generate = generate
    ids, mask = seen["input_ids"], seen["attention_mask"]
    embeds = model.language_model.get_input_embeddings()(ids)
    if pixels is not None:
        features = model.extract_feature(pixels)
        yield "features", features.float().cpu().numpy()
        embeds[ids == model.img_context_token_id] = features.reshape(-1, features.shape[-1]).to(embeds.dtype)
    logits = model.language_model(inputs_embeds=embeds, attention_mask=mask).logits[0]  # (length, vocabulary)
    new = seen["new"][0]
    if len(new) > 1 and int(new[0]) != int(logits[-1].argmax()) == int(new[1]):
        new = new[1:]  # the bos token that some releases of transformers put in front
    yield "prompt", ids[0].cpu().numpy()
    yield "logits", logits.float().cpu().numpy()
    yield "new", new.cpu().numpy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]))
