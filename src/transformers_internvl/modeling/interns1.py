# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Intern-S1 and Intern-S1-mini (arXiv:2508.15763): the graph and the weight names of `internvl` under another type.

Tower, projector and language model (Qwen3 or Qwen3-MoE) are those of the canonical layout. Only the tokenizer differs:
it is remote code, see `processing/tokenizers/loading.py`.
"""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import SubConfigSpec

from .internvl.configuration import InternVLConfig
from .internvl.model import InternVLForConditionalGeneration, InternVLModel
from .vision.configuration import InternVLVisionConfig
from .vision.model import InternVLVisionModel


@strict
class InternS1VisionConfig(InternVLVisionConfig):
    """The tower of Intern-S1 (`model_type: interns1_vision`). All fields are [`InternVLVisionConfig`]'s."""

    model_type = "interns1_vision"


@strict
class InternS1Config(InternVLConfig):
    """Intern-S1 (`model_type: interns1`). All fields are [`InternVLConfig`]'s; it is saved under its own type."""

    model_type = "interns1"
    sub_configs_defaults = {
        **InternVLConfig.sub_configs_defaults,
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen3"),
        "vision_config": InternS1VisionConfig,
    }


class InternS1VisionModel(InternVLVisionModel):
    """The tower of Intern-S1."""

    config: InternS1VisionConfig


class InternS1Model(InternVLModel):
    """Intern-S1 without a language modeling head."""

    config: InternS1Config


class InternS1ForConditionalGeneration(InternVLForConditionalGeneration):
    """Intern-S1 with its language modeling head: an [`InternVLForConditionalGeneration`]."""

    config: InternS1Config
    body_class = InternS1Model


__all__ = [
    "InternS1Config",
    "InternS1ForConditionalGeneration",
    "InternS1Model",
    "InternS1VisionConfig",
    "InternS1VisionModel",
]
