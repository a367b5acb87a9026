# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which part of a chat model goes on which device, by all the memory that it needs there.

`device_map="auto"` counts weights. Here the cache and the tensors of the forward pass count, too, so the device that
holds the tower, which needs room for a chunk of tiles, gets less of the language model: what the original
`split_model` does with a table of model names. Parts stay in the order in which they run, each device takes a stretch
of them, and the fullest device is as empty as can be.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate.utils import convert_file_size_to_int, get_max_memory
from accelerate.utils.modeling import clean_device_map
from transformers import PreTrainedConfig

from .memory import MemoryEstimate, Request, Unit, memory_units, needs

Device = int | str
OFFLOAD = ("cpu", "disk")  # in the order in which they are filled


@dataclass(frozen=True)
class Share:
    """What one device gets.

    Attributes:
        device: a number of a GPU, "cpu" or "disk".
        capacity: bytes that may be used there.
        units: names of the parts that lie there.
        needs: what that takes, in bytes.
    """

    device: Device
    capacity: int
    units: tuple[str, ...]
    needs: MemoryEstimate

    @property
    def fits(self) -> bool:
        """Whether there is room."""
        return self.needs.total <= self.capacity


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    Attributes:
        shares: by device, the computing ones first.
        device_map: for `from_pretrained(device_map=...)`.
    """

    shares: tuple[Share, ...]
    device_map: dict[str, Device]

    @property
    def fits(self) -> bool:
        """Whether there is room on every device."""
        return all(share.fits for share in self.shares)

    @property
    def offloaded(self) -> int:
        """Bytes of weights that wait on another device than they are used on."""
        return sum(share.needs.weights for share in self.shares[1:] if share.device in OFFLOAD)


def internvl_device_map(
    config: PreTrainedConfig,
    max_memory: dict[Device, int | str] | None = None,
    *,
    tiles: int = 12,
    images: int = 1,
    context: int = 8192,
    new_tokens: int = 512,
    batch_size: int = 1,
    dtype: torch.dtype | str = torch.bfloat16,
) -> dict[str, Device]:
    """A `device_map` under which the model can do what it is asked.

    Args:
        config: of a chat model in any layout.
        max_memory: device to the memory that may be used there, as bytes or text such as "80GB". GPUs have numbers;
            "cpu" and "disk", if they are there, take layers that the GPUs have no room for. None: what is free on the
            GPUs of this machine, and its main memory.
        tiles, images, context, new_tokens, batch_size: what it is asked, see [`Request`].
        dtype: of the weights, or "int8" or "int4" for a quantized language model.

    Raises:
        ValueError: there is not enough room, or what it is asked makes no sense.
    """
    request = Request(tiles=tiles, images=images, context=context, new_tokens=new_tokens, batch_size=batch_size)
    plan = plan_devices(memory_units(config, request, dtype), max_memory)
    lacking = [share for share in plan.shares if not share.fits]
    if lacking:
        room = "; ".join(
            f"{share.device} has {_gigabytes(share.capacity)} and needs {_gigabytes(share.needs.total)}"
            for share in lacking
        )
        raise ValueError(
            f"The model does not fit: {room}. Add a device, let layers wait on the 'cpu' or the 'disk' by naming them "
            "in `max_memory`, take fewer tiles, a shorter context or a smaller `dtype`; `internvl plan` tells what "
            "would do."
        )
    return plan.device_map


def plan_devices(units: Sequence[Unit], max_memory: dict[Device, int | str] | None = None) -> Plan:
    """Share parts out over devices; where there is no room, as evenly as can be.

    Args:
        units: of `memory_units`.
        max_memory: as in [`internvl_device_map`].

    Raises:
        ValueError: no device that could compute.
    """
    rooms = _capacities(max_memory)
    waiting = [device for device in OFFLOAD if device in rooms]
    computing = [device for device in rooms if device not in OFFLOAD] or waiting[:1]
    if not computing or computing == ["disk"]:
        raise ValueError(f"`max_memory` must have a GPU or 'cpu', which can compute; got {list(rooms)}.")
    waiting = [device for device in waiting if device not in computing]
    units = _tied_together(units)
    layers = [unit for unit in units if unit.is_layer]
    room = [rooms[device] for device in computing]
    for count in range(len(layers) + 1) if waiting else (0,):
        away = layers[len(layers) - count :]
        here = [unit for unit in units if unit not in away]
        stored = _store(away, [rooms[device] for device in waiting])
        if stored is not None and _fill(here, away, room, 1.0) is not None:
            break
    else:  # no number of layers away is enough: show the best without
        here, away, stored = units, [], [[] for _ in waiting]
    stretches = _balance(here, away, room)
    shares = [
        _share(device, rooms[device], stretch, away if index == 0 else [])
        for index, (device, stretch) in enumerate(zip(computing, stretches, strict=True))
    ]
    for device, names in zip(waiting, stored, strict=True):
        weights = MemoryEstimate(sum(unit.weights for unit in names), 0, 0)
        shares.append(Share(device, rooms[device], tuple(unit.name for unit in names), weights))
    places = {name: share.device for share in shares for name in share.units}
    return Plan(tuple(shares), clean_device_map({unit.name: places[unit.name] for unit in units}))


def _capacities(max_memory: dict[Device, int | str] | None) -> dict[Device, int]:
    if max_memory is None:
        return {device: int(size) for device, size in get_max_memory().items()}
    return {device: int(convert_file_size_to_int(size)) for device, size in max_memory.items()}


def _tied_together(units: Sequence[Unit]) -> list[Unit]:
    """A head without weights of its own comes directly behind the embeddings that it shares."""
    units = list(units)
    if units[-1].weights == 0:
        embeddings = next(index for index, unit in enumerate(units) if unit.name.endswith("embed_tokens"))
        units.insert(embeddings + 1, units.pop())
    return units


def _needs_with(units: list[Unit], away: list[Unit]) -> MemoryEstimate:
    """What a device needs that also computes layers whose weights wait elsewhere and come one at a time."""
    need = needs(units, away)
    visiting = max((unit.weights for unit in away), default=0)
    return MemoryEstimate(need.weights + visiting, need.cache, need.activations)


def _share(device: Device, capacity: int, units: list[Unit], away: list[Unit]) -> Share:
    return Share(device, capacity, tuple(unit.name for unit in units), _needs_with(units, away))


def _balance(units: list[Unit], away: list[Unit], rooms: list[int]) -> list[list[Unit]]:
    """The stretch of units each device takes when all are filled to the lowest level that is enough."""
    low, high = 0.0, 1.0
    while (best := _fill(units, away, rooms, high)) is None:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        stretches = _fill(units, away, rooms, middle)
        low, high, best = (middle, high, best) if stretches is None else (low, middle, stretches)
    return best


def _fill(units: list[Unit], away: list[Unit], rooms: list[int], level: float) -> list[list[Unit]] | None:
    """Stretches of units up to `level` of the rooms, or None if that is not enough."""
    stretches, rest = [], list(units)
    for index, room in enumerate(rooms):
        mine: list[Unit] = []
        extra = away if index == 0 else []
        while rest and _needs_with([*mine, rest[0]], extra).total <= level * room:
            mine.append(rest.pop(0))
        stretches.append(mine)
    return None if rest else stretches


def _store(units: list[Unit], rooms: list[int]) -> list[list[Unit]] | None:
    """Units on the devices where they wait, the first one filled first; None if there is no room."""
    stores, rest = [], list(units)
    for room in rooms:
        mine: list[Unit] = []
        while rest and sum(unit.weights for unit in [*mine, rest[0]]) <= room:
            mine.append(rest.pop(0))
        stores.append(mine)
    return None if rest else stores


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


__all__ = ["Device", "Plan", "Share", "internvl_device_map", "plan_devices"]
