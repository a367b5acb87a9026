# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pruned image tokens: the embedded model's score against the share that is kept, with time and memory of a prefill.

    python benchmarks/token_pruning.py [--quick] [--images N] [--layers N] [--rounds N] [--threads N]

The score is the share of exact answers to fresh drawings of the three tasks of the embedded model (`lab/nano/`), whose
tiles have 16 image tokens; every way of pruning is asked the same. It was trained on whole tiles.

Time and memory are of the prefill of 13 tiles of 256 tokens and 128 text tokens, from patches to the first logits and
the cache, on random weights: projector, pruning and a language model of the shape of that of the 1B (Qwen3-0.6B). The
tower has no blocks, it is the same in all of them. All ways run in turn, the fastest run of each counts, by the CPU
time of all threads, which other processes disturb less than the elapsed time. Memory is the peak above that before the
run, the cache included (Linux with glibc). Both are ratios to the prefill of all tokens.
"""

import argparse
import ctypes
import gc
import sys
from pathlib import Path
from typing import Any

import torch
from figures import heading, record
from flash import IMAGE_TOKEN, TILES, TOKENS, WORDS, measure, models
from transformers import AutoModelForImageTextToText, AutoProcessor

from transformers_internvl.modeling.internvl import PRUNING_METHODS
from transformers_internvl.modeling.internvl.token_pruning import FASTV
from transformers_internvl.nano import nano_path

sys.path.insert(0, str(Path(__file__).parents[1]))
from lab.nano.evaluation import answers, batches, fresh_drawings, styles  # noqa: E402 (needs the path)
from lab.nano.questions import TASKS  # noqa: E402

SHARES = (3 / 4, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
Way = tuple[float, str]


def options_of(way: Way) -> dict[str, Any]:
    """The arguments of a call."""
    share, method = way
    options: dict[str, Any] = {"kept_tokens": share, "pruning": method}
    return {**options, "pruning_seed": 0} if method == "random" else options


def scores(ways: list[Way], images: int) -> dict[Way, dict[str, float]]:
    """Of each way, the share of exact answers to each task."""
    processor = AutoProcessor.from_pretrained(nano_path())
    model = AutoModelForImageTextToText.from_pretrained(nano_path(), dtype=torch.float32).eval()
    exact: dict[Way, dict[str, float]] = {way: {} for way in ways}
    for task in TASKS:
        drawings = list(fresh_drawings(task, images, styles()["all fonts"]))
        given: dict[Way, list[str]] = {way: [] for way in ways}
        for inputs in batches(processor, [(drawing.image, drawing.question) for drawing in drawings]):
            for way in ways:
                given[way] += answers(model, processor, inputs, **options_of(way))
        for way, texts in given.items():
            right = sum(text == drawing.answer for text, drawing in zip(texts, drawings, strict=True))
            exact[way][task] = right / images
    return exact


def prefills(ways: list[Way], layers: int, rounds: int) -> dict[Way, tuple[int, float, float]]:
    """Of each way, the positions of the language model, a mean over layers, seconds of all threads, and megabytes."""
    model, _ = models(layers)
    ids = torch.randint(8, 4096, (1, WORDS + TILES * TOKENS))
    ids[:, 4 : 4 + TILES * TOKENS] = IMAGE_TOKEN
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["pixel_values"] = torch.randn(TILES, 3, 448, 448)
    runs: dict[Way, list[tuple[float, float]]] = {way: [] for way in ways}
    positions = {}
    with torch.inference_mode():
        measure(model, inputs)  # the first run of a process prepares what the others find
        for _ in range(rounds):
            for way in ways:
                release_freed_memory()
                (_, cpu, megabytes), outputs = measure(model, {**inputs, **options_of(way)})
                runs[way].append((cpu, megabytes))
                lengths = [layer.get_seq_length() for layer in outputs.cache.layers]
                positions[way] = round(sum(lengths) / len(lengths))
                del outputs
    return {way: (positions[way], min(cpu for cpu, _ in runs[way]), max(mb for _, mb in runs[way])) for way in ways}


def release_freed_memory() -> None:
    """Give what earlier runs freed back to the system, so that the next one asks for all that it needs."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 images, three layers, one round: a smoke test")
    parser.add_argument("--images", type=int, default=300, help="of each task (%(default)s)")
    parser.add_argument("--layers", type=int, default=28, help="of the language model (%(default)s: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, layers, rounds = arguments.images, arguments.layers, arguments.rounds
    if arguments.quick:
        images, layers, rounds = 4, 3, 1
    whole: Way = (1.0, "divprune")  # any of them: nothing is pruned
    ways = [whole, *((share, method) for share in SHARES for method in (*PRUNING_METHODS, FASTV))]
    exact, spent = scores(ways, images), prefills(ways, layers, rounds)
    print(heading("cpu", f"{layers} layers", f"{rounds} rounds"))
    print(f"{images} images of each task: {', '.join(TASKS)}")
    header = "".join(f"{name:>8}" for name in (*TASKS, "mean"))
    print(f"{'kept':<8}{'method':<10}{header}{'positions':>11}{'CPU':>8}{'MB':>8}{'memory':>8}")
    ratios = {}
    for way in ways:
        share, method = way
        marks = [*exact[way].values(), sum(exact[way].values()) / len(TASKS)]
        places, cpu, megabytes = spent[way]
        row = f"{share:<8.4g}{'all' if way == whole else method:<10}" + "".join(f"{mark:>8.3f}" for mark in marks)
        row += f"{places:>11}{cpu / spent[whole][1]:>8.3f}{megabytes:>8.0f}{megabytes / spent[whole][2]:>8.3f}"
        print(row)
        if share == 0.25:
            ratios[f"a quarter kept, {method}, time"] = cpu / spent[whole][1]
            ratios[f"a quarter kept, {method}, score"] = marks[-1]
    record(ratios)


if __name__ == "__main__":
    main()
