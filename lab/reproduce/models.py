# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tiny models of the lab: an InternVL of some hundred thousand parameters, and an InternVL-C and -G."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from lab.nano import dual_encoder
from lab.nano.model import build_model, build_tokenizer
from lab.world import World
from lab.world.phrases import LANGUAGES, TEXTS, wordings
from transformers_internvl.conversion.surgery.transplant import replace_tower
from transformers_internvl.modeling.vision.heads import InternVLVisionForImageClassification
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor

TILE, PATCH = 32, 8
TOKENS_PER_TILE = (TILE // PATCH // 2) ** 2
TOWER = {"width": 64, "vision_layers": 3}
SIZES = {"small": {"text_width": 64, "text_layers": 2}, "large": {"text_width": 128, "text_layers": 3}}
"""Shapes of the language model."""
VOCABULARY = 640


@lru_cache(maxsize=1)
def corpus() -> tuple[str, ...]:
    """What the tokenizers are trained on: wordings of training, and captions of training samples."""
    asked = [text for language in LANGUAGES for text in sorted(wordings("train", language))]
    plain = [text for language in LANGUAGES for text in TEXTS[language]]
    return (*asked, *plain, *(sample.caption for sample in World("train", 300, seed=-1)))


@lru_cache(maxsize=1)
def tokenizer() -> Any:
    """The tokenizer of the chat models."""
    return build_tokenizer(list(corpus()), VOCABULARY)


def processor(max_tiles: int = 1, thumbnail: bool = True) -> InternVLProcessor:
    """The processor of the chat models."""
    images = InternVLImageProcessor(
        size={"height": TILE, "width": TILE}, min_patches=1, max_patches=max_tiles, use_thumbnail=thumbnail
    )
    template = get_chat_template("internvl_hf")
    return InternVLProcessor(images, tokenizer(), image_seq_length=TOKENS_PER_TILE, chat_template=template)


def chat_model(size: str = "small", seed: int = 0) -> Any:
    """A chat model with random weights."""
    torch.manual_seed(seed)
    return build_model(tokenizer(), tile_size=TILE, patch_size=PATCH, **TOWER, **SIZES[size])


def assembled(size: str, seed: int, tower: Any, language: Any) -> Any:
    """A chat model with a tower and a language model of other models (None: random), and a new projector."""
    model = chat_model(size, seed)
    if language is not None:
        model.model.language_model.load_state_dict(language.model.language_model.state_dict())
        model.lm_head.load_state_dict(language.lm_head.state_dict())
    if tower is not None:
        model = replace_tower(model, tower)
    return model


@lru_cache(maxsize=1)
def pair_processor() -> Any:
    """The processor of the dual encoder."""
    return dual_encoder.build_processor(dual_encoder.build_tokenizer(list(corpus()), VOCABULARY), TILE)


def pair_model(seed: int, look: Any = None) -> Any:
    """A dual encoder with random weights, but for the tower of a model of `look_model`, where one is given."""
    settings = dual_encoder.Settings(**TOWER, text_layers=2, queries=8, seed=seed, side=TILE, patch=PATCH)
    model = dual_encoder.build_model(len(pair_processor().tokenizer), settings)
    if look is not None:
        model.vision_model.load_state_dict(look.internvl_vision.state_dict())
    return model


def look_model(seed: int, names: int) -> Any:
    """A tower with random weights, that of `pair_model`, and a classifier with several labels on it."""
    tower = pair_model(seed).vision_model
    config = copy.deepcopy(tower.config)
    config.num_labels, config.problem_type = names, "multi_label_classification"
    model = InternVLVisionForImageClassification(config)
    model.internvl_vision.load_state_dict(tower.state_dict())
    return model


def load_chat_model(folder: Any) -> Any:
    """A trained chat model, for evaluation."""
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()


__all__ = [
    "PATCH",
    "SIZES",
    "TILE",
    "assembled",
    "chat_model",
    "load_chat_model",
    "look_model",
    "pair_model",
    "pair_processor",
    "processor",
    "tokenizer",
]
