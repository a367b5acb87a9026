# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The planned memory of an answer beside the measured one, for shapes that are dominated by different things.

    python benchmarks/memory_plan.py [shape ...]

Every shape runs in a process of its own, on the CPU in float32: the model is built and asked with `generate` (or one
forward pass, where all logits are wanted). Measured is the peak of the resident memory above the interpreter, in which
a tiny model has run before, so that libraries and their buffers are there already. The allocator gives freed
memory back at once. Exit code 1 if a plan is more than 10 % off.
"""

import argparse
import copy
import json
import os
import subprocess
import sys

import torch
from figures import record

TOLERANCE = 0.1
VISION = {"num_hidden_layers": 2, "image_size": 448, "attention_bias": True}
SMALL = VISION | {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 256}
TEXT = {"model_type": "qwen2", "vocab_size": 2048, "num_hidden_layers": 2, "hidden_size": 256}
TEXT |= {"num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 1024}

# What dominates -> tower, language model, request.
SHAPES = {
    "tower, 40 tiles": (
        VISION | {"hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048},
        TEXT,
        {"tiles": 40, "context": 10400, "new_tokens": 4},
    ),
    "tower of the 6B kind": (
        VISION
        | {"hidden_size": 400, "num_attention_heads": 25, "intermediate_size": 1600}
        | {"attention_bias": False, "use_qk_norm": True, "norm_type": "rms_norm"},
        TEXT,
        {"tiles": 16, "context": 4200, "new_tokens": 4},
    ),
    "weights": (
        SMALL,
        TEXT
        | {"hidden_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12, "num_key_value_heads": 12}
        | {"intermediate_size": 6144},
        {"tiles": 1, "context": 300, "new_tokens": 4},
    ),
    "logits of all positions": (
        SMALL,
        TEXT | {"vocab_size": 151674, "hidden_size": 128},
        {"tiles": 1, "context": 1024, "new_tokens": 0, "logits_to_keep": 0},
    ),
    "cache, full attention": (
        SMALL,
        TEXT | {"num_hidden_layers": 24, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 8},
        {"tiles": 1, "context": 1024, "new_tokens": 16, "batch_size": 6},
    ),
    "long answer, grouped queries": (
        SMALL,
        TEXT | {"num_hidden_layers": 8, "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8},
        {"tiles": 0, "images": 0, "context": 16, "new_tokens": 48, "batch_size": 128},
    ),
    "long prompt, grouped queries": (
        SMALL,
        TEXT | {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 2, "intermediate_size": 8192},
        {"tiles": 4, "context": 4096, "new_tokens": 4},
    ),
    "experts": (
        SMALL,
        TEXT
        | {"model_type": "qwen3_moe", "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4}
        | {"head_dim": 64, "num_experts": 16, "num_experts_per_tok": 8, "moe_intermediate_size": 512},
        {"tiles": 4, "context": 4096, "new_tokens": 4},
    ),
    "windows, eager attention": (
        SMALL,
        TEXT
        | {"model_type": "gpt_oss", "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 32}
        | {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 256, "num_hidden_layers": 4}
        | {"sliding_window": 128},
        {"tiles": 1, "context": 1200, "new_tokens": 4},
    ),
}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def config_of(vision: dict, text: dict):
    from transformers_internvl import InternVLConfig

    text = text | {"max_position_embeddings": 32768, "bos_token_id": 0, "eos_token_id": None, "pad_token_id": 0}
    return InternVLConfig(
        vision_config=vision, text_config=text, image_token_id=1, image_seq_length=256, tie_word_embeddings=False
    )


def build(config):
    """A model with random weights, made in place."""
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    buffers = dict(AutoModelForImageTextToText.from_config(shallow(config)).named_buffers())
    model = model.to_empty(device="cpu").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return model


def shallow(config):
    """The same with one layer each: its buffers, which are not in layers, are those of the whole."""
    config = copy.deepcopy(config)
    text = config.text_config
    config.vision_config.num_hidden_layers = text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    text.vocab_size = 8
    return config


@torch.no_grad()
def answer(model, request) -> None:
    ids = torch.full((request.batch_size, request.context), 2)
    image_tokens = request.images * request.tiles * model.config.image_seq_length
    ids[:, :image_tokens] = model.config.image_token_id
    inputs = {"input_ids": ids}
    if image_tokens:
        inputs["pixel_values"] = torch.rand(request.all_tiles, 3, 448, 448)
    if request.logits_to_keep == 0:
        model(**inputs)
    else:
        options = {"max_new_tokens": request.new_tokens, "min_new_tokens": request.new_tokens, "do_sample": False}
        model.generate(**inputs, **options)


def resident(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def measure(name: str) -> int:
    """Bytes at the peak above the interpreter, in this process."""
    from transformers_internvl.profiling.memory import Request

    vision, text, request = SHAPES[name]
    small = text | {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "moe_intermediate_size": 32}
    small.pop("layer_types", None)
    answer(build(config_of(SMALL, small)), Request(tiles=1, context=300, new_tokens=3))
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets VmHWM
    answer(build(config_of(vision, text)), Request(**request))
    return resident("VmHWM") - before


def plan_releases() -> int:
    """Every released chat model over the fewest GPUs of 80 GB: all in its place, whole, and within the room."""
    from transformers_internvl.profiling.device_map import plan_devices
    from transformers_internvl.profiling.memory import Request, memory_units
    from transformers_internvl.profiling.model_profile import build_on_meta
    from transformers_internvl.profiling.released import RELEASES, released_config

    wrong = 0
    for name in RELEASES:
        config = released_config(name)
        units, model = memory_units(config, Request(tiles=13, images=2)), build_on_meta(config)
        gpus = next(n for n in range(1, 33) if plan_devices(units, dict.fromkeys(range(n), "80GB")).fits)
        plan = plan_devices(units, dict.fromkeys(range(gpus), "80GB"))
        homes = {unit: share.device for share in plan.shares for unit in share.units}
        tensors = [tensor for tensor, _ in (*model.named_parameters(), *model.named_buffers())]
        # A unit is a whole block, so a tensor with exactly one unit above it is in its place, and no block is split.
        lost = [t for t in tensors if sum(t == unit or t.startswith(f"{unit}.") for unit in homes) != 1]
        blocks = [n for n, module in model.named_modules() if type(module).__name__ in model._no_split_modules]
        split = [n for n in blocks if n not in homes]
        wrong += bool(lost or split)
        fill = ", ".join(f"{share.needs.total / 1e9:.1f}" for share in plan.shares)
        print(f"{name:36} {gpus} x 80 GB: {fill}   lost {len(lost)}, split {len(split)}", flush=True)
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)} (default: all)")
    parser.add_argument("--releases", action="store_true", help="plan every release instead, and check the maps")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.releases:
        return plan_releases()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    from transformers_internvl.profiling.memory import Request, memory_units, needs

    worst, ratios = 0.0, {}
    print(f"{'shape':30} {'planned':>9} {'measured':>9} {'ratio':>6}   weights / cache / activations")
    for name in arguments.shapes or SHAPES:
        vision, text, request = SHAPES[name]
        plan = needs(memory_units(config_of(vision, text), Request(**request), torch.float32))
        command = [sys.executable, __file__, "--measure", name]
        child = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True)
        if child.returncode:
            print(child.stderr, file=sys.stderr)
            return 1
        measured = json.loads(child.stdout.splitlines()[-1])
        ratio = plan.total / measured
        worst = max(worst, abs(ratio - 1))
        ratios[f"{name}, planned / measured"] = ratio
        parts = " / ".join(f"{size / 1e6:.0f}" for size in (plan.weights, plan.cache, plan.activations))
        print(f"{name:30} {plan.total / 1e6:6.0f} MB {measured / 1e6:6.0f} MB {ratio:6.3f}   {parts}", flush=True)
    record(ratios)
    print(f"worst: {worst:.1%} off (at most {TOLERANCE:.0%} wanted)")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
