# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .backbone import InternVisionBackbone, InternVLVisionBackbone, InternVLVisionPyramid
from .configuration import CLASSIFIER_POOLINGS, InternVisionConfig, InternVisionPatchConfig, InternVLVisionConfig
from .heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .layers import AttentionPool, AttentionPoolAttention, PatchDropout, check_tiles, num_patches_kept
from .model import (
    InternVisionModel,
    InternVisionPatchModel,
    InternVLVisionModel,
    InternVLVisionPreTrainedModel,
    build_vision_tower,
    drop_path_rates,
    interpolate_positions,
)

__all__ = [
    "AttentionPool",
    "AttentionPoolAttention",
    "CLASSIFIER_POOLINGS",
    "InternVLVisionBackbone",
    "InternVLVisionConfig",
    "InternVLVisionForImageClassification",
    "InternVLVisionForSemanticSegmentation",
    "InternVLVisionModel",
    "InternVLVisionPreTrainedModel",
    "InternVLVisionPyramid",
    "InternVisionBackbone",
    "InternVisionConfig",
    "InternVisionForImageClassification",
    "InternVisionForSemanticSegmentation",
    "InternVisionModel",
    "InternVisionPatchConfig",
    "InternVisionPatchModel",
    "PatchDropout",
    "build_vision_tower",
    "check_tiles",
    "drop_path_rates",
    "interpolate_positions",
    "num_patches_kept",
]
