# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Parts of a model taken out and put into another: the tower, and the language model with a new projector.

This is progressive scaling (InternVL 2.5, arXiv:2412.05271, section 3.3): a tower that was trained together with a
small language model moves to a large one, whose projector alone is then warmed up before all is trained.

Source: `tools/extract_vit.py`, `tools/replace_llm.py` and the building of a model from `vision_path` and `llm_path` in
the original `internvl_chat_finetune.py`.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...modeling.flash.compression import check_flash
from ...modeling.flash.router import CompressedProjector, ResolutionRouter
from ...modeling.internvl.configuration import InternVLConfig
from ...modeling.internvl.image_features import PROJECTORS
from ...modeling.internvl.model import InternVLForConditionalGeneration
from ...modeling.original.canonical import copy_buffers
from ...modeling.original.configuration_chat import canonical_text_fields
from ...modeling.original_keys import BOOKKEEPING
from ...modeling.vision.configuration import InternVisionConfig, InternVLVisionConfig
from ...modeling.vision.model import InternVLVisionModel, build_vision_tower
from ...renamed_modules import present_layout
from .towers import find_tower

_TOWER_CONFIGS = {"original": InternVisionConfig, "hf": InternVLVisionConfig}
# Parts that stand beside the tower and the language model -> how a new one is built.
_BUILDERS: dict[str, Callable[[InternVLConfig], nn.Module]] = {
    "multi_modal_projector": lambda config: PROJECTORS[config.projector_type](config),
    "compressed_projector": CompressedProjector,
    "resolution_router": ResolutionRouter,
}
_BEHIND_TOWER = tuple(_BUILDERS)  # what another width of the tower changes
_BEFORE_LANGUAGE_MODEL = ("multi_modal_projector", "compressed_projector")


def extract_tower(model: PreTrainedModel, to: str = "original") -> InternVLVisionModel:
    """The tower of a model as a model of its own, with the same tensors.

    Args:
        model: a chat model, a dual encoder, a tower with a head.
        to: `"original"`: an [`InternVisionModel`] (`intern_vit_6b`); `"hf"`: an [`InternVLVisionModel`].

    Raises:
        ValueError: no tower, or more than one; an unknown layout.
    """
    to = present_layout(to)
    if to not in _TOWER_CONFIGS:
        raise ValueError(f"`to` must be one of {', '.join(map(repr, _TOWER_CONFIGS))}, got {to!r}.")
    tower = find_tower(model)
    return _rebuilt(tower, _TOWER_CONFIGS[to](**_plain_fields(tower.config)))


def replace_tower(
    model: InternVLForConditionalGeneration,
    tower: PreTrainedModel,
    *,
    vision_feature_layer: int | None = None,
    reset_projector: bool = False,
) -> InternVLForConditionalGeneration:
    """A chat model with the tower of another model. Tiles stay as large as they were, and as many tokens.

    A position table for another image size is interpolated; [`resize_position_table`] changes it permanently.

    Args:
        model: the chat model.
        tower: the new tower, or a model that holds it.
        vision_feature_layer: which hidden state of the new tower the projector reads. None: as before, which for
            another than the last one needs a tower of the same depth.
        reset_projector: give the model a new projector, as the original code does (PyTorch's default), and
            InternVL3.5-Flash a new router, too. Needed where the new tower is of another width.

    Returns:
        A new model, which shares the tensors of both.

    Raises:
        ValueError: the tower does not fit, and how to make it fit.
    """
    config = copy.deepcopy(model.config)
    if not isinstance(model, InternVLForConditionalGeneration) or config.middleware_config is not None:
        raise ValueError(f"{type(model).__name__} is no chat model, or one with QLLaMA behind its tower.")
    old, new = find_tower(model), find_tower(tower)
    if new.dtype != old.dtype:
        raise ValueError(f"The tower is in {new.dtype}, the model in {old.dtype}: convert one with `.to(dtype)`.")
    if tuple(new.config.patch_size) != tuple(old.config.patch_size):
        raise ValueError(
            f"The tower's patches are of {new.config.patch_size} pixels, the model's of {old.config.patch_size}."
        )
    if new.config.hidden_size != old.config.hidden_size and not reset_projector:
        raise ValueError(
            f"The tower is {new.config.hidden_size} wide, the projector takes {old.config.hidden_size}: ask for a new "
            "projector (`reset_projector=True`), which must then be trained."
        )
    depth = new.config.num_hidden_layers
    if vision_feature_layer is None:
        vision_feature_layer = config.vision_feature_layer
        if vision_feature_layer != -1 and depth != old.config.num_hidden_layers:
            raise ValueError(
                f"The model reads layer {vision_feature_layer} of {old.config.num_hidden_layers} blocks, the tower "
                f"has {depth}: say which of its layers to read (`vision_feature_layer`)."
            )
    if not isinstance(vision_feature_layer, int) or not -depth - 1 <= vision_feature_layer <= depth:
        raise ValueError(f"`vision_feature_layer` must be within the {depth} blocks, got {vision_feature_layer}.")

    tile_size = getattr(config, "tile_size", None)
    config.vision_config = type(old.config)(**_plain_fields(new.config))
    config.vision_feature_layer = vision_feature_layer
    if tile_size is not None and config.tile_size != tile_size:
        config.force_image_size = tile_size
    parts = _new_parts(config, model, _BEHIND_TOWER) if reset_projector else {}
    return _assembled(model, config, {**parts, "vision_tower": new}, model.lm_head.weight)


def replace_language_model(
    model: InternVLForConditionalGeneration, language_model: PreTrainedModel, image_token_id: int
) -> InternVLForConditionalGeneration:
    """A chat model with the tower of one and the language model of another, and a new projector between them.

    The projector is initialised as the original code does it, by PyTorch's default, and must be trained. Tokenizer and
    conversation template are those of the new language model; its vocabulary has to hold the image tokens already
    (see [`add_tokens`]).

    Args:
        model: the chat model whose tower and settings are taken; in the original layout or the canonical one.
        language_model: with its head, such as `Qwen2ForCausalLM`.
        image_token_id: id of `<IMG_CONTEXT>` in its vocabulary.

    Returns:
        A new model, which shares the tensors of both.

    Raises:
        ValueError: number formats that differ, an architecture that the layout does not know, or a model without a
            head.
    """
    head = language_model.get_output_embeddings()
    if head is None or head.bias is not None:
        raise ValueError(f"{type(language_model).__name__} needs a language modeling head without a bias.")
    if language_model.dtype != model.dtype:
        raise ValueError(
            f"The language model is in {language_model.dtype}, the model in {model.dtype}: convert one with "
            "`.to(dtype)`."
        )
    config = _with_text_config(model.config, language_model.config)
    config.image_token_id = image_token_id
    apart = not config.tie_word_embeddings and head.weight is language_model.get_input_embeddings().weight
    head_weight = head.weight.detach().clone() if apart else head.weight
    parts = _new_parts(config, model, _BEFORE_LANGUAGE_MODEL)
    parts["language_model"] = getattr(language_model, language_model.base_model_prefix)
    joined = _assembled(model, config, parts, head_weight)
    joined.generation_config = language_model.generation_config
    return joined


def add_resolution_router(
    model: InternVLForConditionalGeneration, relative_threshold: float, absolute_threshold: float
) -> InternVLForConditionalGeneration:
    """A chat model with the parts of InternVL3.5-Flash: a router, and a projector of compressed tiles.

    They have PyTorch's default initialisation and must be trained (`training/trainers/vico.py`). Until then pass
    `flash_mode=False` to `generate`.

    Args:
        model: the chat model; in the original layout or the canonical one.
        relative_threshold, absolute_threshold: of its config, see [`InternVLConfig`].

    Returns:
        A new model, which shares the tensors of the given one.

    Raises:
        ValueError: thresholds outside [0, 1]; a tower that the router does not suit; there is a router already.
    """
    config = copy.deepcopy(model.config)
    if config.flash_mode is not None:
        raise ValueError(f"{type(model).__name__} has a router already (`flash_mode` is {config.flash_mode}).")
    config.flash_mode = True
    config.flash_relative_threshold, config.flash_absolute_threshold = relative_threshold, absolute_threshold
    check_flash(config)
    own = next(model.model.multi_modal_projector.parameters())
    names = ("compressed_projector", "resolution_router")
    parts = {name: _BUILDERS[name](config).to(own.device, own.dtype) for name in names}
    return _assembled(model, config, parts, model.lm_head.weight)


def _assembled(
    model: InternVLForConditionalGeneration,
    config: InternVLConfig,
    changed: dict[str, nn.Module],
    head: torch.Tensor,
) -> InternVLForConditionalGeneration:
    """A new model of the class of `model`, out of its parts and `changed` ones, whose tensors and buffers it shares.

    A new one, because a loaded model remembers which names its files had, and those of other parts may differ.
    """
    with torch.device("meta"):
        joined = type(model)(config)
    parts = {**dict(model.model.named_children()), **changed}
    weights = {f"model.{part}.{key}": t for part, module in parts.items() for key, t in module.state_dict().items()}
    joined.load_state_dict({**weights, "lm_head.weight": head}, assign=True)
    joined.tie_weights()
    for part, module in parts.items():
        copy_buffers(module, getattr(joined.model, part))
    joined.generation_config = model.generation_config
    return joined.train(model.training)


def _with_text_config(config: InternVLConfig, text: Any) -> InternVLConfig:
    """A copy of a chat model's configuration with another language model in it."""
    fields = config.to_diff_dict()
    key = next((key for key in ("llm_config", "text_config") if key in fields), None)
    if key is None:
        raise ValueError(
            f"A folder of type {config.model_type!r} holds no configuration of a language model that could be "
            "replaced: convert it to the -hf layout first."
        )
    canonical = key == "text_config"
    own = {name: value for name, value in text.to_dict().items() if name not in BOOKKEEPING}
    fields[key] = canonical_text_fields(text) if canonical else own
    if canonical:
        fields["tie_word_embeddings"] = bool(text.tie_word_embeddings)
    else:  # these follow from the language model
        fields = {name: fields[name] for name in fields if name not in ("tie_word_embeddings", "loss_reduction")}
    return type(config).from_dict(fields)


def _plain_fields(config: InternVLVisionConfig) -> dict[str, Any]:
    """What a tower's configuration says about the tower, without heads and bookkeeping."""
    known = InternVLVisionConfig().to_dict().keys() - {"model_type", *BOOKKEEPING, "architectures"}
    return {key: value for key, value in config.to_dict().items() if key in known}


def _rebuilt(tower: InternVLVisionModel, config: InternVLVisionConfig) -> InternVLVisionModel:
    """The same tensors as a tower of the class for `config`."""
    with torch.device("meta"):
        built = build_vision_tower(config)
    built.load_state_dict(tower.state_dict(), assign=True)
    copy_buffers(tower, built)
    return built.train(tower.training)


def _new_parts(
    config: InternVLConfig, model: InternVLForConditionalGeneration, names: tuple[str, ...]
) -> dict[str, nn.Module]:
    """Those parts of the names that a model has, with PyTorch's default initialisation, where the old ones are."""
    parts = {}
    for name, old in model.model.named_children():
        if name in names:
            first = next(old.parameters())
            parts[name] = _BUILDERS[name](config).to(first.device, first.dtype).train(old.training)
    return parts


__all__ = ["add_resolution_router", "extract_tower", "replace_language_model", "replace_tower"]
