# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Files of a checkpoint that are there as a whole or not at all, and the last checkpoint that is.

`Trainer` writes `trainer_state.json` last. Where that can be read, the checkpoint is complete.
"""

import json
import os
from pathlib import Path
from typing import Any

from transformers import trainer as stock_trainer
from transformers.utils import logging

from ..compatibility import require

require("transformers_internvl.training")
PREFIX_CHECKPOINT_DIR: str = stock_trainer.PREFIX_CHECKPOINT_DIR
TRAINER_STATE_NAME: str = stock_trainer.TRAINER_STATE_NAME
logger = logging.get_logger(__name__)


def write_json(path: str | os.PathLike, data: Any) -> None:
    """Write a file that a process which ends in the midst of it leaves as it was."""
    part = Path(f"{os.fspath(path)}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with open(part, "w", encoding="utf-8") as file:
        json.dump(data, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def read_json(path: str | os.PathLike) -> Any:
    """What `write_json` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def is_complete(checkpoint: str | os.PathLike) -> bool:
    """Whether a checkpoint was written to its end."""
    try:
        read_json(Path(checkpoint) / TRAINER_STATE_NAME)
    except (OSError, ValueError):
        return False
    return True


def last_checkpoint(folder: str | os.PathLike) -> str | None:
    """The complete checkpoint of the most steps in a folder; None if there is none. Others are warned of."""
    steps = {}
    for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        number = path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-")
        if path.is_dir() and number.isdecimal():
            steps[int(number)] = path
    for step in sorted(steps, reverse=True):
        if is_complete(steps[step]):
            return str(steps[step])
        logger.warning(f"{steps[step]} was not written to its end: looking for the one before.")
    return None


__all__ = [
    "PREFIX_CHECKPOINT_DIR",
    "TRAINER_STATE_NAME",
    "is_complete",
    "last_checkpoint",
    "read_json",
    "write_json",
]
