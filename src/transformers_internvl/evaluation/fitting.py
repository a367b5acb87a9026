# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What would have to change for a model to fit: of every setting the smallest change that alone is enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedConfig

from .device_map import OFFLOAD, Device, plan_devices
from .memory import QUANTIZED, Request, Unit, memory_units

MOST_GPUS = 64
CONTEXT_STEP = 256


@dataclass(frozen=True)
class Change:
    """One setting and the value that would do.

    Attributes:
        setting: of a [`Request`], or `"dtype"`, `"gpus"` (how many), `"cpu"` (bytes).
        value: its new value.
    """

    setting: str
    value: Any


def changes_that_fit(
    config: PreTrainedConfig, max_memory: dict[Device, int | str], request: Request, dtype: torch.dtype | str
) -> list[Change]:
    """Changes, each of which alone makes the model fit; none for settings that alone are not enough.

    Args:
        config, max_memory, dtype: as in [`internvl_device_map`].
        request: what does not fit.
    """

    def fits(other: Request, kind: torch.dtype | str = dtype) -> bool:
        return plan_devices(memory_units(config, other, kind), max_memory).fits

    changes = []
    if not isinstance(dtype, str):
        smaller = next((name for name in QUANTIZED if fits(request, name)), None)
        changes += [Change("dtype", smaller)] if smaller else []
    for setting in ("batch_size", "images", "tiles"):
        value = _largest(
            getattr(request, setting), lambda value, s=setting: fits(replace(request, **{s: value})), least=1
        )
        changes += [Change(setting, value)] if value else []
    least = max(-(-request.images * request.tiles * config.image_seq_length // CONTEXT_STEP), 1)
    steps = _largest(
        -(-request.context // CONTEXT_STEP), lambda n: fits(replace(request, context=n * CONTEXT_STEP)), least
    )
    changes += [Change("context", steps * CONTEXT_STEP)] if steps else []
    return changes + _more_room(memory_units(config, request, dtype), max_memory)


def _largest(present: int, fits: Callable[[int], bool], least: int) -> int | None:
    """The largest value below the present one that fits, or None."""
    if present <= least or not fits(least):
        return None
    low, high = least, present  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _more_room(units: Sequence[Unit], max_memory: dict[Device, int | str]) -> list[Change]:
    """More GPUs like the last one, or main memory where layers wait."""
    gpus = [device for device in max_memory if device not in OFFLOAD]
    changes = []
    if gpus:
        last = max_memory[gpus[-1]]
        for count in range(len(gpus) + 1, MOST_GPUS + 1):
            room = {index: max_memory[gpus[index]] if index < len(gpus) else last for index in range(count)}
            others = {device: size for device, size in max_memory.items() if device in OFFLOAD}
            if plan_devices(units, room | others).fits:
                changes.append(Change("gpus", count))
                break
    weights = sum(unit.weights for unit in units)
    offloaded = plan_devices(units, {**max_memory, "cpu": weights}) if gpus else None
    if offloaded is not None and offloaded.fits:
        changes.append(Change("cpu", offloaded.offloaded))
    return changes


__all__ = ["Change", "changes_that_fit"]
