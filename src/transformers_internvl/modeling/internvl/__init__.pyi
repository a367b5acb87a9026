# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .configuration import InternVLConfig
from .image_features import (
    PROJECTORS,
    EncodesImages,
    InternVLMiddlewareOutput,
    InternVLMiddlewareTower,
    InternVLMLPProjector,
    InternVLMultiModalProjector,
    InternVLTwoMLPProjector,
    build_tower,
    pixel_shuffle,
    real_first,
)
from .model import InternVLForConditionalGeneration, InternVLModel, InternVLPreTrainedModel
from .out_of_vocabulary import InternVLGenerationMixin, embed_known, has_no_embedding

__all__ = [
    "EncodesImages",
    "InternVLConfig",
    "InternVLForConditionalGeneration",
    "InternVLGenerationMixin",
    "InternVLMLPProjector",
    "InternVLMiddlewareOutput",
    "InternVLMiddlewareTower",
    "InternVLModel",
    "InternVLMultiModalProjector",
    "InternVLPreTrainedModel",
    "InternVLTwoMLPProjector",
    "PROJECTORS",
    "build_tower",
    "embed_known",
    "has_no_embedding",
    "pixel_shuffle",
    "real_first",
]
