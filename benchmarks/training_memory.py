# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl train --dry-run` estimates for a step, against what one takes.

    python benchmarks/training_memory.py [--quick]

Real training steps with AdamW on a CPU, each workload in a process of its own: the peak of the resident set (Linux) of
the second step, when the optimizer has its states, above what the process had before there was a model. The allocator
returns memory at once. The ratio is what was estimated over what was taken.
"""

import argparse
import json
import os
from contextlib import nullcontext

import peft  # noqa: F401  what it takes itself is not the step's
import torch
from figures import record
from loss_memory import resident
from peers import in_a_process

from transformers_internvl import InternVLConfig, InternVLForConditionalGeneration
from transformers_internvl.profiling.training_memory import Setup, Work, footprint
from transformers_internvl.training.recipes import get_recipe

IMAGE_TOKEN, TOKENS_PER_TILE = 7, 256
TEXT = {"model_type": "qwen2", "hidden_size": 448, "intermediate_size": 1216, "num_attention_heads": 7}
TEXT |= {"num_key_value_heads": 1, "num_hidden_layers": 6, "vocab_size": 32768, "pad_token_id": 0}
VISION = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 4}
VISION |= {"attention_bias": True, "image_size": 448}
# Name -> recipe, tokens, tiles, whether products are in bfloat16, whether activations are recomputed.
WORKLOADS = {
    "everything trains": ("internvl2.5-1b-stage2", 2048, 4, False, False),
    "recomputed": ("internvl2.5-1b-stage2", 2048, 4, False, True),
    "frozen tower, bfloat16": ("internvl2.5-1b-full", 2048, 4, True, False),
    "projector": ("internvl2.5-1b-stage1", 2048, 6, False, False),
    "LoRA, recomputed": ("internvl2.5-1b-lora", 3072, 6, False, True),
}


def build(recipe: str) -> torch.nn.Module:
    config = InternVLConfig(
        text_config=TEXT, vision_config=VISION, image_token_id=IMAGE_TOKEN, tie_word_embeddings=False
    )
    return get_recipe(recipe, drop_path=0.0).apply(InternVLForConditionalGeneration(config)).train()


def measure(name: str, shorter: int) -> dict[str, int]:
    """The peak of a real step in this process."""
    recipe, length, tiles, half, recomputes = WORKLOADS[name]
    length, warm = length // shorter, torch.randn(64, 64, requires_grad=True)
    (warm @ warm).softmax(-1).sum().backward()  # threads and code that stay
    before = resident("VmRSS")
    torch.manual_seed(0)
    model = build(recipe)
    if recomputes:
        model.activation_checkpointing_enable()
    ids = torch.randint(8, TEXT["vocab_size"], (1, length))
    labels = ids.clone()
    ids[:, : tiles * TOKENS_PER_TILE] = IMAGE_TOKEN
    pixels = torch.randn(tiles, 3, 448, 448)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    for step in range(2):
        if step:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # resets the peak
        with torch.autocast("cpu", dtype=torch.bfloat16) if half else nullcontext():
            loss = model(input_ids=ids, pixel_values=pixels, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {"taken": (resident("VmHWM") - before) * 1024}


def estimate(name: str, shorter: int) -> int:
    recipe, length, tiles, half, recomputes = WORKLOADS[name]
    with torch.device("meta"):
        model = build(recipe)
    setup = Setup(torch.bfloat16 if half else None)
    found = footprint(model, Work(1, length // shorter, tiles, 448), setup)
    return (found.recomputed if recomputes else found.kept).peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first workload, shorter: a smoke test")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], int(arguments.one[1]))))
        return
    os.environ["MALLOC_MMAP_THRESHOLD_"] = os.environ["MALLOC_TRIM_THRESHOLD_"] = "65536"
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"torch {torch.__version__}\n{'':<26}{'estimated':>10}{'taken':>10}{'ratio':>7}   (MiB)")
    ratios = {}
    for name in list(WORKLOADS)[: 1 if arguments.quick else None]:
        shorter = 2 if arguments.quick else 1
        estimated, taken = estimate(name, shorter), in_a_process(__file__, name, shorter)["taken"]
        print(f"{name:<26}{estimated / 2**20:>10,.0f}{taken / 2**20:>10,.0f}{estimated / taken:>7.2f}", flush=True)
        ratios[f"{name}, estimated / measured"] = estimated / taken
    record(ratios)


if __name__ == "__main__":
    main()
