# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The files behind `InternVLProcessor`: both layouts read, the -hf one written so that transformers can read it.

A folder of the original layout has no processor files: its settings come out of config.json.
"""

import json
import os
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin
from transformers.utils import logging

from ..hub.arguments import find_file, hub_arguments
from ..hub.checkpoint_files import check_files
from ..hub.config_values import tokens_per_tile
from ..hub.model_card import complete_upload
from ..renamed_modules import alias_former_names
from .chat_templates import TEMPLATES, find_chat_template, get_chat_template
from .images.image_processing import NORMALIZE_TYPES, InternVLImageProcessor
from .text.placeholders import VIDEO
from .text.video_token import STAND_INS, forget_without_embedding, video_token_of
from .tokenizers.loading import load_tokenizer
from .tokenizers.upstream import forget_call_settings
from .videos.video_processing import InternVLVideoProcessor

logger = logging.get_logger(__name__)

FRAME_LABEL = "Frame{}: "
LONGEST = 2**24
"""The most tokens that a sequence is padded to."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")

# How transformers' processor calls the tokens that it asks its tokenizer for.
_UPSTREAM_NAMES = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
}
# Option of the image processor -> field of the original config.json, and what it means there when it is missing.
_CHAT_FIELDS = {
    "crop_to_patches": "dynamic_image_size",
    "min_patches": "min_dynamic_patch",
    "max_patches": "max_dynamic_patch",
    "use_thumbnail": "use_thumbnail",
    "pad2square": "pad2square",
}
_CHAT_DEFAULTS = {"crop_to_patches": False, "min_patches": 1, "max_patches": 6, "use_thumbnail": False}

_OUR_PLACEHOLDER = '{%- set image_placeholder = "<image>" %}'
_UPSTREAM_PLACEHOLDER = '{%- set image_placeholder = "<IMG_CONTEXT>" %}'


class ProcessorBase(ProcessorMixin):
    """What all processors of this package share."""

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As transformers', of files that were looked at."""
        check_files(pretrained_model_name_or_path, kwargs.get("subfolder"))
        return super().get_processor_dict(pretrained_model_name_or_path, **kwargs)

    def _upload_modified_files(self, working_dir: Any, repo_id: str, *args: Any, **kwargs: Any) -> Any:
        """As transformers'; what is pushed brings a filled model card."""
        complete_upload(self, working_dir, repo_id, kwargs.get("revision"), kwargs.get("token"))
        return super()._upload_modified_files(working_dir, repo_id, *args, **kwargs)

    def _merge_kwargs(self, ModelProcessorKwargs=None, tokenizer_init_kwargs=None, **kwargs):
        # Transformers applies the tokenizer's settings to every call, and a call's truncation is saved among them.
        defaults = {k: v for k, v in (tokenizer_init_kwargs or {}).items() if k == "padding_side"}
        options = ModelProcessorKwargs or self.valid_processor_kwargs
        merged = super()._merge_kwargs(options, tokenizer_init_kwargs=defaults, **kwargs)
        for name in ("max_length", "pad_to_multiple_of"):  # a tokenizer that has no memory left ends the process
            if (merged["text_kwargs"].get(name) or 0) > LONGEST:
                raise ValueError(f"`{name}={merged['text_kwargs'][name]}` is more than {LONGEST} tokens; lower it.")
        return merged

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """As transformers', without what the last call was padded and truncated to."""
        forget_call_settings(self.tokenizer)
        return super().save_pretrained(save_directory, push_to_hub, **kwargs)


class ProcessorFiles(ProcessorBase):
    """Loading and saving of `InternVLProcessor`."""

    hub_task = "image-text-to-text"

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path, **kwargs):
        """The settings in the files of a checkpoint; those of the original layout are made from its config.json."""
        hub = hub_arguments(kwargs)
        try:
            settings, unused = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        except AttributeError as error:  # the file holds something else
            raise ValueError(f"processor_config.json must hold an object of settings: {error}") from error
        for part in ("image_processor", "video_processor"):
            if not isinstance(settings.get(part), (dict, type(None))):
                raise ValueError(f"`{part}` in processor_config.json must be an object, got {settings[part]!r:.80}.")
        settings |= cls._settings_of_config(settings, pretrained_model_name_or_path, **hub) or {}
        return settings, unused

    @classmethod
    def _settings_of_config(cls, settings: dict[str, Any], name_or_path: Any, **hub_options: Any) -> dict | None:
        """What config.json says in the place of `settings`, those of the processor files."""
        if written_here(settings.get("image_processor", {})):
            return None
        return chat_settings(name_or_path, **hub_options)

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        path = pretrained_model_name_or_path
        settings = cls.get_processor_dict(path, **kwargs)[0] if processor_dict is None else processor_dict
        check_tokenizer_files(path, **hub_arguments(kwargs))
        image_options = chosen_options(kwargs, InternVLImageProcessor)
        video_options = chosen_options(kwargs, InternVLVideoProcessor)
        others = {k: v for k, v in kwargs.items() if k not in {*image_options, *video_options}}
        tokenizer = load_tokenizer(path, **others)
        tokenizer.padding_side = "left"  # batches are generated from

        hub = hub_arguments(kwargs)
        if VIDEO in tokenizer.added_tokens_encoder:
            forget_without_embedding(tokenizer, _embeddings(path, **hub))
        image_settings = settings.get("image_processor")
        if image_settings is None:
            image_settings, _ = InternVLImageProcessor.get_image_processor_dict(path, **hub)
        if not written_here(image_settings):
            # Transformers' processor splits into tiles whatever its files say.
            image_settings = {**image_settings, "crop_to_patches": True}
        video_settings = settings.get("video_processor")
        if video_settings is None:
            video_settings, _ = InternVLVideoProcessor.get_video_processor_dict(path, **hub)
        return [
            InternVLImageProcessor.from_dict(dict(image_settings), **image_options),
            tokenizer,
            InternVLVideoProcessor.from_dict(dict(video_settings), **video_options),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The settings as transformers writes them, with those of this package."""
        settings = super().to_dict()
        if settings.get("frame_label") == FRAME_LABEL:
            del settings["frame_label"]
        if settings.get("compressed_image_seq_length") is None:
            settings.pop("compressed_image_seq_length", None)
        settings["image_processor"] = as_upstream_writes(settings["image_processor"])
        settings["video_processor"] = as_upstream_writes(settings["video_processor"])
        return settings

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **kwargs):
        """Save all files in the -hf layout. They load here and in transformers' `InternVLProcessor`."""
        if push_to_hub:
            repo_id = kwargs.pop("repo_id", os.path.basename(os.path.normpath(save_directory)))
            self.push_to_hub(repo_id, **kwargs)  # comes back here with a folder of its own
        files = super().save_pretrained(save_directory)
        write_for_upstream(save_directory, video_token_of(self.tokenizer))
        return files


def chosen_options(kwargs: dict[str, Any], processor: Any) -> dict[str, Any]:
    """Those of the arguments that are options of an image or video processor class."""
    return {name: value for name, value in kwargs.items() if name in processor.valid_kwargs.__annotations__}


def chat_settings(name_or_path: str | os.PathLike, **hub_options: Any) -> dict[str, Any] | None:
    """Processor settings from the config.json of an original chat checkpoint; None if it is not one.

    Keys are those of `processor_config.json`. Images are normalized with ImageNet's statistics, as in the original
    inference code does whatever `preprocessor_config.json` says. `system_message: null` is the template's own message.

    Raises:
        ValueError: `template` is unknown, or the size of the tower is missing.
    """
    try:
        config, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub_options)
    except OSError:
        return None  # a folder of processor files alone
    if config.get("model_type") != "internvl_chat":
        return None
    settings: dict[str, Any] = {"image_seq_length": _tokens_per_tile(config)}
    if config.get("flash_mode"):  # a quarter of the tokens of other tiles
        settings["compressed_image_seq_length"] = settings["image_seq_length"] // 4
    if config.get("template") is not None:
        settings["chat_template"] = get_chat_template(config["template"], system_message=config.get("system_message"))
    mean, std = NORMALIZE_TYPES["imagenet"]
    side = _tile_size(config)
    shared = {"size": {"height": side, "width": side}, "image_mean": list(mean), "image_std": list(std)}
    settings["video_processor"] = shared
    fields = {ours: config.get(theirs) for ours, theirs in _CHAT_FIELDS.items()}
    given = {name: value for name, value in fields.items() if value is not None}
    settings["image_processor"] = {**shared, **_CHAT_DEFAULTS, **given}
    return settings


def chat_fields(name_or_path: str | os.PathLike, **hub_options: Any) -> dict[str, Any]:
    """What the original config.json says about tiles and prompts, from processor files: the inverse of
    [`chat_settings`].

    Raises:
        OSError: there are no such files.
        ValueError: the chat template is none of the original ones.
    """
    processor = AutoProcessor.from_pretrained(name_or_path, **hub_options)
    found = find_chat_template(processor.chat_template or "")
    if found is None or TEMPLATES[found[0]].system_message is None:
        raise ValueError(
            f"The chat template of {name_or_path} is none of the original ones, and it is not known which of them "
            f"config.json should name ({', '.join(TEMPLATES)})."
        )
    tiles = {theirs: getattr(processor.image_processor, ours) for ours, theirs in _CHAT_FIELDS.items()}
    return {"template": found[0], "system_message": found[1], **tiles}


def tile_fields(folder: Path) -> dict[str, Any]:
    """The tile settings in saved processor files, by the original keys; empty if this package wrote none."""
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")).get("image_processor") if path.is_file() else None
    if not settings or not written_here(settings):
        return {}
    return {theirs: settings[ours] for ours, theirs in _CHAT_FIELDS.items() if settings.get(ours) is not None}


def as_upstream_writes(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an image or video processor, under the name of transformers' class, without what it cannot take."""
    settings = {name: value for name, value in settings.items() if name != "backend"}
    if "image_processor_type" in settings:
        settings["image_processor_type"] = "GotOcr2ImageProcessor"
    return settings


def written_here(image_settings: dict[str, Any]) -> bool:
    """Whether settings of an image processor come from this package: transformers' has no such option."""
    return "use_thumbnail" in image_settings


def _tile_size(config: dict[str, Any]) -> int:
    side = config.get("force_image_size") or config.get("vision_config", {}).get("image_size")
    if side is None:
        raise ValueError("config.json names no tile size: neither `force_image_size` nor `vision_config.image_size`.")
    return side


def _tokens_per_tile(config: dict[str, Any]) -> int:
    patch = config.get("vision_config", {}).get("patch_size", 14)
    patches = _tile_size(config) // patch
    return tokens_per_tile(patches, patches, config.get("downsample_ratio", 0.5))


def check_tokenizer_files(name_or_path: str | os.PathLike, **hub_options: Any) -> None:
    """Raise `OSError` if a checkpoint holds no tokenizer, of which transformers would make an empty one."""
    if not any(find_file(name_or_path, name, **hub_options) for name in _TOKENIZER_FILES):
        place = os.path.join(name_or_path, hub_options.get("subfolder") or "").rstrip(os.sep)
        raise OSError(
            f"There is no tokenizer in {place!r}: expected one of {', '.join(_TOKENIZER_FILES)}. Copy the "
            "tokenizer files of the checkpoint into it; weights and config.json alone cannot read a prompt."
        )


def _embeddings(name_or_path: str | os.PathLike, **hub_options: Any) -> int | None:
    """How many tokens of a checkpoint have an embedding, as its config.json says; None if there is none."""
    try:
        config, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub_options)
    except OSError:
        return None
    parts = (config.get("llm_config"), config.get("text_config"))
    return next((part["vocab_size"] for part in parts if isinstance(part, dict) and "vocab_size" in part), None)


def write_for_upstream(folder: str | os.PathLike, video_token: str | None = VIDEO) -> None:
    """Make saved processor files readable by transformers' `InternVLProcessor`.

    It knows one placeholder, so a template that writes `<image>` here writes `<IMG_CONTEXT>` in the file; both mean
    the same here. And it finds its tokens by name, so the names are put into `tokenizer_config.json`.

    Args:
        folder: with the files.
        video_token: what stands for a video in them, a token with an embedding; None: there is none.
    """
    folder = Path(folder)
    for path in [folder / "chat_template.jinja", *(folder / "additional_chat_templates").glob("*.jinja")]:
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace(_OUR_PLACEHOLDER, _UPSTREAM_PLACEHOLDER, 1)
            path.write_text(text.replace(VIDEO, video_token or VIDEO), encoding="utf-8")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    named = {**_UPSTREAM_NAMES, **config.get("model_specific_special_tokens", {}), "video_token": video_token}
    if video_token is None:
        del named["video_token"]
        logger.warning(
            f"The tokenizer has none of the tokens that may stand for a video ({', '.join(STAND_INS)}): transformers "
            f"transformers does not read this processor. Give one an embedding: `internvl surgery add-tokens`."
        )
    config = {**config, **named, "model_specific_special_tokens": named}  # transformers writes them in both places
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


alias_former_names(__name__, as_stock_writes="as_upstream_writes", write_for_stock="write_for_upstream")
