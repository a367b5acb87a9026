# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What would have to change for a model to fit: of every setting the smallest change that alone is enough."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedConfig

from .device_map import OFFLOAD, Device, plan_devices
from .memory import QUANTIZED, Request, Unit, memory_units

MOST_GPUS = 32
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
        changes += _smaller(setting, getattr(request, setting), 1, 1, request, fits)
    image_tokens = request.images * request.tiles * config.image_seq_length
    changes += _smaller("context", request.context, CONTEXT_STEP, max(image_tokens, CONTEXT_STEP), request, fits)
    return changes + _more_room(memory_units(config, request, dtype), max_memory)


def _smaller(
    setting: str, present: int, step: int, least: int, request: Request, fits: Callable[[Request], bool]
) -> list[Change]:
    """The largest multiple of `step` below the present value with which the request fits, if there is one."""

    def fits_with(steps: int) -> bool:
        return fits(replace(request, **{setting: steps * step}))

    low, high = -(-least // step), -(-present // step)
    if low >= high or not fits_with(low):
        return []
    while high - low > 1:  # low fits, high does not
        middle = (low + high) // 2
        low, high = (middle, high) if fits_with(middle) else (low, middle)
    return [Change(setting, low * step)]


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
