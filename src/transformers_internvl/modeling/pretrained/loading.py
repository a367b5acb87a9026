# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weights that are damaged, missing, of another model, or under the names of a saved folder."""

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.core_model_loading import WeightTransform

from .upstream import keep_used_rows

_LARGEST_INDEX = 1 << 26  # bytes; that of a model with 36,000 weights has 4 million
_MOST_FILES = 10_000


@contextmanager
def damaged_files_named(folder: Any, subfolder: str) -> Iterator[None]:
    """Errors about weight files that cannot be read name the files.

    Raises:
        OSError: a weight file cannot be read.
    """
    try:
        yield
    except SafetensorError as error:
        damaged = _damaged_files(folder, subfolder)
        raise OSError(
            f"Weight file {damaged or 'of ' + str(folder)} is incomplete or damaged ({error}). Download or copy it "
            "again."
        ) from error
    except pickle.UnpicklingError as error:
        raise OSError(
            f"A weight file of {folder} is damaged, or holds more than weights: it is not loaded, since a pickle can "
            "run any code. Take the checkpoint's safetensors files."
        ) from error


@contextmanager
def remembered_conversions(model: Any, load_config: Any) -> Iterator[Any]:
    """The configuration to load weights with; afterwards the model remembers only the rows that weights came by.

    Saving goes back by what is remembered.
    """
    quantizer = load_config.hf_quantizer
    if quantizer is not None and quantizer.pre_quantized:
        load_config = replace(load_config, weight_mapping=rows_for(quantizer, load_config.weight_mapping))
    yield load_config
    keep_used_rows(model, load_config)
    rows = getattr(model, "_weight_conversions", None)
    if rows is not None and quantizer is not None:
        model._weight_conversions = [row for row in rows_for(quantizer, rows) if _can_be_reversed(row)]


def rows_for(quantizer: Any, rows: list[WeightTransform]) -> list[WeightTransform]:
    """Rows of weights, those of fused ones as a quantizer needs them."""
    return [row.for_quantizer(quantizer) if hasattr(row, "for_quantizer") else row for row in rows]


def _can_be_reversed(row: WeightTransform) -> bool:
    """Whether saving can go back by a row: by those of a quantizer, which only read, it cannot and need not."""
    try:
        return bool([operation.reverse_op for operation in getattr(row, "operations", ())]) or not hasattr(
            row, "operations"
        )
    except NotImplementedError:
        return False


def refuse_missing_integers(model: Any, load_config: Any, loading_info: Any) -> None:
    """Raise `ValueError` for quantized weights that are missing: they cannot be drawn at random."""
    if load_config.hf_quantizer is not None:
        places = model.state_dict()
        lost = [key for key in loading_info.missing_keys if not _is_float(places.get(key))]
        if lost:
            raise ValueError(describe_misfit(type(model), load_config.pretrained_model_name_or_path, [], lost))


def without_new_head(model: PreTrainedModel, missing: set[str], head: tuple[str, ...]) -> set[str]:
    """The missing weights, without those of a head of which nothing is there: it is new, and to be trained."""
    parts = tuple(f"{part}." for part in head)
    if parts and {name for name, _ in model.named_parameters() if name.startswith(parts)} <= missing:
        return {name for name in missing if not name.startswith(parts)}
    return missing


def refuse_report(model_class: type, folder: Any, report: dict[str, Any]) -> None:
    """Raise `ValueError` for weights that have no place, and places without weights."""
    unexpected, missing = sorted(report["unexpected_keys"]), sorted(report["missing_keys"])
    if unexpected or missing:
        raise ValueError(describe_misfit(model_class, folder, unexpected, missing))


def explain_misfit(unexpected: Sequence[str], missing: Sequence[str]) -> str:
    """What the user can do about weights without a place and places without weights, of any model."""
    return "Check that the folder is complete and that config.json belongs to these weights."


def _is_float(tensor: Any) -> bool:
    return tensor is None or tensor.is_floating_point()


def without_quantizer_states(model: PreTrainedModel, report: dict[str, Any]) -> dict[str, Any]:
    """The report, without what a quantizer keeps beside weights that were found (scales, states): its own matter."""
    if getattr(model.config, "quantization_config", None) is None:
        return report
    lost = set(report["missing_keys"])
    found = {name for name, _ in model.named_parameters() if name not in lost}
    owners = {name.rpartition(".")[0] for name in found if name.endswith(".weight")}

    def beside(key: str) -> bool:
        owner, _, leaf = key.rpartition(".")
        return any(f"{name}.weight." in key for name in owners if key.startswith(name)) or (
            owner in owners and leaf not in ("weight", "bias")
        )

    return {
        **report,
        **{name: {key for key in report[name] if not beside(key)} for name in ("unexpected_keys", "missing_keys")},
    }


def describe_misfit(
    model_class: type, name: str | os.PathLike, unexpected: Sequence[str], missing: Sequence[str]
) -> str:
    """What is wrong with weights that have no place in a model, and places without weights, and what to do."""
    lines = [f"The weights in {name} are not those of the {model_class.__name__} that its config.json describes."]
    for what, keys in (("no place for", unexpected), ("no weights for", missing)):
        if keys:
            lines.append(
                f"There is {what} {len(keys)} of them: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}."
            )
    if any("lora_" in key for key in unexpected):
        lines.append(
            "They are LoRA weights that were never merged. Merge them with `internvl surgery merge-lora "
            f"{name} NEW_FOLDER`, or take them out as a peft adapter with `internvl surgery extract-lora "
            f"{name} NEW_FOLDER ADAPTER_FOLDER`."
        )
    else:
        explain = getattr(model_class, "_explain_misfit", explain_misfit)
        lines.append(explain(list(unexpected), list(missing)))
    return " ".join(lines)


def weight_places(index: str | os.PathLike) -> dict[str, str]:
    """Which file holds which weight, as an index (`model.safetensors.index.json`) says.

    Raises:
        ValueError: the file is no index, is too large, or names too many files, or what is no file beside it.
    """
    size = Path(index).stat().st_size
    if size > _LARGEST_INDEX:
        raise ValueError(f"{os.fspath(index)} has {size} bytes, at most {_LARGEST_INDEX} are read.")
    try:
        places = dict(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
        names = set(places.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(index)} is not an index of weight files; download it again.") from error
    if len(names) > _MOST_FILES:
        raise ValueError(f"{os.fspath(index)} names {len(names)} files, at most {_MOST_FILES} are taken.")
    for name in names:
        if not isinstance(name, str) or name in ("", "..") or name != PurePosixPath(name).name or "\\" in name:
            raise ValueError(f"{os.fspath(index)} names {name!r:.100}, which is no file of its folder: not opened.")
    return places


def check_indices(folder: Any, subfolder: str) -> None:
    """Look at the indices of a local folder before any of their files is opened."""
    if isinstance(folder, (str, os.PathLike)) and Path(folder).is_dir():
        for index in Path(folder, subfolder).glob("*.index.json"):
            weight_places(index)
            if not isinstance(json.loads(index.read_text(encoding="utf-8")).get("metadata"), dict):
                raise ValueError(f"{index} has no `metadata`, which transformers asks for; write `{{}}` there.")


def _damaged_files(folder: str | os.PathLike | None, subfolder: str) -> str:
    """The files of a local folder that cannot be opened; empty for a Hub id."""
    damaged = []
    inside = Path(folder, subfolder) if folder and Path(folder).is_dir() else None
    for path in sorted(inside.glob("*.safetensors")) if inside else []:
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError:
            damaged.append(str(path))
    return ", ".join(damaged)


def under_own_names(model: PreTrainedModel, state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights under the names of a saved folder: those that have a place, by its name, the others as they are called.

    `save_pretrained` writes the names of the layout on disk, which are not those of the modules. `Trainer` reads such
    a file by itself, when it resumes a run and fetches its best checkpoint, and hands it to
    `load_state_dict(..., strict=False)`, which would load nothing without an error.
    """
    dtype = next((t.dtype for t in state_dict.values() if t.is_floating_point()), None)
    loaded, report = PreTrainedModel.from_pretrained.__func__(  # without the checks of the model's class
        type(model), None, config=model.config, state_dict=state_dict, dtype=dtype, output_loading_info=True
    )
    found = {key: tensor for key, tensor in loaded.state_dict().items() if key not in report["missing_keys"]}
    return {**found, **{key: state_dict[key] for key in report["unexpected_keys"] if key in state_dict}}


__all__ = [
    "check_indices",
    "damaged_files_named",
    "describe_misfit",
    "explain_misfit",
    "refuse_missing_integers",
    "refuse_report",
    "remembered_conversions",
    "under_own_names",
    "weight_places",
    "without_new_head",
    "without_quantizer_states",
]
