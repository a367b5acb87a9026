# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `from_pretrained` says when weights are damaged, missing or of another model."""

import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.core_model_loading import WeightTransform

from ...hub.model_card import PushesWithCard
from .native_adapters import ExplainsNativeAdapters
from .offloading import TakesInputsOnDevice
from .quantized import KeepsPartsExact
from .saved_names import AcceptsSavedNames


class NamesDamagedFiles(
    KeepsPartsExact, AcceptsSavedNames, ExplainsNativeAdapters, PushesWithCard, TakesInputsOnDevice
):
    """Mixin in front of `PreTrainedModel`: a truncated or damaged shard is reported by its name."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'.

        Raises:
            OSError: a safetensors file cannot be read.
            ValueError: an index names a file outside of the folder, or is none.
        """
        _check_indices(pretrained_model_name_or_path, kwargs.get("subfolder") or "")
        try:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        except SafetensorError as error:
            damaged = _damaged_files(pretrained_model_name_or_path, kwargs.get("subfolder", ""))
            raise OSError(
                f"Weight file {damaged or 'of ' + str(pretrained_model_name_or_path)} is incomplete or damaged "
                f"({error}). Download or copy it again."
            ) from error
        except pickle.UnpicklingError as error:
            raise OSError(
                f"A weight file of {pretrained_model_name_or_path} is damaged, or holds more than weights: it is not "
                "loaded, since a pickle can run any code. Take the checkpoint's safetensors files."
            ) from error

    @staticmethod
    def _load_pretrained_model(
        model: Any, state_dict: Any, checkpoint_files: Any, load_config: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'; under ZeRO-3, too, the model remembers only the rows of key maps that its weights came by.

        Saving goes back by what is remembered. transformers (5.24) notes all rows under ZeRO-3, those of older layouts
        included, which would lead to names that no loader knows.
        """
        quantizer = load_config.hf_quantizer
        if quantizer is not None and quantizer.pre_quantized:
            load_config = replace(load_config, weight_mapping=rows_for(quantizer, load_config.weight_mapping))
        loaded = PreTrainedModel._load_pretrained_model(
            model, state_dict, checkpoint_files, load_config, *args, **kwargs
        )
        rows = getattr(model, "_weight_conversions", None)
        if rows is not None and rows is load_config.weight_mapping:
            rows = model._weight_conversions = [row for row in rows if row.was_used()]
        if rows is not None and quantizer is not None:
            model._weight_conversions = [row for row in rows_for(quantizer, rows) if _can_be_reversed(row)]
        return loaded


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


class RefusesHoles:
    """Mixin in front of `PreTrainedModel`: every place must have a weight. transformers would draw the missing ones.

    What stays as in transformers: a head of which nothing is there (`head`) is a new one, to be trained; weights that
    have no place, such as those of a head above a body, are left out with a warning; with
    `ignore_mismatched_sizes=True` warnings take the place of the error. What a quantizer keeps beside a weight may be
    there or not.
    """

    head: ClassVar[tuple[str, ...]] = ()
    """The modules that are new where none of their weights is there."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'. Raises `ValueError` for places without weights, and for weights of adapters."""
        wants_report = kwargs.pop("output_loading_info", False)
        lenient = kwargs.get("ignore_mismatched_sizes", False)
        model, report = super().from_pretrained(  # type: ignore[misc]
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )
        cls._refuse_holes(pretrained_model_name_or_path, model, report, lenient)
        return (model, report) if wants_report else model

    @classmethod
    def _refuse_holes(cls, folder: Any, model: Any, report: dict[str, Any], lenient: bool) -> None:
        wrapped = {key for key in report["unexpected_keys"] if ".lora_A." in key}  # loading on would drop them
        missing = set(_without_companions(model, report)["missing_keys"])
        parts = tuple(f"{part}." for part in cls.head)
        if parts and {name for name, _ in model.named_parameters() if name.startswith(parts)} <= missing:
            missing = {name for name in missing if not name.startswith(parts)}
        if wrapped or not lenient:
            cls._refuse_incomplete(folder, {"unexpected_keys": wrapped, "missing_keys": missing})

    @classmethod
    def _refuse_incomplete(cls, folder: Any, report: dict[str, Any]) -> None:
        strangers, missing = sorted(report["unexpected_keys"]), sorted(report["missing_keys"])
        if strangers or missing:
            raise ValueError(describe_misfit(cls, folder, strangers, missing))

    @classmethod
    def _explain_misfit(cls, strangers: list[str], missing: list[str]) -> str:
        """What the user can do about weights without a place and places without weights."""
        return "Check that the folder is complete and that config.json belongs to these weights."


class LoadsWholly(RefusesHoles, NamesDamagedFiles):
    """Mixin in front of `PreTrainedModel`: damaged files are named, and every place must have a weight."""


class LoadsStrictly(LoadsWholly):
    """Mixin in front of `PreTrainedModel`: every weight must have a place, and every place a weight."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers', and strict.

        With `ignore_mismatched_sizes=True` transformers' own warnings take the place of the error, but for weights of
        adapters. What a quantizer keeps beside a weight may be there or not.

        Raises:
            ValueError: for weights that have no place, or places without weights.
            OSError: a weight file cannot be read.
        """
        wants_report = kwargs.pop("output_loading_info", False)
        lenient = kwargs.get("ignore_mismatched_sizes", False)
        model, report = super().from_pretrained(
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )
        cls._supply_missing(pretrained_model_name_or_path, model, report)
        wrapped = any(".lora_A." in key for key in report["unexpected_keys"])  # loading on would drop what was trained
        if wrapped or not lenient:
            cls._refuse_incomplete(pretrained_model_name_or_path, _without_companions(model, report))
        return (model, report) if wants_report else model

    @staticmethod
    def _finalize_model_loading(model: Any, load_config: Any, loading_info: Any) -> Any:
        """As transformers', which draws what is missing at random, but no integers, as quantized weights are."""
        if load_config.hf_quantizer is not None:
            places = model.state_dict()
            lost = [key for key in loading_info.missing_keys if not _is_float(places.get(key))]
            if lost:
                raise ValueError(describe_misfit(type(model), load_config.pretrained_model_name_or_path, [], lost))
        return PreTrainedModel._finalize_model_loading(model, load_config, loading_info)

    @classmethod
    def _supply_missing(cls, folder: Any, model: Any, report: dict[str, Any]) -> None:
        """Fetch weights that `report` misses from elsewhere, and take them out of it. Not needed by most."""

    @classmethod
    def _refuse_holes(cls, folder: Any, model: Any, report: dict[str, Any], lenient: bool) -> None:
        """Nothing: what is missing may come from elsewhere, and is looked at afterwards."""


def _is_float(tensor: Any) -> bool:
    return tensor is None or tensor.is_floating_point()


def _without_companions(model: PreTrainedModel, report: dict[str, Any]) -> dict[str, Any]:
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
    model_class: type, name: str | os.PathLike, strangers: Sequence[str], missing: Sequence[str]
) -> str:
    """What is wrong with weights that have no place in a model, and places without weights, and what to do."""
    lines = [f"The weights in {name} are not those of the {model_class.__name__} that its config.json describes."]
    for what, keys in (("no place for", strangers), ("no weights for", missing)):
        if keys:
            lines.append(
                f"There is {what} {len(keys)} of them: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}."
            )
    if any("lora_" in key for key in strangers):
        lines.append(
            "They are LoRA weights that were never merged. Merge them with `internvl surgery merge-lora "
            f"{name} NEW_FOLDER`, or take them out as a peft adapter with `internvl surgery extract-lora "
            f"{name} NEW_FOLDER ADAPTER_FOLDER`."
        )
    else:
        explain = getattr(model_class, "_explain_misfit", RefusesHoles._explain_misfit)
        lines.append(explain(list(strangers), list(missing)))
    return " ".join(lines)


def weight_places(index: str | os.PathLike) -> dict[str, str]:
    """Which file holds which weight, as an index (`model.safetensors.index.json`) says.

    Raises:
        ValueError: the file is no index, or names something that is not a file beside it.
    """
    try:
        places = dict(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
        names = set(places.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(index)} is not an index of weight files; download it again.") from error
    for name in names:
        if not isinstance(name, str) or name in ("", "..") or name != PurePosixPath(name).name or "\\" in name:
            raise ValueError(f"{os.fspath(index)} names {name!r:.100}, which is no file of its folder: not opened.")
    return places


def _check_indices(folder: Any, subfolder: str) -> None:
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


__all__ = ["LoadsStrictly", "LoadsWholly", "NamesDamagedFiles", "RefusesHoles", "describe_misfit", "weight_places"]
