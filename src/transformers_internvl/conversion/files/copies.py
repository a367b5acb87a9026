# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A changed copy of a checkpoint: what the change does not touch stays as it was, byte by byte.

Weights are loaded in the number format of the files, so every tensor comes out as it went in; of `config.json` the
fields that the change changes are rewritten, and no others; all other files are copied.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)

from .folders import CONFIG, atomic_folder, copy_file, local_folder, read_json, write_json
from .weight_streams import WeightStream, is_weight_file


def load_exactly(
    name_or_path: str | os.PathLike, auto_class: Any = None, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """Load a model whose tensors are those of its files, in their number format.

    Args:
        name_or_path: folder or Hub id.
        auto_class: which Auto class; None: the one that has all weights of a checkpoint of this package.
        dtype: a number format to convert to after all.

    Raises:
        ValueError: the weights are quantized or of several number formats, or not all of them have a place.
    """
    folder = local_folder(name_or_path)
    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"The weights in {folder} are quantized: take the checkpoint that they were made from.")
    dtypes = {entry.dtype for entry in WeightStream(folder).entries.values() if entry.dtype.is_floating_point}
    if len(dtypes) != 1 and dtype is None:
        names = ", ".join(sorted(str(each) for each in dtypes))
        raise ValueError(f"The weights in {folder} are of several number formats ({names}): bring them to one first.")
    if auto_class is None:
        generates = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
        auto_class = AutoModelForImageTextToText if generates else AutoModel
    model, report = auto_class.from_pretrained(folder, dtype=dtype or dtypes.pop(), output_loading_info=True)
    for what in ("unexpected_keys", "missing_keys", "mismatched_keys"):
        if report[what]:
            raise ValueError(
                f"The weights in {folder} are not those of a {type(model).__name__}, {what.replace('_', ' ')}: "
                f"{', '.join(map(str, sorted(report[what])[:5]))}."
            )
    return model


@dataclass
class ChangedCopy:
    """A checkpoint in the making.

    Attributes:
        model: the source's; to be changed, or replaced by another one of the same layout.
        folder: holds copies of all files of the source but its weights.
    """

    model: PreTrainedModel
    folder: Path


@contextmanager
def changed_copy(
    source: str | os.PathLike, target: str | os.PathLike, max_shard_size: str | int = "5GB"
) -> Iterator[ChangedCopy]:
    """Load a checkpoint, let the block change model and files, and write the result, whole or not at all.

    Args:
        source: folder or Hub id.
        target: a new folder.
        max_shard_size: of one weight file.

    Yields:
        Model and folder. Of `config.json` and the weights the block need not take care.

    Raises:
        ValueError: as [`load_exactly`].
        FileExistsError: something is at `target`.
    """
    source = local_folder(source)
    with atomic_folder(target) as folder:
        model = load_exactly(source)
        before = config_as_json(model.config)
        copy_auxiliary_files(source, folder)
        copy = ChangedCopy(model, folder)
        yield copy
        after = config_as_json(copy.model.config)  # saving adds the class and the version
        save_weights(copy.model, folder, max_shard_size)
        write_json(folder / CONFIG, patched(read_json(folder / CONFIG), before, after))


def copy_auxiliary_files(source: Path, folder: Path) -> None:
    """Copy what lies beside the weights: configurations, tokenizer, processor, code, model card."""
    for path in sorted(source.iterdir()):
        if path.is_file() and not is_weight_file(path):
            copy_file(source, path.name, folder / path.name)
    for path in sorted((source / "additional_chat_templates").glob("*.jinja")):
        copy_file(source, path.relative_to(source), folder / path.relative_to(source))


def save_weights(model: PreTrainedModel, folder: Path, max_shard_size: str | int) -> None:
    """Write the weights of a model, in its own layout, and nothing else."""
    inside = folder / ".weights"
    kwargs = {"save_original_format": True} if hasattr(model, "saves_original_format") else {}
    model.save_pretrained(inside, max_shard_size=max_shard_size, **kwargs)
    for path in inside.iterdir():
        if is_weight_file(path):
            path.rename(folder / path.name)
    shutil.rmtree(inside)


def config_as_json(config: PreTrainedConfig) -> dict[str, Any]:
    """What `save_pretrained` would write into `config.json`."""
    return json.loads(config.to_json_string(use_diff=True))


def patched(raw: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """A dictionary with those fields rewritten that differ between `before` and `after`, at any depth."""
    result = {key: value for key, value in raw.items() if key in after or key not in before}
    for key, value in after.items():
        was, now = before.get(key), raw.get(key)
        if key in before and was == value:
            continue
        nested = all(isinstance(each, dict) for each in (was, value, now))
        result[key] = patched(now, was, value) if nested else value  # type: ignore[arg-type]
    return result


__all__ = [
    "ChangedCopy",
    "changed_copy",
    "config_as_json",
    "copy_auxiliary_files",
    "load_exactly",
    "patched",
    "save_weights",
]
