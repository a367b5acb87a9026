# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configurations of a model in both layouts, the original and the -hf one, with its weights and an empty model.

The -hf layout cannot say everything that the original layout says (tiles, template, InternLM2 instead of Llama), so it
carries the original `config.json` along, as `original_config`. On the way back that is where one starts from, and only
fields that have changed since are written over it.
"""

import copy
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForSemanticSegmentation,
    PreTrainedConfig,
    PreTrainedModel,
)

from ...modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from ...modeling.internvl.configuration import InternVLConfig
from ...modeling.original.canonical import warn_beyond_upstream
from ...modeling.original.configuration_chat import CANONICAL_FIELDS, InternVLChatConfig, canonical_tower_fields
from ...modeling.original.configuration_llava import InternVLLlavaConfig
from ...modeling.original_keys import BOOKKEEPING
from ...modeling.vision.configuration import InternVisionConfig, InternVLVisionConfig
from ...processing.processor_files import chat_fields, tile_fields
from ..files.folders import CONFIG, read_json
from ..files.shapes import weight_shapes
from ..files.weight_streams import WeightStream, safetensors_entries
from .llava_tower import TOWER_PREFIX, find_sizes, tower_folder

LAYOUTS = ("hf", "original")
_LEFT_OUT = "left_out.safetensors"
LEFT_OUT = Path("original", _LEFT_OUT)

_ORIGINAL = {config.model_type: config for config in (InternVLChatConfig, InternVLLlavaConfig, InternVisionConfig)}

# How the name of a tower's class ends that has more than the tower -> how it is found.
_HEADS = {
    "ForImageClassification": AutoModelForImageClassification,
    "ForSemanticSegmentation": AutoModelForSemanticSegmentation,
    "Backbone": AutoBackbone,
}
# Fields of a part that say what it is called, not how it computes.
_NAMES = (*BOOKKEEPING, "architectures", "model_type")


@dataclass(frozen=True)
class Checkpoint:
    """A local folder with a model of the family.

    Attributes:
        folder: where it is.
        config: what `config.json` says; of LLaVA's layout with the sizes of the tower.
        layout: `"hf"` or `"original"`.
    """

    folder: Path
    config: PreTrainedConfig
    layout: str

    @property
    def written(self) -> dict[str, Any]:
        """`config.json` as it stands there."""
        return read_json(self.folder / CONFIG)


def open_checkpoint(folder: str | os.PathLike) -> Checkpoint:
    """A checkpoint of any layout.

    Raises:
        OSError: there is no `config.json`.
        ValueError: it is of another family, or the sizes of its tower are nowhere to be found.
    """
    folder = Path(folder)
    config = AutoConfig.from_pretrained(folder)
    if isinstance(config, InternVLLlavaConfig) and not config.tower_is_given:
        find_sizes(config, weight_shapes(folder, TOWER_PREFIX), tower_folder(config.mm_vision_tower, folder))
    if not isinstance(config, (InternVLConfig, InternVLVisionConfig, InternVLDualEncoderConfig)):
        raise ValueError(
            f"{folder} holds a model of type {config.model_type!r}, none of InternVL's: expected internvl_chat, "
            "intern_vit_6b, internvl, internvl_vision, internvl_dual_encoder or llava_llama."
        )
    checkpoint = Checkpoint(folder, config, "original" if isinstance(config, tuple(_ORIGINAL.values())) else "hf")
    if isinstance(config, InternVLDualEncoderConfig) and checkpoint.written["model_type"] == "internvl":
        return replace(checkpoint, layout="original")  # one class serves both
    return checkpoint


def weights_of(source: Checkpoint) -> WeightStream:
    """All weights of a checkpoint.

    InternVL-Chat v1 without its tower gets it from the tower's own folder, as when it is loaded. A folder of the -hf
    layout may keep weights aside that only the original layout holds: `left_out_before` names them.

    Raises:
        OSError, ValueError: there are no weights, or a file is missing or damaged.
    """
    files = WeightStream(source.folder)
    if isinstance(source.config, InternVLLlavaConfig) and not any(
        key.startswith(TOWER_PREFIX) for key in files.entries
    ):
        elsewhere = tower_folder(source.config.mm_vision_tower, source.folder)
        if elsewhere is None:
            raise ValueError(
                f"{source.folder} does not hold the weights of its vision tower, and "
                f"{source.config.mm_vision_tower!r}, where config.json says they are, is no folder here: put it "
                "beside the checkpoint."
            )
        files.add(WeightStream(elsewhere), TOWER_PREFIX, _parts_of_tower(source.config))
    for path in (source.folder / LEFT_OUT, source.folder / "authors" / _LEFT_OUT):  # "authors": up to version 0.1.0
        aside = {entry.key: entry for entry in safetensors_entries(path)} if path.is_file() else {}
        files.entries.update(aside)
        files.left_out_before += aside
    return files


def _parts_of_tower(config: InternVLLlavaConfig) -> tuple[str, ...]:
    """What the names of the weights begin with that a tower's own folder gives to the chat model."""
    return ("",) if config.middleware_config is None else ("vision_model.", "qllama.", "query_tokens")


def empty_model(config: PreTrainedConfig, like: type[PreTrainedModel] | None = None) -> PreTrainedModel:
    """The model on the meta device: of the class that the config names, or of one with the head of `like`."""
    name = like.__name__ if like is not None else (config.architectures or [""])[0]
    auto_class: Any = AutoModelForImageTextToText if isinstance(config, InternVLConfig) else AutoModel
    if isinstance(config, InternVLConfig) and name == "InternVLModel":
        auto_class = AutoModel
    auto_class = next((found for ending, found in _HEADS.items() if name.endswith(ending)), auto_class)
    with torch.device("meta"):
        return auto_class.from_config(config)


def plain(value: Any) -> Any:
    """A value as json gives it back."""
    return json.loads(json.dumps(value, default=str))


# --- to the -hf layout -----------------------------------------------------------------------------------------------


def hf_form(source: Checkpoint) -> PreTrainedConfig:
    """The configuration of a checkpoint in the -hf layout."""
    config: Any = source.config
    if source.layout == "hf":
        return copy.deepcopy(config)
    if isinstance(config, InternVLDualEncoderConfig):
        form = copy.deepcopy(config)
        form.original_config = {"model_type": source.written["model_type"]}
    elif isinstance(config, InternVisionConfig):
        form = InternVLVisionConfig(**canonical_tower_fields(config))
        form.original_config = {key: value for key, value in config.to_diff_dict().items() if key not in BOOKKEEPING}
        config.dict_dtype_to_str(form.original_config)
    else:
        form = config.to_canonical()
        warn_beyond_upstream(form)
    if "auto_map" in source.written:  # of no use here, but engines that run the original code need it
        form.original_config["auto_map"] = source.written["auto_map"]
    return form


# --- to the original layout ------------------------------------------------------------------------------------------


def original_form(source: Checkpoint, like: Path | None = None) -> PreTrainedConfig:
    """The configuration of a checkpoint in the original layout.

    Args:
        source: the checkpoint.
        like: a folder of the original layout to start from, instead of what `config.json` says. Of a checkpoint that
            is in this layout its own says all.

    Raises:
        ValueError: what the original layout must say is nowhere to be found.
    """
    config: Any = copy.deepcopy(source.config)
    written = original_fields(source, like)
    if source.layout == "original" or isinstance(config, InternVLDualEncoderConfig):
        if like is not None and written.get("model_type") not in (config.model_type, source.written["model_type"]):
            raise ValueError(_other_kind(like, written.get("model_type"), source))
        return config if like is None else _split_as_saved(config, source.folder)
    if not written:
        return _new_tower(config) if isinstance(config, InternVLVisionConfig) else _new_chat(config, source.folder)
    model_type = written.get("model_type")
    if model_type not in _ORIGINAL:
        raise ValueError(
            f"{like or source.folder} goes back to a model of type {model_type!r}, which is none of the original "
            f"layouts ({', '.join(_ORIGINAL)})."
        )
    form = _ORIGINAL[model_type].from_dict(written)
    if isinstance(form, InternVisionConfig) and isinstance(config, InternVLVisionConfig):
        _update(form, canonical_tower_fields(form), canonical_tower_fields(config))
    elif isinstance(form, InternVLConfig) and isinstance(config, InternVLConfig):
        _update_chat(form, config)
    else:
        raise ValueError(_other_kind(like, model_type, source))
    return _split_as_saved(form, source.folder)


def _split_as_saved(form: Any, folder: Path) -> Any:
    """A chat model's configuration, with the tiles of a processor that was saved beside it."""
    for key, value in tile_fields(folder).items() if isinstance(form, InternVLChatConfig) else ():
        if getattr(form, key) != value:
            setattr(form, key, value)
    return form


def _other_kind(like: Path | None, model_type: Any, source: Checkpoint) -> str:
    return f"{like} is a model of type {model_type!r}, {source.folder} one of type {source.config.model_type!r}."


def original_fields(source: Checkpoint, like: Path | None = None) -> dict[str, Any]:
    """What is known of the `config.json` of the original folder that a checkpoint began as; may be empty."""
    if like is not None:
        return read_json(like / CONFIG)
    if source.layout == "original":
        return source.written
    names = ("original_config", "authors_config")  # the latter up to version 0.1.0
    known = (getattr(source.config, name, None) for name in names)
    return copy.deepcopy(next(filter(None, known), {}))


def _update_chat(form: Any, config: PreTrainedConfig) -> None:
    """Write what has changed since the conversion over the original configuration."""
    was = form.to_canonical()
    # Up to series 3.0 the original code keeps head and embeddings apart, whatever the files say.
    skip = () if getattr(form, "series_3_5", True) else ("tie_word_embeddings",)
    for part in ("text_config", "vision_config", "middleware_config"):
        if getattr(was, part) is not None and getattr(config, part) is not None:
            _update(getattr(form, part), getattr(was, part).to_dict(), getattr(config, part).to_dict(), skip)
    fields = [key for key in CANONICAL_FIELDS if key != "middleware_config"]
    before, now = ({key: getattr(side, key) for key in fields} for side in (was, config))
    _update(form, before, now, skip)


def _update(form: PreTrainedConfig, was: dict[str, Any], now: dict[str, Any], skip: tuple[str, ...] = ()) -> None:
    for key, value in now.items():
        if key not in (*_NAMES, *skip) and plain(was.get(key)) != plain(value):
            setattr(form, key, value)


def _new_tower(config: PreTrainedConfig) -> PreTrainedConfig:
    return InternVisionConfig(**canonical_tower_fields(config))


def _new_chat(config: PreTrainedConfig, folder: Path) -> PreTrainedConfig:
    """The original configuration of a model that never was in that layout, from its fields and its processor."""
    if getattr(config, "projector_type", "mlp") != "mlp":
        raise ValueError(
            f"{folder} was not converted from LLaVA's layout, which its projector ({config.projector_type!r}) belongs "
            "to: give a folder of that layout to go by (`like`)."
        )
    try:
        settings = chat_fields(folder)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"config.json of {folder} does not say which original checkpoint this model began as, and its "
            f"processor files are no help: {error} Give that checkpoint to go by (`like`, such as "
            "OpenGVLab/InternVL3-1B)."
        ) from error
    text = {key: value for key, value in config.text_config.to_dict().items() if key not in BOOKKEEPING}
    side = config.vision_config.image_size
    form = InternVLChatConfig(
        text_config=text,
        vision_config=InternVisionConfig(**canonical_tower_fields(config.vision_config)),
        force_image_size=side if isinstance(side, int) else side[0],
        **{key: copy.deepcopy(getattr(config, key)) for key in CANONICAL_FIELDS if key != "tie_word_embeddings"},
        **settings,
    )
    form.architectures = ["InternVLChatModel"]
    return form


def original_dict(form: PreTrainedConfig, auto_map: dict[str, str] | None) -> dict[str, Any]:
    """What stands in the original `config.json`."""
    fields = form.to_diff_dict()
    form.dict_dtype_to_str(fields)
    if isinstance(form, InternVLDualEncoderConfig):  # as the released folders say
        fields |= {"model_type": "internvl", "architectures": ["InternVLModel"]}
        for name in ("original_config", "authors_config"):
            fields.pop(name, None)
    if auto_map:
        fields["auto_map"] = auto_map
    return fields


__all__ = [
    "Checkpoint",
    "LAYOUTS",
    "LEFT_OUT",
    "empty_model",
    "hf_form",
    "open_checkpoint",
    "original_dict",
    "original_fields",
    "original_form",
    "plain",
    "weights_of",
]
