# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .dual_encoder.configuration import InternVLDualEncoderConfig, QLlamaConfig
from .dual_encoder.model import InternVLDualEncoderModel, InternVLDualEncoderTextModel, InternVLDualEncoderVisionModel
from .dual_encoder.pretraining import InternVLDualEncoderForPreTraining, InternVLDualEncoderForPreTrainingOutput
from .dual_encoder.qllama import QLlamaForCausalLM, QLlamaModel
from .interns1 import InternS1Config, InternS1ForConditionalGeneration, InternS1Model
from .internvl.configuration import InternVLConfig
from .internvl.model import InternVLForConditionalGeneration, InternVLModel
from .language_models import InternLM2Config, InternLM2ForCausalLM, InternLM2Model, InternLM2RotaryEmbedding
from .original.configuration_chat import InternVLChatConfig
from .original.configuration_llava import InternVLLlavaConfig
from .vision.backbone import InternVisionBackbone, InternVLVisionBackbone, InternVLVisionPyramid
from .vision.configuration import InternVisionConfig, InternVisionPatchConfig, InternVLVisionConfig
from .vision.heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .vision.model import InternVisionModel, InternVisionPatchModel, InternVLVisionModel
from .visual_experts import InternLM2VEConfig, InternLM2VEForCausalLM, InternLM2VEModel

__all__ = [
    "InternLM2Config",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternLM2RotaryEmbedding",
    "InternLM2VEConfig",
    "InternLM2VEForCausalLM",
    "InternLM2VEModel",
    "InternS1Config",
    "InternS1ForConditionalGeneration",
    "InternS1Model",
    "InternVLChatConfig",
    "InternVLConfig",
    "InternVLDualEncoderConfig",
    "InternVLDualEncoderForPreTraining",
    "InternVLDualEncoderForPreTrainingOutput",
    "InternVLDualEncoderModel",
    "InternVLDualEncoderTextModel",
    "InternVLDualEncoderVisionModel",
    "InternVLForConditionalGeneration",
    "InternVLLlavaConfig",
    "InternVLModel",
    "InternVLVisionBackbone",
    "InternVLVisionConfig",
    "InternVLVisionForImageClassification",
    "InternVLVisionForSemanticSegmentation",
    "InternVLVisionModel",
    "InternVLVisionPyramid",
    "InternVisionBackbone",
    "InternVisionConfig",
    "InternVisionForImageClassification",
    "InternVisionForSemanticSegmentation",
    "InternVisionModel",
    "InternVisionPatchConfig",
    "InternVisionPatchModel",
    "QLlamaConfig",
    "QLlamaForCausalLM",
    "QLlamaModel",
]
