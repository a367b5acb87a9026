# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The original configurations: `intern_vit_6b` (InternViT alone) and `internvl_chat` (V1-1 to 3.5), read and written.

Both are the canonical configurations under the original names. In memory they carry the canonical fields, so the
models need not know them; on disk they carry the original keys, so the original code and the engines that follow it
read what we save. A folder that is read and saved again keeps every key it had, also the ones that mean nothing here
(`spec` of the release): only fields that were changed in between are rewritten.

Source: `configuration_intern_vit.py` and `configuration_internvl_chat.py` of the released checkpoints.
"""

import copy
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from ...hub.config_values import tokens_per_tile
from ..internvl.configuration import InternVLConfig, InternVLVisionConfig
from ..original_keys import BOOKKEEPING, VISION_KEYS, OriginalKeysMixin, as_source
from ..vision.configuration import TOWER_CONFIGS, InternVisionConfig


@dataclass(frozen=True)
class LanguageModel:
    """What the original code does differently for a language model; the key of `LANGUAGE_MODELS` is its class name.

    `series_3_5`: the 3.5 code obeys `llm_config.tie_word_embeddings` and weighs labelled tokens by the square rule,
        while
    the code of 1.1 to 3.0 forces the embeddings apart and takes the plain mean.
    `saved_as`: the `model_type` in original files, if it is another one.
    """

    model_type: str
    series_3_5: bool = False
    saved_as: str | None = None


# `llm_config.architectures[0]`, which the original code dispatches on -> what it is here. A language model is a row.
LANGUAGE_MODELS = {
    "LlamaForCausalLM": LanguageModel("llama"),
    "InternLM2ForCausalLM": LanguageModel("internlm2"),
    "InternLM2VEForCausalLM": LanguageModel("internlm2_ve", saved_as="internlm2"),  # Mono-InternVL
    "InternLM3ForCausalLM": LanguageModel("internlm3"),
    "Phi3ForCausalLM": LanguageModel("phi3"),
    "Qwen2ForCausalLM": LanguageModel("qwen2"),
    "Qwen3ForCausalLM": LanguageModel("qwen3", series_3_5=True),
    "Qwen3MoeForCausalLM": LanguageModel("qwen3_moe", series_3_5=True),
    "GptOssForCausalLM": LanguageModel("gpt_oss", series_3_5=True),
}

# `model_type` of a tower in the original format -> the name of its class there.
TOWER_ARCHITECTURES = {"intern_vit_6b": "InternVisionModel", "intern_vit_patch": "InternVisionPatchModel"}
CHAT_ARCHITECTURE = "InternVLChatModel"  # of a configuration that names no class

# Former name of a rotary scaling -> present name.
_ROPE_NAMES = {"su": "longrope"}
# Rotary scalings that the V2PE code writes, with factor 1: none.
_NO_SCALING = ("v2pe", "new")

# Language models that are Llama under another name -> their type where the weights have Llama's names.
_CANONICAL_TYPES = {"internlm2": "llama", "internlm2_ve": "llama_ve"}

# Canonical field -> the original key.
_CHAT_KEYS = {"vision_feature_layer": "select_layer"}

# What a chat configuration and the canonical one have in common.
CANONICAL_FIELDS = (
    "image_token_id",
    "image_seq_length",
    "downsample_ratio",
    "projector_hidden_act",
    "vision_feature_layer",
    "tie_word_embeddings",
    "ps_version",
    "vision_chunk_size",
    "loss_reduction",
    "projector_type",
    "middleware_config",
    "flash_mode",
    "flash_relative_threshold",
    "flash_absolute_threshold",
    "rope_pos_id_version",
    "rope_pos_id_stride",
    "dtype",
)


@strict
class InternVLChatConfig(OriginalKeysMixin, InternVLConfig):
    r"""A chat model in the original format (`model_type: internvl_chat`): InternVL-Chat-V1-1 to InternVL 3.5.

    In memory it is an [`InternVLConfig`]: `llm_config` is read into `text_config`, `select_layer` into
    `vision_feature_layer`. `save_pretrained` writes the original keys back.

    Args:
        llm_config (`dict`):
            Configuration of the language model. `architectures[0]` decides which one it is.
        select_layer (`int`, defaults to -1):
            Which hidden state of the tower feeds the projector, embeddings counted: -1 is the last block's output.
        ps_version (`str`, defaults to `"v1"`):
            Pixel shuffle; a config without the key is an early one and means `"v1"`.
        force_image_size (`int`, *optional*):
            Side of a tile in pixels; `None` takes the tower's `image_size`.
        dynamic_image_size (`bool`), use_thumbnail (`bool`), min_dynamic_patch (`int`), max_dynamic_patch (`int`):
            Tiling: whether, with a thumbnail or not, and between how many tiles.
        pad2square (`bool`): Whether an image is padded to a square before it is resized (no tiling).
        template (`str`, *optional*): Name of the conversation template.
        system_message (`str`, *optional*): System message in place of the template's own; `None` keeps the template's.
        image_token_id (`int`, *optional*):
            Id of `<IMG_CONTEXT>`. The released `config.json` files do not hold it: the model's `from_pretrained` reads
            it from the tokenizer files beside them. One that was set here is saved.
        loss_reduction (`str`, *optional*): As in [`InternVLConfig`]; `None` takes what the series was trained with.
        tie_word_embeddings (`bool`):
            Not an argument: false up to series 3.0 whatever the file says, `llm_config`'s own from 3.5 on.

    Raises:
        ValueError: for a language model that none of the original releases uses (`LANGUAGE_MODELS` lists the known
            ones).
    """

    model_type = "internvl_chat"
    original_layout: ClassVar[bool] = True
    original_parts = {"text_config": {}, "vision_config": VISION_KEYS}
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
        "vision_config": InternVisionConfig,
    }

    image_token_id: int | None = None
    ps_version: str = "v1"
    force_image_size: int | None = None
    dynamic_image_size: bool = False
    use_thumbnail: bool = False
    min_dynamic_patch: int = 1
    max_dynamic_patch: int = 6
    pad2square: bool = False
    template: str | None = None
    system_message: str | None = None
    use_backbone_lora: int = 0
    use_llm_lora: int = 0
    tie_word_embeddings: bool = False
    loss_reduction: str | None = None  # type: ignore[assignment]
    auto_map: dict = dataclass_field(
        default_factory=dict
    )  # trainers test `name in config.auto_map`; ours has no remote code

    def __post_init__(self, **kwargs: Any) -> None:
        self.auto_map = {}
        self.image_token_of_tokenizer: int | None = None  # what the model read there
        llm_config = kwargs.pop("llm_config", None)
        if isinstance(llm_config, PreTrainedConfig):
            llm_config = llm_config.to_dict()
        if llm_config is not None:
            self.text_config = _text_fields(llm_config)
            if self.rope_pos_id_version != "default":
                self.text_config["rope_scaling"] = None  # as the V2PE code replaces it, whatever the file says
        sources = {
            "text_config": as_source(llm_config, {}),
            "vision_config": as_source(self.vision_config, VISION_KEYS),
        }
        if "select_layer" in kwargs:
            self.vision_feature_layer = kwargs.pop("select_layer")
        if isinstance(self.vision_config, dict):
            fields = {k: v for k, v in self.vision_config.items() if k not in BOOKKEEPING}
            tower: Any = TOWER_CONFIGS.get(str(fields.get("model_type")), InternVisionConfig)
            self.vision_config = tower(**fields)
        kwargs.pop("hidden_size", None)  # the language model's, written again on saving
        follow_series = self.loss_reduction is None
        self.loss_reduction = self.loss_reduction or "token"
        super().__post_init__(**kwargs)
        if follow_series:
            self.loss_reduction = self._series_reduction
        self.architectures = self.architectures or [CHAT_ARCHITECTURE]
        self.vision_config.architectures = [TOWER_ARCHITECTURES[self.vision_config.model_type]]
        self.text_config.architectures = [_architecture(self.text_config.model_type)]
        self.text_config.tie_word_embeddings = self.series_3_5 and bool(self.text_config.tie_word_embeddings)
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        self.image_seq_length = self._tokens_per_tile()
        self._remember(sources)

    @property
    def series_3_5(self) -> bool:
        """Whether the language model is one of the 3.5 series, whose code differs in ties, loss and decoding."""
        return LANGUAGE_MODELS[_architecture(self.text_config.model_type)].series_3_5

    @property
    def answers_keep_special_tokens(self) -> bool:
        """Whether the original code decodes answers with their special tokens, before it cuts them at the stop."""
        return self.series_3_5 and self.flash_mode is None

    @property
    def _series_reduction(self) -> str:
        """How the original code of the series weighs labelled tokens; that of 3.5-Flash takes the plain mean again."""
        return "square" if self.series_3_5 and self.flash_mode is None else "token"

    def _tokens_per_tile(self) -> int:
        vision: Any = self.vision_config
        patches = self.tile_size // vision.patch_size[0]
        return tokens_per_tile(patches, patches, self.downsample_ratio)

    @property
    def llm_config(self) -> PreTrainedConfig:
        """The language model's configuration, by the original name."""
        return self.text_config

    @property
    def select_layer(self) -> int | list[int]:
        """Which hidden state of the tower feeds the projector, by the original name."""
        return self.vision_feature_layer

    @select_layer.setter
    def select_layer(self, value: int) -> None:
        self.vision_feature_layer = value

    @property
    def tile_size(self) -> int:
        """Side of a tile in pixels."""
        vision: Any = self.vision_config
        return self.force_image_size or vision.image_size[0]

    def to_canonical(self) -> InternVLConfig:
        """The same model as a canonical [`InternVLConfig`], without what is about tiling and prompts."""
        return canonical_config(self)

    def to_dict(self) -> dict[str, Any]:
        """The canonical fields."""
        private = ("auto_map", "image_token_of_tokenizer")
        return {key: value for key, value in super().to_dict().items() if key not in private}

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: the original keys, `llm_config` and `vision_config` as they were read."""
        fields = super().to_diff_dict()
        fields["llm_config"] = fields.pop("text_config")
        architecture = _architecture(self.text_config.model_type)
        fields["llm_config"]["architectures"] = [architecture]
        if LANGUAGE_MODELS[architecture].saved_as is not None:
            fields["llm_config"]["model_type"] = LANGUAGE_MODELS[architecture].saved_as
        tower = self.vision_config.architectures  # None of a tower that took another's place
        fields["vision_config"]["architectures"] = list(tower or [TOWER_ARCHITECTURES["intern_vit_6b"]])
        for key in ("image_seq_length", "vision_feature_select_strategy", "projector_hidden_act"):
            fields.pop(key, None)  # the original code has no such key: it derives them
        if self.image_token_id == self.image_token_of_tokenizer:
            fields.pop("image_token_id", None)  # nor this one; it stands in the tokenizer beside the weights
        fields.pop("image_token_of_tokenizer", None)
        derived = {"vision_chunk_size": 16, "projector_type": "mlp", "middleware_config": None}
        derived |= dict.fromkeys(("flash_mode", "flash_relative_threshold", "flash_absolute_threshold"))
        derived["loss_reduction"] = self._series_reduction
        if self.rope_pos_id_version == "default":
            derived |= {"rope_pos_id_version": "default", "rope_pos_id_stride": None}
        for key, value in derived.items():
            if fields.get(key) == value:
                fields.pop(key)
        fields["hidden_size"] = self.text_config.hidden_size
        return {_CHAT_KEYS.get(key, key): value for key, value in fields.items()}


def _text_fields(llm_config: dict[str, Any]) -> dict[str, Any]:
    """The original `llm_config` as the `text_config` of the model type that its `architectures[0]` names."""
    rope = llm_config.get("rope_scaling") if isinstance(llm_config, dict) else ""
    if rope is not None and not isinstance(rope, dict):
        raise ValueError(f"`llm_config` and its `rope_scaling` must be dictionaries, got {llm_config!r:.100}.")
    architecture = (llm_config.get("architectures") or [None])[0]
    if architecture is None:
        architecture = _architecture(llm_config.get("model_type", ""))
    if str(architecture) not in LANGUAGE_MODELS:
        raise ValueError(_unknown_language_model(str(architecture)))
    fields = copy.deepcopy({key: value for key, value in llm_config.items() if key not in BOOKKEEPING})
    rope = fields.get("rope_scaling")
    if rope and rope.get("type") in _NO_SCALING:
        fields["rope_scaling"] = None
    elif rope and rope.get("type") in _ROPE_NAMES:
        rope["rope_type"] = _ROPE_NAMES[rope.pop("type")]
    return {**fields, "model_type": LANGUAGE_MODELS[architecture].model_type}


def canonical_config(config: InternVLConfig) -> InternVLConfig:
    """A configuration in an original layout, as a canonical one: without what is about tiling and prompts.

    All of it is kept aside in `original_config`, for the way back, and the name of its class.
    """
    original = _without_bookkeeping(config.to_diff_dict(), "quantization_config")
    if config.architectures:
        original["architectures"] = list(config.architectures)
    return InternVLConfig(
        text_config=canonical_text_fields(config.text_config),
        vision_config={**canonical_tower_fields(config.vision_config), "architectures": ["InternVLVisionModel"]},
        **{key: copy.deepcopy(getattr(config, key)) for key in CANONICAL_FIELDS},
        original_config=original,
    )


def canonical_tower_fields(config: InternVLVisionConfig) -> dict[str, Any]:
    """The fields of a tower that both layouts know, by their canonical names."""
    keep = InternVLVisionConfig().to_dict().keys() - {"model_type"}
    return {key: value for key, value in config.to_dict().items() if key in keep}


def canonical_text_fields(config: PreTrainedConfig) -> dict[str, Any]:
    """What a language model's configuration says in a canonical one."""
    fields = _without_bookkeeping(config.to_dict())
    fields["model_type"] = _CANONICAL_TYPES.get(fields["model_type"], fields["model_type"])
    architecture = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(fields["model_type"])
    return fields if architecture is None else {**fields, "architectures": [architecture]}  # exporters go by it


def _without_bookkeeping(fields: dict[str, Any], *others: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in (*BOOKKEEPING, "architectures", *others)}


def _architecture(model_type: str) -> str:
    """The class name that the original code dispatches on, for a model type."""
    for architecture, row in LANGUAGE_MODELS.items():
        if row.model_type == model_type:
            return architecture
    raise ValueError(_unknown_language_model(model_type))


def _unknown_language_model(name: str) -> str:
    return (
        f"`llm_config` names the language model {name!r}, which no InternVL release uses: known are "
        f"{', '.join(LANGUAGE_MODELS)}. If this is a third-party model that borrows the `internvl_chat` type, load it "
        "with the code of its own repository."
    )


__all__ = [
    "CANONICAL_FIELDS",
    "InternVLChatConfig",
    "LANGUAGE_MODELS",
    "canonical_config",
    "canonical_text_fields",
    "canonical_tower_fields",
]
