# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A training step with a vocabulary of 151,674: our model's memory and time against upstream transformers'.

    python benchmarks/loss_memory.py [--quick] [--rounds N]

Forward and backward of one sample, image and question unlabelled, answer labelled, on equal weights. Each step runs
in a process of its own, the two in turn; of each the least disturbed round counts. Memory is what the step adds to the
model at its peak (resident set, Linux), gradients included. The losses must agree. Ratios are ours over upstream's:
below 1 we need less.
"""

import time
from pathlib import Path

import torch
from figures import heading, record
from peers import build, command_line, in_turn, require_equal

VOCABULARY = 151674
IMAGE_TOKEN, TOKENS_PER_TILE = 7, 256
LENGTH = 1280  # one tile, a question, an answer
WORKLOADS = {"short answer, 1 in 10 tokens": 0.1, "long answer, half of the tokens": 0.5, "text, every token": 1.0}
CONFIG = {
    "text_config": {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY,
        "hidden_size": 448,
        "intermediate_size": 1216,
        "num_hidden_layers": 2,
        "num_attention_heads": 7,
        "num_key_value_heads": 1,
    },
    "vision_config": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "attention_bias": True,
        "image_size": 448,
    },
    "image_token_id": IMAGE_TOKEN,
    "tie_word_embeddings": False,
}


def batch(labelled: float, length: int) -> dict[str, torch.Tensor]:
    """One sample: a tile, unless every token is labelled, and labels at its end."""
    torch.manual_seed(1)
    ids = torch.randint(8, VOCABULARY, (1, length))
    labels = ids.masked_fill(torch.arange(length) < length * (1 - labelled), -100)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if labelled < 1:
        ids[:, 4 : 4 + TOKENS_PER_TILE] = IMAGE_TOKEN
        inputs["pixel_values"] = torch.randn(1, 3, 448, 448)
    return inputs


def resident(field: str) -> int:
    """`VmRSS` or its peak `VmHWM`, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(whose: str, labelled: float, length: int) -> dict[str, float]:
    """One step in this process: peak memory above the model, seconds, loss."""
    model = build(whose, CONFIG)
    warm = batch(0.5, TOKENS_PER_TILE + 16)
    model(**warm).loss.backward()  # threads, code and buffers that stay
    model.zero_grad(set_to_none=True)
    inputs = batch(labelled, length)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start = resident("VmRSS"), time.process_time()
    loss = model(**inputs).loss
    loss.backward()
    seconds = time.process_time() - start
    return {"memory": resident("VmHWM") - before, "seconds": seconds, "loss": loss.item()}


def main() -> None:
    about = __doc__.splitlines()[0]
    arguments = command_line(about, "one short round", 5, measure, (str, float, int))
    length, rounds = 400 if arguments.quick else LENGTH, arguments.rounds
    ratios = {}
    print(heading("cpu", f"{length} tokens"))
    print(f"{'labelled':<34}{'memory':>9}{'time':>9}{'runs':>7}   (ours / upstream)")
    for name, labelled in WORKLOADS.items():
        found = in_turn(__file__, rounds, {whose: (whose, labelled, length) for whose in ("ours", "upstream")})
        require_equal(f"loss, {name}", [result["loss"] for results in found.values() for result in results])
        memory, seconds = (
            min(result[key] for result in found["ours"]) / min(result[key] for result in found["upstream"])
            for key in ("memory", "seconds")
        )
        print(f"{name:<34}{memory:>9.2f}{seconds:>9.2f}{rounds:>7}", flush=True)
        ratios[f"{name}, memory"], ratios[f"{name}, time"] = memory, seconds
    record(ratios)


if __name__ == "__main__":
    main()
