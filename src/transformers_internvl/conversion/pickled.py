# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of `torch.save`, of which nothing but tensors is read: what else a pickle does, it does not do here."""

import os
import pickle
from typing import Any

import torch


def load_tensors(path: str | os.PathLike, **options: Any) -> dict[str, Any]:
    """`torch.load` of named weights.

    Args:
        path: the file.
        options: `map_location` and `mmap`.

    Raises:
        ValueError: the file holds more than tensors, code perhaps, or is damaged.
        RuntimeError: with `mmap`, it was written before torch 1.6: no zip file, which cannot be mapped.
    """
    try:
        weights = torch.load(path, weights_only=True, **options)
    except (pickle.UnpicklingError, EOFError) as error:
        reason = str(error).partition("Trying to load ")[2].partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{os.fspath(path)} is damaged, or holds more than weights ({reason}): it is not loaded, since a pickle "
            "can run any code. Take the safetensors files of this checkpoint, from whom you trust."
        ) from error
    if not isinstance(weights, dict):
        raise ValueError(f"{os.fspath(path)} holds a {type(weights).__name__}, expected weights by name.")
    return weights


__all__ = ["load_tensors"]
