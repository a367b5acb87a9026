# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Surgery from folder to folder, as the verb `internvl surgery` offers it.

A result is there whole or not at all, in the layout of its source; tensors, fields of `config.json` and files that an
operation does not touch stay as they were, byte by byte. Sources are folders or Hub ids.
"""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ...hub.adapter_settings import check_patterns
from ...modeling.internvl.model import InternVLForConditionalGeneration
from ...processing.images.image_processing import NORMALIZE_TYPES
from ...processing.tokenizers.loading import load_tokenizer
from ..files.copies import ChangedCopy, changed_copy, load_exactly
from ..files.folders import atomic_folder, local_folder, read_json, write_json
from ..lora.adapters import Adapter, to_canonical
from ..lora.inside_checkpoints import merge_legacy
from .towers import resize_position_table, truncate_layers
from .transplant import add_resolution_router, extract_tower, replace_tower
from .vocabulary import add_tokens, write_tokens

Source = str | os.PathLike

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


def extract_tower_folder(source: Source, target: Source, to: str = "original", max_shard_size: str = "5GB") -> None:
    """Write the tower of a checkpoint as an InternViT, with the settings of an image processor beside it.

    Args:
        source: a chat model, a dual encoder.
        target: a new folder.
        to: its layout: `"original"` (`intern_vit_6b`, as the released InternViTs) or `"hf"` (`internvl_vision`).
        max_shard_size: of one weight file.
    """
    source = local_folder(source)
    tower = extract_tower(load_exactly(source), to)
    with atomic_folder(target) as folder:
        tower.save_pretrained(folder, max_shard_size=max_shard_size)
        side = tower.config.image_size[0]
        mean, std = _normalization(source)
        settings = {"crop_size": side, "size": side, "image_mean": mean, "image_std": std, "resample": 3}
        steps = dict.fromkeys(("do_center_crop", "do_normalize", "do_resize"), True)
        kind = {"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"}
        write_json(folder / "preprocessor_config.json", {**settings, **steps, **kind})


def replace_tower_folder(
    source: Source,
    tower: Source,
    target: Source,
    *,
    vision_feature_layer: int | None = None,
    reset_projector: bool = False,
    cast: bool = False,
    seed: int = 0,
    max_shard_size: str = "5GB",
) -> None:
    """[`replace_tower`] with folders.

    Args:
        tower: an InternViT, or a checkpoint that holds one.
        cast: convert the tower to the model's number format, if it has another.
        seed: of a new projector's initialisation.
    """
    with changed_copy(source, target, max_shard_size) as copy, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        new = load_exactly(tower, dtype=copy.model.dtype if cast else None)
        copy.model = replace_tower(
            copy.model, new, vision_feature_layer=vision_feature_layer, reset_projector=reset_projector
        )


def resize_positions_folder(source: Source, target: Source, image_size: int, max_shard_size: str = "5GB") -> None:
    """[`resize_position_table`] with folders; the processor's files follow."""
    with changed_copy(source, target, max_shard_size) as copy:
        resize_position_table(copy.model, image_size)
        tokens = getattr(copy.model.config, "image_seq_length", None)
        for path in (copy.folder / name for name in _PROCESSOR_FILES):
            if path.is_file():
                write_json(path, _resized(read_json(path), image_size, tokens))


def truncate_tower_folder(source: Source, target: Source, num_layers: int, max_shard_size: str = "5GB") -> None:
    """[`truncate_layers`] with folders."""
    with changed_copy(source, target, max_shard_size) as copy:
        truncate_layers(copy.model, num_layers)


def add_tokens_folder(
    source: Source, target: Source, tokens: list[str], special: bool = True, max_shard_size: str = "5GB"
) -> dict[str, int]:
    """[`add_tokens`] with folders. Returns the new tokens and their ids."""
    source = local_folder(source)
    with changed_copy(source, target, max_shard_size) as copy:
        ids = add_tokens(copy.model, load_tokenizer(source), tokens, special)
        if not ids:
            raise ValueError(f"The tokenizer of {source} has all of these tokens already: {', '.join(tokens)}.")
        write_tokens(copy.folder, ids, special)
    return ids


def add_router_folder(
    source: Source,
    target: Source,
    *,
    relative_threshold: float = 0.5,
    absolute_threshold: float = 0.5,
    seed: int = 0,
    max_shard_size: str = "5GB",
) -> None:
    """[`add_resolution_router`] with folders: a checkpoint of InternVL3.5-Flash whose new parts are to be trained.

    Args:
        relative_threshold, absolute_threshold: of its `config.json`.
        seed: of the new parts' initialisation.
    """
    with changed_copy(source, target, max_shard_size) as copy, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if not isinstance(copy.model, InternVLForConditionalGeneration):
            raise ValueError(f"{type(copy.model).__name__} is no chat model: only those have a router.")
        copy.model = add_resolution_router(copy.model, relative_threshold, absolute_threshold)


def merge_lora_folder(source: Source, target: Source, base: Source | None = None, max_shard_size: str = "5GB") -> None:
    """Merge LoRA adapters into the weights they are for.

    Args:
        source: a peft adapter, trained on our classes or on the original remote code; or an original checkpoint
            with adapters in it (`use_llm_lora`, `use_backbone_lora`).
        target: a new folder for the merged checkpoint, in the base's layout. What lies beside the weights is the
            base's, but the tile limit, if a processor lies beside the adapter.
        base: the checkpoint that a peft adapter is for; None: as `adapter_config.json` says.
        max_shard_size: of one weight file.

    Raises:
        ValueError: there is no adapter, or it does not fit.
    """
    source = local_folder(source)
    if not (source / "adapter_config.json").is_file():
        if base is not None:
            raise ValueError(f"{source} is no adapter that could have a base: there is no adapter_config.json in it.")
        merge_legacy(source, target)
        return
    adapter = Adapter.from_pretrained(source)
    base = base or adapter.config.base_model_name_or_path
    if not base:
        raise ValueError(f"{source} does not say which checkpoint it is for: name the base.")
    with changed_copy(base, target, max_shard_size) as copy:
        copy.model = _merged(copy.model, adapter)
        _take_tile_limit(source, copy)


def _take_tile_limit(adapter: Path, copy: ChangedCopy) -> None:
    """How many tiles the adapter was trained on, where a processor beside it says so (`internvl train`)."""
    path = adapter / "processor_config.json"
    settings = read_json(path).get("image_processor") or {}
    if not isinstance(tiles := settings.get("max_patches"), int):
        return
    for path in (copy.folder / name for name in _PROCESSOR_FILES):
        content = read_json(path)
        for part in (content, content.get("image_processor")):
            if isinstance(part, dict) and "max_patches" in part:
                part["max_patches"] = tiles
                write_json(path, content)
    if hasattr(copy.model.config, "max_dynamic_patch"):
        copy.model.config.max_dynamic_patch = tiles


def _merged(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """The model with an adapter merged by peft."""
    from peft import get_peft_model, set_peft_model_state_dict

    if adapter.config.target_parameters:
        check_patterns(vars(adapter.config), [name for name, _ in model.named_modules()], "adapter_config.json")
    else:
        adapter = to_canonical(adapter, model.config)
    adapter.config.inference_mode = True
    wrapped = get_peft_model(model, adapter.config)
    report = set_peft_model_state_dict(wrapped, adapter.tensors())
    missing = [name for name in report.missing_keys if ".lora_" in name or "modules_to_save" in name]
    if report.unexpected_keys or missing:
        names = ", ".join([*report.unexpected_keys, *missing][:5])
        raise ValueError(
            f"The adapter does not fit {type(model).__name__}: weights without a place or missing: {names}."
        )
    return wrapped.merge_and_unload(safe_merge=True)


def _normalization(source: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of a checkpoint's images: as its processor's files say, else ImageNet's."""
    for path in (source / name for name in _PROCESSOR_FILES):
        content = read_json(path)
        settings = content.get("image_processor") or content
        if "image_mean" in settings and "image_std" in settings:
            return settings["image_mean"], settings["image_std"]
    mean, std = NORMALIZE_TYPES["imagenet"]
    return list(mean), list(std)


def _resized(content: dict[str, Any], image_size: int, tokens: int | None) -> dict[str, Any]:
    """Settings of a processor for images of another size."""
    for key, value in content.items():
        if key in ("image_processor", "video_processor") and isinstance(value, dict):
            content[key] = _resized(value, image_size, None)
        elif key in ("size", "crop_size"):
            content[key] = dict.fromkeys(value, image_size) if isinstance(value, dict) else image_size
        elif key == "image_seq_length" and tokens is not None:
            content[key] = tokens
    return content


__all__ = [
    "add_router_folder",
    "add_tokens_folder",
    "extract_tower_folder",
    "merge_lora_folder",
    "replace_tower_folder",
    "resize_positions_folder",
    "truncate_tower_folder",
]
