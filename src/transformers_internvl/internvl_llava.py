# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLLlavaForConditionalGeneration`: InternVL-Chat v1, read from LLaVA's layout.

The sizes of the tower are not in its `config.json`, and its weights may lie elsewhere. They are looked for in this
order: what `config.json` says after all; the tower's own folder, if it is on this machine; the shapes of the tower's
weights, if the checkpoint holds them; what the tower's name is known to mean.

It stands above `modeling` and `conversion` because loading needs both.
"""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from .conversion.files.shapes import weight_shapes
from .conversion.layouts.llava_tower import TOWER_PREFIX, find_sizes, tower_folder
from .hub.arguments import pinned
from .modeling.dual_encoder.model import InternVLDualEncoderModel
from .modeling.internvl.model import InternVLForConditionalGeneration, InternVLModel
from .modeling.original.canonical import CanonicalFormMixin
from .modeling.original.configuration_llava import InternVLLlavaConfig
from .modeling.pretrained.older_arguments import todays_arguments
from .modeling.vision.model import InternVisionModel


class InternVLLlavaBody(InternVLModel):
    """Tower, projector and language model of an [`InternVLLlavaForConditionalGeneration`]: a class of its own, for
    its weights' names."""

    config: InternVLLlavaConfig


class InternVLLlavaForConditionalGeneration(CanonicalFormMixin, InternVLForConditionalGeneration):
    """InternVL-Chat v1 (`model_type: llava_llama`), in the form ViT-MLP-LLM and in that with QLLaMA in between.

    It is an [`InternVLForConditionalGeneration`]: same `forward`, same `generate`. `save_pretrained` writes the
    canonical layout, which loads as that class; with `save_original_format=True` LLaVA's.

    Of QLLaMA's weights those that only text needs (embeddings, head) are left out.
    """

    config: InternVLLlavaConfig
    body_class = InternVLLlavaBody
    saves_original_format = False
    strict_loading = True
    _keys_to_ignore_on_load_unexpected = [
        r"rotary_emb\.inv_freq",
        r"^model\.vision_tower\.qllama\.(lm_head|embed_tokens)\.",
    ]

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers', and strict: every weight must have a place, every place a weight.

        A checkpoint without the weights of its tower gets them from the tower's own folder: `mm_vision_tower` as it is
        written there or given here, or the folder of that name beside the checkpoint.

        Raises:
            ValueError: for weights we have no place for, or places without weights; the tower's weights or its number
                of heads are nowhere to be found.
        """
        folder, kwargs = pretrained_model_name_or_path, todays_arguments(cls, kwargs)
        if folder is None:
            return super().from_pretrained(None, *args, **kwargs)
        hub = pinned(folder, kwargs)
        kwargs = {**kwargs, **hub}
        dtype: dict[str, Any] = {
            key: kwargs.pop(key) for key in ("dtype", "torch_dtype") if key in kwargs
        }  # the model's, not a field
        config = kwargs.pop("config", None)
        if not isinstance(config, PreTrainedConfig):
            config, kwargs = cls.config_class.from_pretrained(config or folder, return_unused_kwargs=True, **kwargs)
        config, shapes = copy.deepcopy(config), weight_shapes(folder, TOWER_PREFIX, **hub)
        elsewhere = tower_folder(config.mm_vision_tower, folder)
        if shapes == {} and elsewhere is None:
            raise ValueError(
                f"{folder} does not hold the weights of its vision tower, and {config.mm_vision_tower!r}, where "
                "config.json says they are, is no folder here. Download the tower, put it beside the checkpoint, or "
                "pass `mm_vision_tower=` with its folder."
            )
        if not config.tower_is_given:
            find_sizes(config, shapes, elsewhere)
        return super().from_pretrained(folder, *args, config=config, **{**hub, **dtype, **kwargs})

    @classmethod
    def _supply_missing(cls, folder: Any, model: Any, report: dict[str, Any]) -> None:
        """The tower's weights, from its own folder, if the checkpoint has none of them."""
        prefix = "model.vision_tower."
        places = {prefix + name for name, _ in model.model.vision_tower.named_parameters()}
        elsewhere = folder and tower_folder(model.config.mm_vision_tower, folder)
        if elsewhere and places <= set(report["missing_keys"]):
            _load_tower(model, elsewhere)
            report["missing_keys"] = [key for key in report["missing_keys"] if key not in places]


@torch.no_grad()
def _load_tower(model: InternVLLlavaForConditionalGeneration, folder: Path) -> None:
    """Copy the weights of a tower's own folder into the model."""
    tower = model.model.vision_tower
    if any(parameter.is_meta for parameter in tower.parameters()):
        raise ValueError(
            "The vision tower comes from a folder of its own and cannot be offloaded while it is loaded. Load the "
            "model once without offloading and save it with `save_pretrained`: what is saved is complete."
        )
    if model.config.middleware_config is None:
        source, report = InternVisionModel.from_pretrained(folder, dtype=model.dtype, output_loading_info=True)
        model._refuse_incomplete(folder, report)
        tower.load_state_dict(source.state_dict())
        return
    whole = InternVLDualEncoderModel.from_pretrained(folder, dtype=model.dtype)
    renamed = {key.replace("qllama.model.", "qllama."): weight for key, weight in whole.state_dict().items()}
    tower.load_state_dict({key: renamed[key] for key in tower.state_dict()})


__all__ = ["InternVLLlavaForConditionalGeneration"]
