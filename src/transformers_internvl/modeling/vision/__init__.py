# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT: configurations of both layouts, layers, model, heads and backbone."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "backbone": ["InternVLVisionBackbone", "InternVLVisionPyramid", "InternVisionBackbone"],
        "configuration": ["CLASSIFIER_POOLINGS", "InternVLVisionConfig", "InternVisionConfig"],
        "heads": [
            "InternVLVisionForImageClassification",
            "InternVLVisionForSemanticSegmentation",
            "InternVisionForImageClassification",
            "InternVisionForSemanticSegmentation",
        ],
        "layers": ["AttentionPool", "AttentionPoolAttention", "PatchDropout", "check_tiles", "num_patches_kept"],
        "model": [
            "InternVLVisionModel",
            "InternVLVisionPreTrainedModel",
            "InternVisionModel",
            "build_vision_tower",
            "drop_path_rates",
            "interpolate_positions",
        ],
    },
)
