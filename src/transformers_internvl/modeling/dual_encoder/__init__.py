# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-C and InternVL-G: configuration, QLLaMA, model, pretraining and losses."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "base": [
            "EncodesText",
            "InternVLDualEncoderImageOutput",
            "InternVLDualEncoderOutput",
            "InternVLDualEncoderPreTrainedModel",
            "MODES",
            "check_mode",
        ],
        "configuration": ["InternVLDualEncoderConfig", "QLlamaConfig"],
        "losses": ["contrastive_loss", "draw_hard_negatives", "gather_with_gradient", "mean_cross_entropy"],
        "model": ["InternVLDualEncoderModel", "InternVLDualEncoderTextModel", "InternVLDualEncoderVisionModel"],
        "pretraining": ["InternVLDualEncoderForPreTraining", "InternVLDualEncoderForPreTrainingOutput"],
        "qllama": ["QLlamaForCausalLM", "QLlamaModel", "contrastive_mask", "generation_mask", "matching_mask"],
    },
)
