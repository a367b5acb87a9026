# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The one table: which classes serve which format on disk. `register()` hands it to transformers.

A new format is a new row. `internvl` and `internvl_vision` are stock transformers' own types: ours take their place,
unless `TRANSFORMERS_INTERNVL_KEEP_STOCK=1` is set when the package is imported.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers
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
from .modeling.dual_encoder.configuration import InternVLDualEncoderConfig
from .modeling.dual_encoder.model import InternVLDualEncoderModel
from .modeling.dual_encoder.pretraining import InternVLDualEncoderForPreTraining
from .modeling.internvl.configuration import InternVLConfig
from .modeling.internvl.model import InternVLForConditionalGeneration, InternVLModel
from .modeling.language_models import InternLM2Config, InternLM2ForCausalLM, InternLM2Model
from .modeling.original.configuration_chat import InternVLChatConfig
from .modeling.original.configuration_llava import InternVLLlavaConfig
from .modeling.vision.backbone import InternVisionBackbone, InternVLVisionBackbone
from .modeling.vision.configuration import InternVisionConfig, InternVLVisionConfig
from .modeling.vision.heads import (
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
)
from .modeling.vision.model import InternVisionModel, InternVLVisionModel
from .processing.images.image_processing import InternVLImageProcessor
from .processing.images.image_processing_llava import InternVLLlavaImageProcessor
from .processing.processor import InternVLProcessor
from .processing.processor_dual_encoder import InternVLDualEncoderProcessor
from .processing.processor_llava import InternVLLlavaProcessor
from .processing.tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from .processing.tokenizers.internlm2 import InternLM2Tokenizer
from .processing.videos.video_processing import InternVLVideoProcessor

KEEP_STOCK = "TRANSFORMERS_INTERNVL_KEEP_STOCK"

_GENERATING = (AutoModelForImageTextToText, AutoModelForMultimodalLM)


@dataclass(frozen=True)
class Family:
    """One format on disk.

    Attributes:
        config: its configuration; `config.model_type` is what stands in `config.json`.
        models: Auto class -> model class.
        weights: the rows that map its weight names, read anew for every model.
        tokenizer: a tokenizer class of its own.
        tokenizer_holds: whether that class serves folders, too, whose `tokenizer_config.json` names another one.
        processor: text, pictures and videos to inputs.
        image_processor, video_processor: what serves pictures and videos alone, if a folder does not say.
        from_stock: whether stock transformers knows the type too.
    """

    config: type[PretrainedConfig]
    models: dict[type, type[PreTrainedModel]]
    weights: Callable[[], list[WeightTransform]] | None = None
    tokenizer: type | None = None
    tokenizer_holds: bool = False
    processor: type | None = None
    image_processor: type | None = None
    video_processor: type | None = None
    from_stock: bool = False


FAMILIES = (
    Family(
        InternVLChatConfig,
        {AutoModel: InternVLChatModel, AutoModelForCausalLM: InternVLChatModel}
        | dict.fromkeys(_GENERATING, InternVLChatModel),
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
    # Its tower brings its own rows for the weights; all other names are the authors'. The authors' folders are of type
    # `internvl`, too: `InternVLConfig.from_dict` tells them apart.
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
        InternVLConfig,
        {AutoModel: InternVLModel} | dict.fromkeys(_GENERATING, InternVLForConditionalGeneration),
        weights=mappings.internvl,
        processor=InternVLProcessor,
        image_processor=InternVLImageProcessor,
        video_processor=InternVLVideoProcessor,
        from_stock=True,
    ),
    Family(
        InternVLVisionConfig,
        {
            AutoModel: InternVLVisionModel,
            AutoModelForImageClassification: InternVLVisionForImageClassification,
            AutoModelForSemanticSegmentation: InternVLVisionForSemanticSegmentation,
            AutoBackbone: InternVLVisionBackbone,
        },
        from_stock=True,
    ),
)


def register() -> None:
    """Register every family of the table with transformers. Called once, when the package is imported."""
    keep_stock = os.environ.get(KEEP_STOCK, "").lower() in ("1", "true", "yes")
    for family in FAMILIES:
        if not (family.from_stock and keep_stock):
            _register(family)
    # Without torchvision the top level has a placeholder here, at which stock's search for classes by name ends in an
    # AttributeError; the table itself needs no torchvision.
    transformers.VIDEO_PROCESSOR_MAPPING = VIDEO_PROCESSOR_MAPPING
    AutoBackbone.from_pretrained = classmethod(_backbone_from_pretrained)


def _backbone_from_pretrained(cls: type, name: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
    """`AutoBackbone.from_pretrained` for folders, and for Hub ids as of every other Auto class.

    Stock's first asks the Hub whether there is such a repository, without the caller's token and even offline, and
    takes what it does not find for a model of timm. Of timm's own names, which have no slash, stock takes care.
    """
    asks_the_hub = AutoBackbone.__base__
    if not os.path.isdir(name) and "/" not in str(name):
        return asks_the_hub.from_pretrained.__func__(cls, name, *args, **kwargs)
    kwargs.pop("use_timm_backbone", None)
    opener = asks_the_hub.__base__
    return opener.from_pretrained.__func__(cls, name, *args, **kwargs)


def _register(family: Family) -> None:
    """One row. `tests/test_registry.py` names every private table of transformers that is written here."""
    config, model_type = family.config, family.config.model_type
    AutoConfig.register(model_type, config, exist_ok=True)
    for auto_class, model in family.models.items():
        auto_class.register(config, model, exist_ok=True)  # type: ignore[attr-defined]
    if family.weights is not None:
        register_checkpoint_conversion_mapping(model_type, family.weights(), overwrite=True)
    if family.tokenizer is not None:
        AutoTokenizer.register(config, tokenizer_class=family.tokenizer, exist_ok=True)
    if family.tokenizer is not None and family.tokenizer_holds:
        # Stock takes the class that a folder names, unless it knows one for the type and knows that folders err.
        tokenization_auto.TOKENIZER_MAPPING_NAMES[model_type] = family.tokenizer.__name__
        tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS.add(model_type)
    if family.image_processor is not None:
        # `AutoImageProcessor.register` would first look up stock's classes, and warn that torchvision is missing.
        images = BackendClasses({"pil": family.image_processor, "torchvision": family.image_processor})
        IMAGE_PROCESSOR_MAPPING.register(config, images, exist_ok=True)
    if family.video_processor is not None:
        videos = BackendClasses({"pil": family.video_processor, "torchvision": family.video_processor})
        VIDEO_PROCESSOR_MAPPING.register(config, videos, exist_ok=True)
    if family.processor is not None:
        # Stock finds a processor by the name in `processor_config.json`, its own table first: the row of `internvl`
        # has to go for the class of that name that is registered here to be found.
        processing_auto.PROCESSOR_MAPPING_NAMES.pop(model_type, None)
        AutoProcessor.register(config, family.processor, exist_ok=True)
    if AutoModelForImageTextToText in family.models:
        # The server of transformers looks a model type up in these dictionaries, which `register` does not fill.
        name = family.models[AutoModelForImageTextToText].__name__
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[model_type] = name
        modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES[model_type] = name
        # `Trainer` smooths the labels of the next tokens if a class is named here, else those of the same places. The
        # key is no type, so that nobody loads by it.
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name] = name
    if AutoModelForSemanticSegmentation in family.models:
        # So does the pipeline of masks. The key is no type: of one of its own stock would look for its own class.
        name = family.models[AutoModelForSemanticSegmentation].__name__
        modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES[name] = name


__all__ = ["FAMILIES", "Family", "register"]
