# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of formats on disk and their classes. `register()` registers it with transformers.

A new format is a new row. `internvl` and `internvl_vision` are types of upstream transformers: ours replace them,
unless `TRANSFORMERS_INTERNVL_KEEP_STOCK=1` is set when the package is imported.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transformers import (
    AutoBackbone,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoModelForPreTraining,
    AutoModelForSemanticSegmentation,
    AutoModelForZeroShotImageClassification,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightTransform
from transformers.models.auto import modeling_auto, processing_auto, tokenization_auto
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING

from .backend_classes import BackendClasses
from .conversion.weights import mappings
from .internvl_chat import InternVLChatModel
from .internvl_llava import InternVLLlavaForConditionalGeneration
from .internvl_reward import InternVLRewardModel
from .modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from .modeling.dual_encoder.model import InternVLDualEncoderModel
from .modeling.dual_encoder.pretraining import InternVLDualEncoderForPreTraining
from .modeling.interns1 import (
    InternS1Config,
    InternS1ForConditionalGeneration,
    InternS1Model,
    InternS1VisionConfig,
    InternS1VisionModel,
)
from .modeling.internvl.configuration import InternVLConfig
from .modeling.internvl.model import InternVLForConditionalGeneration, InternVLModel
from .modeling.language_models import InternLM2Config, InternLM2ForCausalLM, InternLM2Model
from .modeling.original.configuration_chat import InternVLChatConfig
from .modeling.original.configuration_llava import InternVLLlavaConfig
from .modeling.pretrained.upstream import backbone_from_pretrained, list_video_processors
from .modeling.unsupported import unsupported_configs
from .modeling.vision.backbone import InternVisionBackbone, InternVLVisionBackbone
from .modeling.vision.configuration import InternVisionConfig, InternVisionPatchConfig, InternVLVisionConfig
from .modeling.vision.heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .modeling.vision.model import InternVisionModel, InternVisionPatchModel, InternVLVisionModel
from .modeling.visual_experts import (
    InternLM2VEConfig,
    InternLM2VEForCausalLM,
    InternLM2VEModel,
    LlamaVEConfig,
    LlamaVEModel,
)
from .processing.images.image_processing import InternVLImageProcessor
from .processing.images.image_processing_llava import InternVLLlavaImageProcessor
from .processing.processor import InternVLProcessor
from .processing.processor_dual_encoder import InternVLDualEncoderProcessor
from .processing.processor_llava import InternVLLlavaProcessor
from .processing.tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from .processing.tokenizers.internlm2 import InternLM2Tokenizer
from .processing.videos.video_processing import InternVLVideoProcessor

KEEP_UPSTREAM = "TRANSFORMERS_INTERNVL_KEEP_STOCK"

_GENERATING = (AutoModelForImageTextToText, AutoModelForMultimodalLM)

# What the Auto classes load for a configuration: the class that `architectures` names, else the first.
ModelClasses = tuple[type[PreTrainedModel], ...]
CHAT_MODELS: ModelClasses = (InternVLChatModel, InternVLRewardModel)


@dataclass(frozen=True)
class Family:
    """One format on disk.

    Attributes:
        config: its configuration class; `config.model_type` is the type in `config.json`.
        models: Auto class -> model class, or several, of which `architectures` in `config.json` names one; the first
            serves folders that name none of them.
        weights: returns the mapping of its weight names; called for every model.
        tokenizer: its own tokenizer class.
        tokenizer_holds: whether that class is also used for folders whose `tokenizer_config.json` names another one.
        processor: the processor of texts, images and videos.
        image_processor, video_processor: the processors of images and videos, for folders that name none.
        in_upstream: whether upstream transformers has the type, too.
    """

    config: type[PretrainedConfig]
    models: Mapping[type, type[PreTrainedModel] | ModelClasses]
    weights: Callable[[], list[WeightTransform]] | None = None
    tokenizer: type | None = None
    tokenizer_holds: bool = False
    processor: type | None = None
    image_processor: type | None = None
    video_processor: type | None = None
    in_upstream: bool = False

    def classes(self, auto_class: type) -> ModelClasses:
        """The model classes of an Auto class; empty where there is none."""
        found = self.models.get(auto_class, ())
        return found if isinstance(found, tuple) else (found,)


FAMILIES = (
    Family(
        InternVLChatConfig,
        dict.fromkeys((AutoModel, AutoModelForCausalLM, *_GENERATING), CHAT_MODELS),
        weights=mappings.internvl_chat,
        processor=InternVLProcessor,
        image_processor=InternVLImageProcessor,
        video_processor=InternVLVideoProcessor,
    ),
    Family(
        InternVLLlavaConfig,
        {AutoModel: InternVLLlavaForConditionalGeneration, AutoModelForCausalLM: InternVLLlavaForConditionalGeneration}
        | dict.fromkeys(_GENERATING, InternVLLlavaForConditionalGeneration),
        weights=mappings.internvl_llava,
        processor=InternVLLlavaProcessor,
        image_processor=InternVLLlavaImageProcessor,
    ),
    Family(
        InternVisionConfig,
        {
            AutoModel: InternVisionModel,
            AutoModelForImageClassification: InternVisionForImageClassification,
            AutoModelForSemanticSegmentation: InternVisionForSemanticSegmentation,
            AutoBackbone: InternVisionBackbone,
        },
        weights=mappings.intern_vit,
    ),
    Family(InternVisionPatchConfig, {AutoModel: InternVisionPatchModel}, weights=mappings.intern_vit),
    # The mapping of its tower is a row of its own; all other names are the original ones. Original folders also have
    # the type `internvl`: `InternVLConfig.from_dict` distinguishes them.
    Family(
        InternVLDualEncoderConfig,
        {
            AutoModel: InternVLDualEncoderModel,
            AutoModelForPreTraining: InternVLDualEncoderForPreTraining,
            AutoModelForZeroShotImageClassification: InternVLDualEncoderModel,
        },
        tokenizer=InternVLDualEncoderTokenizer,
        tokenizer_holds=True,
        processor=InternVLDualEncoderProcessor,
        image_processor=CLIPImageProcessorPil,
    ),
    Family(
        InternLM2Config,
        {AutoModel: InternLM2Model, AutoModelForCausalLM: InternLM2ForCausalLM},
        weights=mappings.internlm2,
        tokenizer=InternLM2Tokenizer,
    ),
    Family(
        InternLM2VEConfig,
        {AutoModel: InternLM2VEModel, AutoModelForCausalLM: InternLM2VEForCausalLM},
        weights=mappings.internlm2_ve,
        tokenizer=InternLM2Tokenizer,
    ),
    Family(LlamaVEConfig, {AutoModel: LlamaVEModel}),
    Family(
        InternS1Config,
        {AutoModel: InternS1Model} | dict.fromkeys(_GENERATING, InternS1ForConditionalGeneration),
        weights=mappings.internvl,
        processor=InternVLProcessor,
        image_processor=InternVLImageProcessor,
        video_processor=InternVLVideoProcessor,
    ),
    Family(InternS1VisionConfig, {AutoModel: InternS1VisionModel}),
    Family(
        InternVLConfig,
        {AutoModel: InternVLModel} | dict.fromkeys(_GENERATING, InternVLForConditionalGeneration),
        weights=mappings.internvl,
        processor=InternVLProcessor,
        image_processor=InternVLImageProcessor,
        video_processor=InternVLVideoProcessor,
        in_upstream=True,
    ),
    Family(
        InternVLVisionConfig,
        {
            AutoModel: InternVLVisionModel,
            AutoModelForImageClassification: InternVLVisionForImageClassification,
            AutoModelForSemanticSegmentation: InternVLVisionForSemanticSegmentation,
            AutoBackbone: InternVLVisionBackbone,
        },
        in_upstream=True,
    ),
)


def register() -> None:
    """Register every family of the table with transformers. Called once, when the package is imported."""
    keep_upstream = os.environ.get(KEEP_UPSTREAM, "").lower() in ("1", "true", "yes")
    for family in FAMILIES:
        if not (family.in_upstream and keep_upstream):
            _register(family)
    for config in unsupported_configs():
        AutoConfig.register(config.model_type, config, exist_ok=True)
    list_video_processors()
    AutoBackbone.from_pretrained = classmethod(backbone_from_pretrained)


def _register(family: Family) -> None:
    """Register one row. `tests/test_registry.py` lists every private table of transformers that this changes."""
    config, model_type = family.config, family.config.model_type
    AutoConfig.register(model_type, config, exist_ok=True)
    for auto_class, model in family.models.items():
        auto_class.register(config, model, exist_ok=True)  # type: ignore[attr-defined]
    if family.weights is not None:
        register_checkpoint_conversion_mapping(model_type, family.weights(), overwrite=True)
    if family.tokenizer is not None:
        AutoTokenizer.register(config, tokenizer_class=family.tokenizer, exist_ok=True)
    if family.tokenizer is not None and family.tokenizer_holds:
        # Upstream uses the class that a folder names, unless the type is in both of these tables.
        tokenization_auto.TOKENIZER_MAPPING_NAMES[model_type] = family.tokenizer.__name__
        tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add(model_type)
    if family.image_processor is not None:
        # `AutoImageProcessor.register` would first look up upstream's classes, and warn that torchvision is missing.
        images = BackendClasses({"pil": family.image_processor, "torchvision": family.image_processor})
        IMAGE_PROCESSOR_MAPPING.register(config, images, exist_ok=True)
    if family.video_processor is not None:
        videos = BackendClasses({"pil": family.video_processor, "torchvision": family.video_processor})
        VIDEO_PROCESSOR_MAPPING.register(config, videos, exist_ok=True)
    if family.processor is not None:
        # Upstream looks up the name in `processor_config.json` in its own table first: without the row of `internvl`
        # it finds the class of that name that is registered here.
        processing_auto.PROCESSOR_MAPPING_NAMES.pop(model_type, None)
        AutoProcessor.register(config, family.processor, exist_ok=True)
    for place, model in enumerate(family.classes(AutoModelForImageTextToText)):
        # The server of transformers looks a model type up in these dictionaries, which `register` does not fill.
        if place == 0:
            modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[model_type] = model.__name__
            modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[model_type] = model.__name__
        # `Trainer` shifts the labels for label smoothing if the class is named here. The key is no model type, so no
        # model is loaded by it.
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model.__name__] = model.__name__
    for model in family.classes(AutoModelForSemanticSegmentation):
        # The pipeline for masks reads this table. The key is no model type: for those upstream loads its own class.
        modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[model.__name__] = model.__name__


__all__ = ["FAMILIES", "Family", "register"]
