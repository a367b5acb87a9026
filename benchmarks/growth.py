# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How time and memory grow with tiles, frames, context and batch: curves, and the power with which each grows.

    python benchmarks/growth.py [--quick] [--device cuda] [--rounds N] [--plot FILE]

A model with layers of the 300M tower and of a 0.5B language model, fewer of them, and random weights. Each curve
changes one size and leaves the others alone:

    tiles     the tower and the projector, 1 to 40 tiles of one image
    frames    a whole prefill, 1 to 64 frames of one tile each
    context   a prefill of text, 256 to 8,192 positions
    step      one further token behind so many positions, kept in the cache
    batch     a prefill of 1 to 16 prompts of 256 positions

Printed are the times over those of the smallest size, the peaks of memory in MiB beyond the model, and the power p of
a fit `size ** p`: 1 is linear, 2 quadratic, 0 flat. Times are those of the fastest of a few runs, in turn.
"""

import argparse
import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from figures import heading, record, seconds

import transformers_internvl as ours

TEXT = {
    "model_type": "qwen2",
    "vocab_size": 4096,
    "hidden_size": 448,
    "intermediate_size": 2432,
    "num_hidden_layers": 4,
    "num_attention_heads": 7,
    "num_key_value_heads": 1,
}
VISION = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "attention_bias": True,
    "image_size": 448,
}
IMAGE_TOKEN, TOKENS_PER_TILE, WORDS = 7, 256, 64
SIZES = {
    "tiles": (1, 2, 5, 13, 40),
    "frames": (1, 4, 16, 64),
    "context": (256, 1024, 4096, 8192),
    "step": (256, 1024, 4096, 8192),
    "batch": (1, 4, 16),
}
Work = Callable[[], object]


def model_of(device: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = ours.InternVLConfig(text_config=TEXT, vision_config=VISION, image_token_id=IMAGE_TOKEN)
    return ours.InternVLForConditionalGeneration(config).eval().to(device)


def work(model: torch.nn.Module, curve: str, size: int) -> Work:
    """What is measured at one size of a curve; what it needs is there already."""
    ids = lambda rows, length: torch.randint(8, 4096, (rows, length), device=model.device)  # noqa: E731
    if curve == "tiles":
        pixels = torch.randn(size, 3, 448, 448, device=model.device)
        return lambda: model.get_image_features(pixels)
    if curve == "frames":
        prompt = ids(1, WORDS + size * TOKENS_PER_TILE)
        prompt[:, 4 : 4 + size * TOKENS_PER_TILE] = IMAGE_TOKEN
        pixels = torch.randn(size, 3, 448, 448, device=model.device)
        return lambda: model(input_ids=prompt, pixel_values=pixels, logits_to_keep=1)
    if curve == "step":
        cache = model(input_ids=ids(1, size), logits_to_keep=1, use_cache=True).cache
        token = ids(1, 1)

        def step() -> None:
            model(input_ids=token, cache=cache, use_cache=True, logits_to_keep=1)
            cache.crop(-1)

        return step
    prompt = ids(1, size) if curve == "context" else ids(size, 256)
    return lambda: model(input_ids=prompt, logits_to_keep=1)


class Peak:
    """The peak of memory during a block, above that before it, in bytes."""

    bytes = 0


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Allocated memory on a GPU; on a CPU the resident memory, looked at every millisecond."""
    found = Peak()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is freed goes back, so that it counts where it is taken again
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield found
        found.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    before, done = resident(), threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            found.bytes = max(found.bytes, resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measured(model: torch.nn.Module, curve: str, sizes: tuple[int, ...], rounds: int) -> dict[int, tuple[float, int]]:
    """Least seconds and the peak of memory at each size."""
    found: dict[int, tuple[float, int]] = {}
    jobs = {size: work(model, curve, size) for size in sizes}
    for run in jobs.values():
        run()  # what is built once
    for _ in range(rounds):
        for size, run in jobs.items():
            with peak_memory(str(model.device)) as peak:
                spent = seconds(run, model.device)
            least, most = found.get(size, (spent, 0))
            found[size] = min(least, spent), max(most, peak.bytes)
    return found


def power(sizes: list[int], values: list[float]) -> float:
    """p of the fit `size ** p` through the larger half of the sizes, where constant costs weigh less."""
    kept = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[kept - 1 :]), np.log(np.maximum(values[kept - 1 :], 1e-9)), 1)[0])


def draw(curves: dict[str, dict[int, tuple[float, int]]], about: str, path: Path) -> None:
    """Time over that of the smallest size, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for curve, found in curves.items():
        least = next(iter(found.values()))[0]
        axes.plot(
            [size / next(iter(found)) for size in found], [t / least for t, _ in found.values()], "o-", label=curve
        )
    limit = max(size / next(iter(found)) for found in curves.values() for size in found)
    axes.plot([1, limit], [1, limit], color="gray", linestyle=":", label="linear")
    axes.set(xscale="log", yscale="log", xlabel="size / smallest size", ylabel="time / time of the smallest size")
    axes.set_title(about, fontsize=8)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each: a smoke test")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="where the curves are drawn (.png, .svg)")
    options = parser.parse_args()
    model, rounds = model_of(options.device), 1 if options.quick else options.rounds
    print(heading(options.device, f"{rounds} rounds"))
    print(f"{'curve':<10}{'size':>7}{'time':>10}{'MiB':>10}   (time over that of the smallest size)")
    curves, powers = {}, {}
    with torch.inference_mode():
        for curve, sizes in SIZES.items():
            found = measured(model, curve, sizes[:2] if options.quick else sizes, rounds)
            curves[curve] = found
            least = next(iter(found.values()))[0]
            for size, (spent, peak) in found.items():
                print(f"{curve:<10}{size:>7}{spent / least:>10.2f}{peak / 2**20:>10.1f}", flush=True)
            both = [power(list(found), list(values)) for values in zip(*found.values(), strict=True)]
            powers |= {
                f"{curve}: {name} grows with the power": p for name, p in zip(("time", "memory"), both, strict=True)
            }
            print(f"{curve:<10}{'power':>7}{both[0]:>10.2f}{both[1]:>10.2f}")
    if options.plot:
        draw(curves, heading(options.device), options.plot)
    record(powers, options.device)


if __name__ == "__main__":
    main()
