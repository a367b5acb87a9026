# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .hub.model_card import create_model_card
from .internvl_chat import InternVLChatModel
from .internvl_llava import InternVLLlavaForConditionalGeneration
from .internvl_reward import InternVLRewardModel
from .modeling.dual_encoder.configuration import InternVLDualEncoderConfig, QLlamaConfig
from .modeling.dual_encoder.model import (
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
    InternVLDualEncoderVisionModel,
)
from .modeling.dual_encoder.pretraining import InternVLDualEncoderForPreTraining
from .modeling.interns1 import InternS1Config, InternS1ForConditionalGeneration, InternS1Model
from .modeling.internvl.configuration import InternVLConfig
from .modeling.internvl.model import InternVLForConditionalGeneration, InternVLModel
from .modeling.language_models import InternLM2Config, InternLM2ForCausalLM, InternLM2Model
from .modeling.original.configuration_chat import InternVLChatConfig
from .modeling.original.configuration_llava import InternVLLlavaConfig
from .modeling.vision.backbone import InternVisionBackbone, InternVLVisionBackbone
from .modeling.vision.configuration import InternVisionConfig, InternVisionPatchConfig, InternVLVisionConfig
from .modeling.vision.heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .modeling.vision.model import InternVisionModel, InternVisionPatchModel, InternVLVisionModel
from .modeling.visual_experts import InternLM2VEConfig, InternLM2VEForCausalLM, InternLM2VEModel
from .nano import nano_path
from .processing.chat_templates import get_chat_template, split_thinking
from .processing.images.image_processing import InternVLImageProcessor
from .processing.images.image_processing_llava import InternVLLlavaImageProcessor
from .processing.images.tiling import select_grid
from .processing.processor import InternVLProcessor
from .processing.processor_dual_encoder import InternVLDualEncoderProcessor
from .processing.processor_llava import InternVLLlavaProcessor
from .processing.text.grounding import format_box, parse_grounding
from .processing.tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from .processing.tokenizers.internlm2 import InternLM2Tokenizer
from .processing.tokenizers.loading import load_tokenizer
from .processing.videos.video_processing import InternVLVideoProcessor
from .profiling.device_map import internvl_device_map

__version__: str

__all__ = [
    "InternLM2Config",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternLM2Tokenizer",
    "InternLM2VEConfig",
    "InternLM2VEForCausalLM",
    "InternLM2VEModel",
    "InternS1Config",
    "InternS1ForConditionalGeneration",
    "InternS1Model",
    "InternVLChatConfig",
    "InternVLChatModel",
    "InternVLConfig",
    "InternVLDualEncoderConfig",
    "InternVLDualEncoderForPreTraining",
    "InternVLDualEncoderModel",
    "InternVLDualEncoderProcessor",
    "InternVLDualEncoderTextModel",
    "InternVLDualEncoderTokenizer",
    "InternVLDualEncoderVisionModel",
    "InternVLForConditionalGeneration",
    "InternVLImageProcessor",
    "InternVLLlavaConfig",
    "InternVLLlavaForConditionalGeneration",
    "InternVLLlavaImageProcessor",
    "InternVLLlavaProcessor",
    "InternVLModel",
    "InternVLProcessor",
    "InternVLRewardModel",
    "InternVLVideoProcessor",
    "InternVLVisionBackbone",
    "InternVLVisionConfig",
    "InternVLVisionForImageClassification",
    "InternVLVisionForSemanticSegmentation",
    "InternVLVisionModel",
    "InternVisionBackbone",
    "InternVisionConfig",
    "InternVisionForImageClassification",
    "InternVisionForSemanticSegmentation",
    "InternVisionModel",
    "InternVisionPatchConfig",
    "InternVisionPatchModel",
    "QLlamaConfig",
    "create_model_card",
    "format_box",
    "get_chat_template",
    "internvl_device_map",
    "load_tokenizer",
    "nano_path",
    "parse_grounding",
    "select_grid",
    "split_thinking",
]
