# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What all benchmarks share: the machine, a clock for any device, and the figures that a run ends with."""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

FILE = "INTERNVL_BENCHMARK_FIGURES"
"""The environment variable with which `python -m benchmarks` names the file that `record` writes."""


def processor(device: torch.device | str = "cpu") -> str:
    """The name of a GPU, or the model of the CPU and the instructions that torch uses on it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    models = [line for line in cpu_info() if line.startswith("model name")]
    families = [line for line in cpu_info() if line.startswith("cpu family")]
    model = models[0].split(":")[1].strip() if models else os.uname().machine
    family = f" family {families[0].split(':')[1].strip()}" if families else ""
    return f"{model}{family}, {torch.backends.cpu.get_cpu_capability()}"


def cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def heading(device: torch.device | str = "cpu", *details: str) -> str:
    """The line above a benchmark's table: processor, versions, threads."""
    parts = [processor(device), f"torch {torch.__version__}", f"{torch.get_num_threads()} thread(s)", *details]
    return ", ".join(parts)


def seconds(run: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Elapsed time of a call, until the device has finished."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device | str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def record(figures: Mapping[str, float], device: torch.device | str = "cpu") -> None:
    """Hand the ratios of a run to `python -m benchmarks`, if that started it."""
    if path := os.environ.get(FILE):
        found = {"processor": processor(device), "figures": {name: round(value, 3) for name, value in figures.items()}}
        Path(path).write_text(json.dumps(found), encoding="utf-8")
