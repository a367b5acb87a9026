# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Memory of a training step whose positions two ranks share, over that of one process.

    python benchmarks/context_parallel.py [--quick] [--length N]

One pack of text and tiles, forward and backward, float32, a language model of the width of the 1B's with fewer layers
and a small tower. The peer is the same step in one process. Memory is the peak of a process above what it had with
model and batch; the losses must agree to 1e-5, and so must the norm of the summed gradients.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from figures import heading, record
from torch import distributed

import transformers_internvl as ours
from transformers_internvl.modeling.pretrained.context_parallel import ContextGroup

TEXT = {
    "model_type": "qwen2",
    "vocab_size": 4096,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 4,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
}
VISION = {
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "attention_bias": True,
    "image_size": 448,
}
IMAGE_TOKEN, TOKENS_PER_TILE, TILES, LIMIT = 7, 256, 4, 0.6


def step(length: int) -> dict[str, float]:
    """A step of this process, alone or with the other rank."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = ours.InternVLConfig(text_config=TEXT, vision_config=VISION, image_token_id=IMAGE_TOKEN)
    model = ours.InternVLForConditionalGeneration(config).train()
    if alone := os.environ.get("WORLD_SIZE", "1") == "1":
        ranks = None
    else:
        distributed.init_process_group("gloo")
        ranks = ContextGroup()
    model.model.set_context_group(ranks)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    ids = torch.randint(8, 4096, (1, length))
    ids[:, 4 : 4 + TILES * TOKENS_PER_TILE] = IMAGE_TOKEN
    places = torch.cat([torch.arange(length // 2), torch.arange(length - length // 2)])[None]
    batch = {"input_ids": ids, "position_ids": places, "labels": ids.masked_fill(ids == IMAGE_TOKEN, -100)}
    batch["pixel_values"] = torch.randn(TILES, 3, 448, 448)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    loss = model(**batch).loss
    loss.backward()
    memory = resident("VmHWM") - before
    loss = loss.detach()
    if not alone:
        distributed.all_reduce(loss)
        for parameter in model.parameters():
            distributed.all_reduce(parameter.grad)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    return {"memory": memory, "loss": loss.item(), "norm": norm.item()}


def resident(field: str) -> int:
    """`VmRSS` or its peak `VmHWM`, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measured(ranks: int, length: int) -> list[dict[str, float]]:
    """What the processes of a step found."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    shared |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--one", "--length", str(length)]
    runs = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(ranks)
    ]
    outputs = [run.communicate()[0] for run in runs]
    if any(run.returncode for run in runs):
        sys.exit("A process failed; its message is above.")
    return [json.loads(output) for output in outputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short row: a smoke test, not a measurement")
    parser.add_argument("--length", type=int, default=8192, help="positions of the row (%(default)s)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(step(options.length)))
        return
    length = 1536 if options.quick else options.length
    (one,), two = measured(1, length), measured(2, length)
    for name in ("loss", "norm"):
        for found in two:
            if abs(found[name] - one[name]) > 1e-5 * abs(one[name]):
                sys.exit(f"The work was not equal, {name}: {one[name]} and {found[name]}")
    ratio = max(found["memory"] for found in two) / one["memory"]
    print(heading("cpu", f"{length} positions, {TILES} tiles"))
    print(f"memory of a rank / one process  {ratio:.2f}  (at most {LIMIT} wanted; {one['memory'] / 1e6:.2f} GB)")
    record({"memory of a rank / one process": ratio})


if __name__ == "__main__":
    main()
