# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL3.5-Flash: prefill of 13 tiles with none, half and all but one of them compressed, against the plain model.

    python benchmarks/flash.py [--quick] [--layers N] [--rounds N] [--threads N]

The language model has the shape of that of the 1B (Qwen3-0.6B) and random weights, the tower has its width and no
blocks: it is the same in all of them, so that a run is router, projectors and language model, from patches to the
first logits and the cache. The plain model has the same weights and no router; without compression both give the same
logits. All four run in turn, and the fastest run of each counts, on a shared machine the least disturbed one: `time`
by elapsed time, `CPU` by that of all threads, which other processes disturb less. Memory is the peak above that before
the run, the cache included.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from figures import heading, record

import transformers_internvl as ours
from transformers_internvl.profiling.released import released_config

TILES, TOKENS, WORDS = 13, 256, 128
IMAGE_TOKEN = 7
# Name -> thresholds: the quantile of the probabilities of 13 tiles is that of the 7th, or of the smallest.
COMPRESSED = {
    "none": {"flash_relative_threshold": 0.0, "flash_absolute_threshold": 1.0},
    "half (6)": {"flash_relative_threshold": 0.5, "flash_absolute_threshold": 0.0},
    "all but one (12)": {"flash_relative_threshold": 0.0, "flash_absolute_threshold": 0.0},
}
COUNTS = {"none": 0, "half (6)": 6, "all but one (12)": 12}
LIMITS = {"half (6)": 0.65, "all but one (12)": 0.40}
"""What the ratios of time are to be at most."""


def models(layers: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The plain model and the one with a router, the weights shared."""
    torch.manual_seed(0)
    config = released_config("InternVL3_5-1B-Flash")
    config.vision_config.num_hidden_layers = 0
    config.text_config.num_hidden_layers, config.text_config.vocab_size = layers, 4096
    config.text_config.layer_types = config.text_config.layer_types[:1] * layers
    config.image_token_id = IMAGE_TOKEN
    fields = config.to_canonical().to_dict()
    flash = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**fields)).eval()
    with torch.device("meta"):
        plain = ours.InternVLForConditionalGeneration(ours.InternVLConfig(**{**fields, "flash_mode": None}))
    plain.load_state_dict({name: flash.state_dict()[name] for name in plain.state_dict()}, assign=True)
    for name, buffer in flash.named_buffers():
        owner, _, leaf = name.rpartition(".")
        plain.get_submodule(owner)._buffers[leaf] = buffer
    return plain.eval(), flash


def resident(field: str) -> int:
    """`VmRSS` or its peak `VmHWM`, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def measure(model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[tuple[float, float, float], Any]:
    """Seconds elapsed and of all threads, and megabytes of memory; and the outputs of one prefill."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, start, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    outputs = model(**inputs, logits_to_keep=1, use_cache=True)
    spent = time.perf_counter() - start, time.process_time() - cpu
    return (*spent, (resident("VmHWM") - before) / 1000), outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two layers, one round: a smoke test, no measurement")
    parser.add_argument("--layers", type=int, default=28, help="of the language model (%(default)s: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    layers, rounds = (2, 1) if arguments.quick else (arguments.layers, arguments.rounds)
    plain, flash = models(layers)
    ids = torch.randint(8, 4096, (1, WORDS + TILES * TOKENS))
    ids[:, 4 : 4 + TILES * TOKENS] = IMAGE_TOKEN
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["pixel_values"] = torch.randn(TILES, 3, 448, 448)
    ways: dict[str, tuple[torch.nn.Module, dict[str, Any]]] = {"plain model": (plain, {})}
    ways |= {name: (flash, thresholds) for name, thresholds in COMPRESSED.items()}
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
    logits = {}
    with torch.inference_mode():
        for _ in range(rounds):
            for name, (model, thresholds) in ways.items():
                spent, outputs = measure(model, {**inputs, **thresholds})
                runs[name].append(spent)
                logits[name] = outputs.logits
                if thresholds and outputs.image_outputs.compressed_tiles.sum() != COUNTS[name]:
                    raise RuntimeError(f"{name}: {outputs.image_outputs.compressed_tiles} are compressed.")
                del outputs
    torch.testing.assert_close(logits["none"], logits["plain model"], rtol=1e-3, atol=1e-3)
    print(heading("cpu", f"{layers} layers", f"{rounds} rounds"))
    print(f"{'compressed':<18}{'positions':>10}{'seconds':>10}{'time':>8}{'CPU':>8}{'MB':>9}{'memory':>8}  limit")
    ratios: dict[str, float] = {}
    base = [min(values) for values in zip(*runs["plain model"], strict=True)]
    for name, measured in runs.items():
        seconds, cpu, memory = (min(values) for values in zip(*measured, strict=True))
        row = f"{name:<18}{ids.shape[1] - 192 * COUNTS.get(name, 0):>10}{seconds:>10.2f}"
        row += f"{seconds / base[0]:>8.3f}{cpu / base[1]:>8.3f}{memory:>9.0f}{memory / base[2]:>8.3f}"
        print(f"{row}  {LIMITS.get(name, '')}")
        ratios[name], ratios[f"{name}, memory"] = seconds / base[0], memory / base[2]
    record({name: ratio for name, ratio in ratios.items() if not name.startswith("plain")})


if __name__ == "__main__":
    main()
