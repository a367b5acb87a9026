# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The output folder of a run: what is there already, and whether a run may begin there, go on, or go further."""

import os
import shutil
from pathlib import Path
from typing import Any

from ..trainers.checkpoints import PREFIX_CHECKPOINT_DIR, is_complete, last_checkpoint
from .options import RunOptions, read_options
from .report import read_log

RUN_FILE = "run.yaml"
SAVING = ".saving"  # where the trained model is written before it takes its place
# Fields that may differ when a run is resumed: they change what is kept and shown, not what is learned.
FREE_FIELDS = (
    "output",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "save_only_model",
    "logging_steps",
    "report_to",
    "run_name",
    "disable_tqdm",
    "eval_answers",
    "feature_cache",
)
# Fields that may grow: a run that has ended goes further.
LENGTHS = ("max_steps", "epochs", "num_train_epochs")
_CONFIGS = ("config.json", "adapter_config.json")
_WEIGHTS = ("model*.safetensors", "adapter_model.safetensors")


def check_output(options: RunOptions, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None to begin.

    A folder in which a run failed before its first step counts as empty.

    Raises:
        ValueError: the folder holds another run, or one that is not to be resumed, or nothing to go on from.
    """
    folder = Path(options.output)
    found = last_checkpoint(folder)
    if not (folder / RUN_FILE).is_file():
        if found is not None:
            raise ValueError(f"{folder} holds checkpoints that were not made by this command: give another output.")
        return None
    ended = any(path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if found is None and not ended and not read_log(folder):
        return None
    before, now = read_options(folder / RUN_FILE).as_mapping(), options.as_mapping()
    if changed := _changes(before, now):
        raise ValueError(
            f"{folder} holds another run ({'; '.join(changed)}): give another output, or the same fields."
        )
    if not resume:
        reached = "has begun" if found is None else f"reached step {_step(Path(found))}"
        further = " A run that has ended goes further with more steps or epochs." if ended else ""
        raise ValueError(f"{folder} holds this run, which {reached}: --resume continues it.{further}")
    return _to_go_on(folder, found, ended)


def _to_go_on(folder: Path, found: str | None, ended: bool) -> Path | None:
    checkpoint = last_checkpoint(folder, with_optimizer=True)
    weights = found or (folder if ended else None)
    if checkpoint is None and weights is not None:
        reason = "holds weights alone (`save_only_model`)" if found else "holds the end of this run and no checkpoint"
        raise ValueError(
            f"{weights} {reason}, from which a run cannot go on. A new one begins with its weights: "
            f"`--model {weights}` with another output."
        )
    return None if checkpoint is None else Path(checkpoint)


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in {**before, **now} if name not in FREE_FIELDS and before.get(name) != now.get(name)]
    names = [name for name in names if name not in LENGTHS or not _grows(before.get(name), now.get(name))]
    return [f"{name}: {before.get(name)} there, {now.get(name)} now" for name in names]


def _grows(before: Any, now: Any) -> bool:
    return before is not None and now is not None and now > before


def discard_unfinished(folder: Path) -> None:
    """Remove what was being written when a run was stopped."""
    for path in [*folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), folder / SAVING]:
        if path.is_dir() and not is_complete(path):
            shutil.rmtree(path)


def put_in_place(saving: Path, folder: Path) -> None:
    """Move the files of a trained model into the output folder, over those of an earlier end of the run.

    The configuration, without which nothing loads, goes away first and comes last: a process that ends in the midst of
    it leaves no folder that loads and is of two models.
    """
    files = sorted(saving.iterdir(), key=lambda file: (file.name in _CONFIGS, file.name))
    for file in files:
        if file.is_file():
            with open(file, "rb") as content:
                os.fsync(content.fileno())
    for name in _CONFIGS:
        (folder / name).unlink(missing_ok=True)
    for file in files:
        os.replace(file, folder / file.name)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


__all__ = ["RUN_FILE", "SAVING", "check_output", "discard_unfinished", "put_in_place"]
