# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .configuration import InternVLConfig
from .image_features import (
    PROJECTORS,
    ImageFeatureMixin,
    InternVLMiddlewareOutput,
    InternVLMiddlewareTower,
    InternVLMLPProjector,
    InternVLMultiModalProjector,
    InternVLTwoMLPProjector,
    build_tower,
    move_padding_tiles_last,
    pixel_shuffle,
)
from .model import InternVLForConditionalGeneration, InternVLModel
from .token_pruning import PRUNING_METHODS, Pruning, prune, refuse_late, take_reduction

__all__ = [
    "ImageFeatureMixin",
    "InternVLConfig",
    "InternVLForConditionalGeneration",
    "InternVLMLPProjector",
    "InternVLMiddlewareOutput",
    "InternVLMiddlewareTower",
    "InternVLModel",
    "InternVLMultiModalProjector",
    "InternVLTwoMLPProjector",
    "PROJECTORS",
    "PRUNING_METHODS",
    "Pruning",
    "build_tower",
    "move_padding_tiles_last",
    "pixel_shuffle",
    "prune",
    "refuse_late",
    "take_reduction",
]
