# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl plan`: which part of a chat model goes on which device, what it needs there, and whether it fits."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .errors import user_errors
from .loading import log_errors_only, model_config
from .tables import table

# Setting of a change -> the argument that makes it.
ARGUMENTS = {"batch_size": "batch"}


def run(arguments: argparse.Namespace) -> int:
    """Print the plan, and return 0 if it fits, else 1."""
    import torch

    from ..profiling.device_map import plan_devices
    from ..profiling.memory import QUANTIZED, Request, memory_units

    log_errors_only()
    config = model_config(arguments.model)
    dtype = arguments.dtype if arguments.dtype in QUANTIZED else getattr(torch, arguments.dtype)
    with user_errors(f"cannot plan {arguments.model}"):
        request = Request(
            tiles=arguments.tiles,
            images=arguments.images,
            context=arguments.context,
            new_tokens=arguments.new_tokens,
            batch_size=arguments.batch,
        )
        room = _room(arguments)
        units = memory_units(config, request, dtype)
        plan = plan_devices(units, room)
    if arguments.json:
        shares = [
            asdict(share) | {"fits": share.fits, "needs": asdict(share.needs) | {"total": share.needs.total}}
            for share in plan.shares
        ]
        result = {"model": arguments.model, "dtype": arguments.dtype, "request": asdict(request), "fits": plan.fits}
        print(json.dumps(result | {"shares": shares, "device_map": plan.device_map}, indent=2))
        return 0 if plan.fits else 1
    asked = f"{request.images} images of {request.tiles} tiles, {request.context} positions, {request.new_tokens} new"
    print(f"{arguments.model}, {arguments.dtype}; {request.batch_size} x ({asked}); sizes in {_unit(plan)[0]}\n")
    print(_table(plan, [unit.name for unit in units]))
    if plan.fits:
        print("\nIt fits.")
        return 0
    print("\nIt does not fit.", end="")
    from ..profiling.fitting import changes_that_fit

    changes = [_as_argument(change, arguments) for change in changes_that_fit(config, room, request, dtype)]
    print(" One of these would do: " + ", ".join(changes) if changes else " No change of one setting would do.")
    return 1


def _room(arguments: argparse.Namespace) -> dict[int | str, int | str]:
    """Devices and their sizes. Raises `ValueError` for a size that cannot be read."""
    from accelerate.utils import convert_file_size_to_int, get_max_memory

    room: dict[int | str, int | str] = {}
    if arguments.gpus is None and arguments.cpu is None and arguments.disk is None:
        return get_max_memory()
    for part in arguments.gpus.split(",") if arguments.gpus else ():
        match = re.fullmatch(r"(?:(\d+)x)?(\d+(?:\.\d+)?[KMGT]?i?B)", part.strip(), re.IGNORECASE)
        if match is None or match[1] == "0":
            raise ValueError(f"--gpus must be like 4x80GB or 2x80GB,1x24GB, got {arguments.gpus!r}.")
        room.update({len(room) + index: match[2] for index in range(int(match[1] or 1))})
    room.update({name: size for name in ("cpu", "disk") if (size := getattr(arguments, name)) is not None})
    for size in room.values():
        convert_file_size_to_int(size)
    return room


def _unit(plan: Any) -> tuple[str, float]:
    return ("GB", 1e9) if max(share.needs.total for share in plan.shares) > 1e9 else ("MB", 1e6)


def _table(plan: Any, names: Sequence[str]) -> str:
    rows, size = [], _unit(plan)[1]
    for share in plan.shares:
        device = f"gpu {share.device}" if isinstance(share.device, int) else share.device
        need = share.needs
        cells = [f"{part / size:.1f}" for part in (need.weights, need.cache, need.activations, need.total)]
        room = f"{share.capacity / size:.1f}{'' if share.fits else ' !'}"
        rows.append((f"{device}: {stretches(share.units, names) or 'nothing'}", *cells, room))
    return table(("device: parts", "weights", "cache", "activations", "needed", "of"), rows)


def stretches(units: Sequence[str], names: Sequence[str]) -> str:
    """A short text of units: a complete part by its name, layers as a range.

    Args:
        units: the units of one device, in the order of `names`.
        names: all units of the model.
    """
    words: list[str] = []
    for part in dict.fromkeys(map(_part, units)):
        mine = [unit for unit in units if _part(unit) == part]
        if len(mine) == sum(_part(name) == part for name in names):
            words.append(part)
            continue
        for stem in dict.fromkeys(_stem(unit) for unit in mine):
            numbers = [unit.rpartition(".")[2] for unit in mine if _stem(unit) == stem]
            ends = numbers[0] if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
            words.append(stem.removeprefix("model.") + (f" {ends}" if numbers[0].isdecimal() else ""))
    return ", ".join(words)


def _stem(name: str) -> str:
    """The name without the number of a layer."""
    stem, _, last = name.rpartition(".")
    return stem if last.isdecimal() else name


def _part(name: str) -> str:
    return name.removeprefix("model.").split(".")[0]


def _as_argument(change: Any, arguments: argparse.Namespace) -> str:
    """The command-line argument of a change."""
    if change.setting == "cpu":
        return f"--cpu {-(-change.value // 10**9)}GB (layers wait there: slow)"
    if change.setting == "gpus":
        return f"--gpus {change.value}x{re.sub(r'.*x', '', arguments.gpus.split(',')[-1])}"
    return f"--{ARGUMENTS.get(change.setting, change.setting)} {change.value}"
