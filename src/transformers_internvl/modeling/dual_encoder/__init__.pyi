# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .base import (
    MODES,
    InternVLDualEncoderImageOutput,
    InternVLDualEncoderOutput,
    InternVLDualEncoderPreTrainedModel,
    TextFeatureMixin,
    check_mode,
)
from .configuration import InternVLDualEncoderConfig, QLlamaConfig
from .losses import contrastive_loss, draw_hard_negatives, gather_with_gradient, mean_cross_entropy
from .model import InternVLDualEncoderModel, InternVLDualEncoderTextModel, InternVLDualEncoderVisionModel
from .pretraining import InternVLDualEncoderForPreTraining, InternVLDualEncoderForPreTrainingOutput
from .qllama import QLlamaForCausalLM, QLlamaModel, contrastive_mask, generation_mask, matching_mask

__all__ = [
    "InternVLDualEncoderConfig",
    "InternVLDualEncoderForPreTraining",
    "InternVLDualEncoderForPreTrainingOutput",
    "InternVLDualEncoderImageOutput",
    "InternVLDualEncoderModel",
    "InternVLDualEncoderOutput",
    "InternVLDualEncoderPreTrainedModel",
    "InternVLDualEncoderTextModel",
    "InternVLDualEncoderVisionModel",
    "MODES",
    "QLlamaConfig",
    "QLlamaForCausalLM",
    "QLlamaModel",
    "TextFeatureMixin",
    "check_mode",
    "contrastive_loss",
    "contrastive_mask",
    "draw_hard_negatives",
    "gather_with_gradient",
    "generation_mask",
    "matching_mask",
    "mean_cross_entropy",
]
