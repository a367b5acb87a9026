# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The chat model: configuration, image features, model and losses."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "configuration": ["InternVLConfig"],
        "image_features": [
            "EncodesImages",
            "InternVLMLPProjector",
            "InternVLMiddlewareOutput",
            "InternVLMiddlewareTower",
            "InternVLMultiModalProjector",
            "InternVLTwoMLPProjector",
            "PROJECTORS",
            "build_tower",
            "pixel_shuffle",
            "real_first",
        ],
        "model": ["InternVLForConditionalGeneration", "InternVLModel", "InternVLPreTrainedModel", "pixel_shuffle"],
        "out_of_vocabulary": ["InternVLGenerationMixin", "embed_known", "has_no_embedding"],
    },
)
