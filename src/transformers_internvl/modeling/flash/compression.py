# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a call says about compression: thresholds, or the tiles themselves.

    model.generate(**inputs)                                                    as config.json says (`flash_mode`)
    model.generate(**inputs, flash_mode=False)                                  every tile whole
    model.generate(**inputs, flash_relative_threshold=0.5, flash_absolute_threshold=0.3)
    model.generate(**inputs, compressed_tiles=torch.tensor([True, False]))      these, whatever the router says

`forward` and `get_image_features` take the same arguments. Without any of them they compress nothing, as the original
`forward`, which is for training and scoring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .router import HEADS

ARGUMENTS = ("flash_mode", "flash_relative_threshold", "flash_absolute_threshold", "compressed_tiles")
_THRESHOLDS = ARGUMENTS[1:3]


@dataclass(frozen=True)
class Compression:
    """How it is decided which tiles are compressed.

    Attributes:
        relative: of the tiles of a sample, the share that is certainly whole; in [0, 1]. None with `tiles`.
        absolute: the least probability of a compressed tile, in [0, 1]. None with `tiles`.
        tiles: `(T,)`, bool: the decision itself, in place of the router's.
        tiles_per_sample: how many tiles every sample has, in order; None: all are one sample's.
    """

    relative: float | None = None
    absolute: float | None = None
    tiles: torch.Tensor | None = None
    tiles_per_sample: tuple[int, ...] | None = None

    def of_samples(self, tiles_per_sample: Sequence[int]) -> "Compression":
        """The same for samples of so many tiles."""
        return replace(self, tiles_per_sample=tuple(tiles_per_sample))

    def given_tiles(self, num_tiles: int) -> torch.Tensor | None:
        """The decision `(T,)` that the caller made, or None.

        Raises:
            ValueError: it is none about `num_tiles` tiles.
        """
        if self.tiles is None:
            return None
        tiles = torch.as_tensor(self.tiles)
        if tiles.dtype != torch.bool or tiles.shape != (num_tiles,):
            raise ValueError(
                f"`compressed_tiles` must say of each of the {num_tiles} tiles whether it is compressed: a tensor "
                f"({num_tiles},) of bool, got {tuple(tiles.shape)} of {tiles.dtype}."
            )
        return tiles

    def samples(self, num_tiles: int) -> tuple[int, ...]:
        """Tiles of every sample.

        Raises:
            ValueError: they do not add up to `num_tiles`.
        """
        counts = (num_tiles,) if self.tiles_per_sample is None else self.tiles_per_sample
        if sum(counts) != num_tiles:
            raise ValueError(
                f"The samples have {sum(counts)} tiles ({list(counts)}) by their image tokens, but `pixel_values` has "
                f"{num_tiles}: every tile needs its own run of <IMG_CONTEXT>, let the processor write it."
            )
        return counts


def check_threshold(name: str, value: Any) -> None:
    """Raise `ValueError` for a threshold that is no number in [0, 1]; None is none."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 <= value <= 1):
        raise ValueError(f"`{name}` must be a number in [0, 1], got {value!r:.80}: it is compared with probabilities.")


def check_flash(config: Any) -> None:
    """Look at what a configuration says about compression.

    Raises:
        ValueError: a threshold is outside [0, 1]; or there is a router that tower or patch grid do not suit.
    """
    for name in _THRESHOLDS:
        check_threshold(name, getattr(config, name))
    if config.flash_mode is None:
        return
    if config.vision_config.hidden_size % HEADS:
        raise ValueError(
            f"The router of InternVL3.5-Flash has {HEADS} heads, which do not divide the tower's `hidden_size` "
            f"{config.vision_config.hidden_size}."
        )
    if config.middleware_config is not None:
        raise ValueError("`flash_mode` and `middleware_config` are of different models: leave one of them out.")


def take_compression(config: Any, arguments: dict[str, Any], default: bool | None = False) -> Compression | None:
    """Take what is about compression out of the arguments of a call.

    Args:
        config: of the chat model.
        arguments: of the call; `ARGUMENTS`, `compression` and `tiles_per_sample` are taken out.
        default: whether tiles are compressed if the call does not say so.

    Returns:
        How it is decided, or None: every tile is whole.

    Raises:
        ValueError: thresholds are outside [0, 1] or missing, or the model has no router.
    """
    ready = arguments.pop("compression", None)
    samples = arguments.pop("tiles_per_sample", None)
    given = {name: arguments.pop(name) for name in ARGUMENTS if arguments.get(name) is not None}
    for name in ARGUMENTS:
        arguments.pop(name, None)
    if ready is not None:
        return ready
    for name in _THRESHOLDS:
        check_threshold(name, given.get(name))
    wanted = given.get("flash_mode", default or len(given) > 0)
    if not wanted:
        _refuse_contradiction(given)
        return None
    if config.flash_mode is None:
        raise ValueError(
            f"`{next(iter(given))}` is for InternVL3.5-Flash: this model has no router that decides which tiles are "
            "compressed (its config.json has no `flash_mode`). Leave the argument out."
        )
    if "compressed_tiles" in given:
        if set(given) & set(_THRESHOLDS):
            raise ValueError("Give `compressed_tiles` or thresholds, not both: the tiles are the decision itself.")
        return Compression(tiles=given["compressed_tiles"], tiles_per_sample=samples)
    relative, absolute = (given.get(name, getattr(config, name)) for name in _THRESHOLDS)
    if relative is None or absolute is None:
        missing = [name for name, value in zip(_THRESHOLDS, (relative, absolute), strict=True) if value is None]
        raise ValueError(
            f"config.json has no {' and no '.join(f'`{name}`' for name in missing)}, by which it is decided which "
            "tiles are compressed: pass both, or `flash_mode=False` for whole tiles."
        )
    return Compression(float(relative), float(absolute), tiles_per_sample=samples)


def _refuse_contradiction(given: dict[str, Any]) -> None:
    others = [name for name in given if name != "flash_mode"]
    if others:
        raise ValueError(f"`flash_mode=False` and `{others[0]}` contradict each other: leave one of them out.")


__all__ = ["ARGUMENTS", "Compression", "check_flash", "check_threshold", "take_compression"]
