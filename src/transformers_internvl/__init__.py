# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The InternVL family of vision-language models, native to transformers v5.

Importing the package registers its classes with transformers' Auto classes: after `import transformers_internvl`,
every checkpoint that the authors released in a Hugging Face layout loads without remote code. It does nothing else.
With `TRANSFORMERS_INTERNVL_KEEP_STOCK=1` in the environment, stock's own registration of `internvl` (the `-hf` layout)
stays.
"""

from .compatibility import check_versions

check_versions()  # before the imports, which would fail with less to say

from .evaluation.device_map import internvl_device_map
from .hub.model_card import create_model_card
from .internvl_chat import InternVLChatModel
from .internvl_llava import InternVLLlavaForConditionalGeneration
from .modeling.configuration import InternVLConfig, InternVLVisionConfig
from .modeling.configuration_chat import InternVisionConfig, InternVLChatConfig
from .modeling.configuration_dual_encoder import InternVLDualEncoderConfig
from .modeling.configuration_llava import InternVLLlavaConfig
from .modeling.configuration_qllama import QLlamaConfig
from .modeling.dual_encoder import (
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
    InternVLDualEncoderVisionModel,
)
from .modeling.dual_encoder_pretraining import InternVLDualEncoderForPreTraining
from .modeling.internlm2 import InternLM2Config, InternLM2ForCausalLM, InternLM2Model
from .modeling.internvl import InternVLForConditionalGeneration, InternVLModel
from .modeling.vision import InternVisionModel, InternVLVisionModel
from .modeling.vision_backbone import InternVisionBackbone, InternVLVisionBackbone
from .modeling.vision_heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .nano import nano_path
from .processing.chat_templates import get_chat_template, split_thinking
from .processing.grounding import format_box, parse_grounding
from .processing.image_processing import InternVLImageProcessor
from .processing.image_processing_llava import InternVLLlavaImageProcessor
from .processing.processor import InternVLProcessor
from .processing.processor_dual_encoder import InternVLDualEncoderProcessor
from .processing.processor_llava import InternVLLlavaProcessor
from .processing.tiling import select_grid
from .processing.tokenization import load_tokenizer
from .processing.tokenization_dual_encoder import InternVLDualEncoderTokenizer
from .processing.tokenization_internlm2 import InternLM2Tokenizer
from .processing.video_processing import InternVLVideoProcessor
from .registry import register

__version__ = "0.1.0"

register()

__all__ = [
    "InternLM2Config",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternLM2Tokenizer",
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
