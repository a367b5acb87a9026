# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of a checkpoint that are there as a whole or not at all, and the last checkpoint that is.

`Trainer` writes `trainer_state.json` last. Where that can be read, the checkpoint is complete. Its files
are checked before any of them is loaded: they must hold what a trainer saves, and no pickle may run code.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from transformers import trainer as upstream_trainer
from transformers.utils import logging

from ...conversion.files.folders import read_json

PREFIX_CHECKPOINT_DIR: str = upstream_trainer.PREFIX_CHECKPOINT_DIR
TRAINER_STATE_NAME: str = upstream_trainer.TRAINER_STATE_NAME
DATA_STATE = "data_state_{rank}.json"
"""The file of a rank: its place in the data."""
# File of a checkpoint, as a pattern -> what it must hold, with the type; of the pickles, what their dictionary has.
_JSON: dict[str, dict[str, type]] = {
    TRAINER_STATE_NAME: {"global_step": int, "max_steps": int, "train_batch_size": int, "log_history": list},
    DATA_STATE.format(rank="*"): {"epoch": int, "finished": bool, "data": dict, "place": dict},
}
_PICKLES: dict[str, tuple[str, ...]] = {
    upstream_trainer.OPTIMIZER_NAME: ("state", "param_groups"),
    upstream_trainer.SCHEDULER_NAME: ("last_epoch",),
    upstream_trainer.SCALER_NAME: (),
    "rng_state*.pth": ("python", "numpy", "cpu"),
}
_UNPICKLED = ("**/.metadata", "global_step*/*.pt")  # of FSDP in shards, of DeepSpeed
# Messages of safetensors and torch about a file that they cannot write.
_UNWRITTEN = ("Error while serializing", "PytorchStreamWriter", "inline_container", "iostream error")
logger = logging.get_logger(__name__)


@contextmanager
def writing(folder: str | os.PathLike) -> Iterator[None]:
    """Turn the errors of libraries that write tensors, such as on a full disk, into `OSError`.

    Raises:
        OSError: a file in `folder` cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, OSError) or any(sign in reason for sign in _UNWRITTEN):
            raise OSError(
                f"{os.fspath(folder)} cannot be written ({reason}). What was complete before is still there: make "
                "room, and resume."
            ) from error
        raise


def is_complete(checkpoint: str | os.PathLike) -> bool:
    """Whether a checkpoint was written to its end."""
    state = Path(checkpoint) / TRAINER_STATE_NAME
    try:
        return state.is_file() and read_json(state) is not None
    except (OSError, ValueError, RecursionError):
        return False


def has_optimizer(checkpoint: str | os.PathLike) -> bool:
    """Whether a complete checkpoint holds more than weights (`save_only_model`), so that a run can go on from it."""
    return any(Path(checkpoint).glob("rng_state*.pth"))


def last_checkpoint(folder: str | os.PathLike, with_optimizer: bool = False) -> str | None:
    """The complete checkpoint of the most steps in a folder; None if there is none. Others are warned of.

    Args:
        with_optimizer: skip checkpoints of weights alone.
    """
    steps = {}
    for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        number = path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
        if path.is_dir() and number.isdecimal():
            steps[int(number)] = path
    for step in sorted(steps, reverse=True):
        if is_complete(steps[step]):
            if with_optimizer and not has_optimizer(steps[step]):
                continue
            return str(steps[step])
        logger.warning(f"{steps[step]} was not written to its end: looking for the one before.")
    return None


def check_checkpoint(checkpoint: str | os.PathLike, own: str | os.PathLike | None = None) -> None:
    """Check the files from which a run continues. Tensors are not read.

    Args:
        checkpoint: the folder.
        own: the output folder of the run. What lies in it may be of the formats that engines unpickle themselves:
            sharded checkpoints of FSDP, and DeepSpeed's.

    Raises:
        ValueError: one is broken, or holds code, or something else than a trainer saves; names it.
    """
    if own is None or not Path(checkpoint).resolve().is_relative_to(Path(own).resolve()):
        for path in (path for pattern in _UNPICKLED for path in Path(checkpoint).glob(pattern)):
            raise ValueError(
                f"{path} would be unpickled by PyTorch or DeepSpeed, and run code if it holds any. If the checkpoint "
                "is your own, move it into the run's `output_dir`; else train on from its weights."
            )
    for check, patterns in _CHECKS.items():
        for pattern, wanted in patterns.items():
            for path in sorted(Path(checkpoint).glob(pattern)):
                try:
                    check(path, wanted)
                except _BROKEN as error:
                    raise ValueError(
                        f"{path} is not what a trainer saves ({' '.join(str(error).split())[:200]}): resume from "
                        "another checkpoint, or train on from the weights."
                    ) from error


def _check_json(path: Path, wanted: dict[str, type]) -> None:
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object was expected, not {type(data).__name__}")
    for key, kind in wanted.items():
        if not isinstance(data.get(key), kind):
            raise ValueError(f"`{key}` must be of type {kind.__name__}, got {data.get(key)!r:.80}")


def _check_pickle(path: Path, wanted: tuple[str, ...]) -> None:
    if not is_zipfile(path):
        raise ValueError("it was not written by `torch.save`, or not to its end")
    with upstream_trainer.safe_globals():
        data = torch.load(path, map_location="meta", mmap=True, weights_only=True)
    if not isinstance(data, dict) or not set(wanted) <= set(data):
        raise ValueError(f"a dictionary with {', '.join(wanted) or 'any keys'} was expected")


def _check_tensors(path: Path, _wanted: None) -> None:
    with safe_open(path, "pt") as file:
        file.keys()


_CHECKS: dict[Callable[[Path, Any], None], dict[str, Any]] = {
    _check_json: _JSON,
    _check_pickle: _PICKLES,
    _check_tensors: {"*.safetensors": None},
}
_BROKEN = (ValueError, RecursionError, EOFError, OSError, RuntimeError, pickle.UnpicklingError, SafetensorError)

__all__ = [
    "DATA_STATE",
    "PREFIX_CHECKPOINT_DIR",
    "TRAINER_STATE_NAME",
    "check_checkpoint",
    "has_optimizer",
    "is_complete",
    "last_checkpoint",
    "writing",
]
