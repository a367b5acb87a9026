# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The architecture study, measured: images a second of the candidates, one image at a time and many at once.

    python benchmarks/architecture_study.py [--budget N] [--batch-size N] [--device D] [--dtype T] [--runs N] [--all]

The paper's finding (arXiv:2312.14238, section 3.2): as long as one image does not fill the machine, shallow models are
faster; with many images at once the difference vanishes. Each figure is the best of several runs, beside it its ratio
to that of the shape which became InternViT-6B. The defaults suit a CPU. The paper's Table 11 is

    --budget 6000000000 --batch-size 128 --device cuda --dtype bfloat16
"""

import argparse
import time

import torch

from transformers_internvl import InternVisionModel
from transformers_internvl.profiling.study import BUDGET, PUBLISHED, RELEASED, Candidate, architecture_study

WARM_UP = 2


def build(candidate: Candidate, device: torch.device, dtype: torch.dtype) -> InternVisionModel:
    """The tower with random weights, made on the device and in its format at once."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return InternVisionModel(candidate.config).eval()
    finally:
        torch.set_default_dtype(before)


def images_per_second(model: InternVisionModel, batch_size: int, runs: int) -> float:
    """The best of several runs."""
    parameter = next(model.parameters())
    pixels = torch.randn(batch_size, 3, *model.config.image_size, device=parameter.device, dtype=parameter.dtype)
    best = float("inf")
    for run in range(WARM_UP + runs):
        synchronize(parameter.device)
        start = time.perf_counter()
        model(pixels)
        synchronize(parameter.device)
        if run >= WARM_UP:
            best = min(best, time.perf_counter() - start)
    return batch_size / best


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=300_000_000, help="parameters of a candidate (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="images of the large batch (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="runs that count (%(default)s)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--all", action="store_true", help="all sixteen shapes, not only the six of Table 11")
    options = parser.parse_args()

    candidates = architecture_study(options.budget)
    shapes = [(c.config.num_hidden_layers, c.head_dim, c.mlp_ratio) for c in candidates]
    measured = {}
    with torch.inference_mode():
        for shape, candidate in zip(shapes, candidates, strict=True):
            if not options.all and shape not in PUBLISHED:
                continue
            model = build(candidate, options.device, getattr(torch, options.dtype))
            measured[shape] = (
                candidate,
                *(images_per_second(model, size, options.runs) for size in (1, options.batch_size)),
            )
            del model
    _, one_released, many_released = measured[RELEASED]

    print(f"torch {torch.__version__}, {options.device}, {options.dtype}, {torch.get_num_threads()} thread(s)")
    print("images a second, and next to the shape of InternViT-6B (48 layers, heads of 128, MLP ratio 4)")
    head = f"{'depth':>5}{'head':>6}{'MLP':>5}{'width':>7}{'M params':>10}"
    print(head + f"{'batch 1':>10}{'ratio':>7}{f'batch {options.batch_size}':>11}{'ratio':>7}")
    for (depth, head_dim, ratio), (candidate, one, several) in measured.items():
        million = candidate.profile.parameters / 1e6
        figures = f"{one:>10.2f}{one / one_released:>7.2f}{several:>11.2f}{several / many_released:>7.2f}"
        print(f"{depth:>5}{head_dim:>6}{ratio:>5}{candidate.config.hidden_size:>7}{million:>10.1f}{figures}")
    if options.budget == BUDGET:
        print(
            "The paper, on an A100: 35.5, 28.1, 28.0, 28.3, 21.6, 16.9 (1); 66.0, 64.9, 64.6, 65.3, 61.4, 60.1 (128)"
        )


if __name__ == "__main__":
    main()
