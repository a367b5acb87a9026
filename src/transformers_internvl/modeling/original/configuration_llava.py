# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-Chat v1 on disk: the configuration of LLaVA's code with an InternViT tower (`model_type: llava_llama`).

The file holds Vicuna's fields at its top level and the `mm_...` keys beside them. It says nothing about the tower but
its name, from which the original code derives the class, the size of images and, by loading it, all the rest. So does
this file, for the released names; sizes that a folder's weights or the tower's own folder tell come from there when
the model is loaded.

Source: `llava_llama.py`, `multimodal_encoder/clip_encoder.py` and `multimodal_projector/builder.py` of the original
LLaVA code.
"""

import copy
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from ...hub.config_values import tokens_per_tile
from ..dual_encoder.configuration import QLlamaConfig
from ..internvl.configuration import InternVLConfig
from ..original_keys import BOOKKEEPING, merge_into_source, original_value
from ..vision.configuration import InternVisionConfig
from .configuration_chat import canonical_config


@dataclass(frozen=True)
class Tower:
    """A kind of tower: what its name contains, and the projector that belongs to it."""

    spellings: tuple[str, ...]
    projector_type: str


TOWERS = (
    Tower(("intern_vit_6b", "internvit_6b", "InternViT-6B", "internvit6b"), "mlp2x_gelu"),
    Tower(("internvl_14b", "intern_vl_14b", "InternVL-14B", "internvl14b"), "two_mlp"),
)
ARCHITECTURE = "LlavaLlamaForCausalLM"
IMAGE_SIZE, LARGE_IMAGE_SIZE = 336, 448

# What a tower's name contains -> how it differs from InternViT-6B-224px; the first row that fits counts.
_RELEASES: tuple[tuple[str, dict[str, int]], ...] = (
    ("448px-V1-2", {"num_hidden_layers": 45, "image_size": 448}),
    ("448px-V1-5", {"num_hidden_layers": 45, "image_size": 448}),
    ("448px-V2_5", {"num_hidden_layers": 45, "image_size": 448}),
    ("448", {"image_size": 448}),
    ("", {}),
)
_TEXT_KEYS = {field.name for field in fields(LlamaConfig)} - {field.name for field in fields(PreTrainedConfig)}
_TEXT_KEYS |= {"rope_theta", "rope_scaling"}
_REQUIRED = ("mm_vision_tower", "mm_vision_select_layer")
_CHOOSABLE = ("mm_vision_tower", "force_image_size", "image_aspect_ratio", "vision_config", "middleware_config")
# Canonical fields that a file of this layout holds under another name, or not at all.
_DERIVED = (
    "downsample_ratio",
    "image_seq_length",
    "image_token_id",
    "middleware_config",
    "projector_hidden_act",
    "projector_type",
    "ps_version",
    "text_config",
    "vision_config",
    "vision_feature_layer",
    "vision_feature_select_strategy",
)
_OPTIONAL = {
    "rope_pos_id_version": "default",
    "vision_chunk_size": 16,
    "loss_reduction": "token",
    "force_image_size": None,
    "image_aspect_ratio": None,
}


@strict
class InternVLLlavaConfig(InternVLConfig):
    r"""InternVL-Chat v1 in LLaVA's layout (`model_type: llava_llama`): InternViT, an MLP, Vicuna.

    In memory it is an [`InternVLConfig`]: Llama's fields are read into `text_config`, `mm_vision_select_layer` into
    `vision_feature_layer`, `mm_projector_type` into `projector_type`. The defaults are those of
    InternVL-Chat-ViT-6B-Vicuna-7B's tower.

    Args:
        mm_vision_tower (`str`):
            Name or folder of the tower, InternViT-6B or InternVL-14B. From its spelling follow the projector, the size
            of images (448 where it contains "448", 336 elsewhere) and the sizes of the tower.
        mm_projector_type (`str`):
            `"mlp2x_gelu"`, or with InternVL-14B, whose QLLaMA gives further tokens, `"two_mlp"`.
        mm_vision_select_layer (`int`): Which hidden state of the tower feeds the projector, embeddings counted.
        mm_vision_select_feature (`str`): `"patch"`: without the class token.
        image_aspect_ratio (`str`, *optional*):
            `"pad"`: images are padded to a square first. None: their longer side is cropped.
        force_image_size (`int`, *optional*):
            Side of images in pixels, whatever the tower's name says. Not a key of the original code.
        vision_config, middleware_config (`dict`, *optional*):
            The tower, and the QLLaMA behind it, whatever names and weights say. Not keys of the original code.
        image_token_id (`int`, *optional*):
            Id that stands for an image token; None is the first one behind the vocabulary.

    Raises:
        ValueError: the tower is none of InternVL's, or an option that no release was trained with.
    """

    original_layout: ClassVar[bool] = True
    model_type = "llava_llama"
    sub_configs_defaults = {
        "text_config": LlamaConfig,
        "vision_config": InternVisionConfig,
        "middleware_config": SubConfigSpec(config_class=QLlamaConfig, optional=True),
    }

    text_config: Any = None
    vision_config: Any = None
    image_token_id: int | None = None
    downsample_ratio: float = 1.0
    projector_type: str = "mlp2x_gelu"
    vision_feature_layer: int | list[int] = -4
    tie_word_embeddings: bool = False
    mm_vision_tower: str = "OpenGVLab/InternViT-6B-224px"
    image_aspect_ratio: str | None = None
    force_image_size: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        source = kwargs.pop("_source", {})
        tower = _tower(self.mm_vision_tower)
        self.vision_feature_layer = kwargs.pop("mm_vision_select_layer", self.vision_feature_layer)
        self.projector_type = kwargs.pop("mm_projector_type", tower.projector_type)
        _refuse_options(self, tower, kwargs)
        for key in ("mm_hidden_size", "mm_vision_select_feature"):  # the tower's width, and what else would be refused
            kwargs.pop(key, None)
        if self.text_config is None:
            self.text_config = {key: kwargs.pop(key) for key in _TEXT_KEYS & kwargs.keys()}
            self.text_config["tie_word_embeddings"] = self.tie_word_embeddings
        self.tower_is_given = self.vision_config is not None
        if self.vision_config is None:
            self.vision_config = _released_sizes(self.mm_vision_tower)
        elif isinstance(self.vision_config, dict):
            self.vision_config = {k: v for k, v in self.vision_config.items() if k not in BOOKKEEPING}
        if self.projector_type == "two_mlp" and self.middleware_config is None:
            self.middleware_config = {}
        super().__post_init__(**kwargs)
        if getattr(self, "architectures", None) is None:
            self.architectures = [ARCHITECTURE]
        self.image_seq_length = self._tokens_per_image()
        if self.image_token_id is None:
            self.image_token_id = self.text_config.vocab_size
        self._source, self._as_read = source, self.text_config.to_dict()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers', with the dictionary kept for saving.

        Raises:
            ValueError: a key is missing that the original code cannot do without, either.
        """
        on_disk = {} if "text_config" in config_dict else config_dict  # our own `to_dict` has parts
        missing = [key for key in _REQUIRED if on_disk and key not in on_disk]
        if missing:
            raise ValueError(
                f"config.json says `model_type: llava_llama` but has no {' and no '.join(missing)}: it is not an "
                "InternVL-Chat v1 model. Load other LLaVA models in the layout of transformers (`model_type: llava`)."
            )
        chosen = {key: kwargs.pop(key) for key in _CHOOSABLE if key in kwargs}  # much follows from them
        return super().from_dict({**config_dict, **chosen, "_source": copy.deepcopy(on_disk)}, **kwargs)

    def _tokens_per_image(self) -> int:
        queries = 0 if self.middleware_config is None else self.middleware_config.num_query_token
        patches = self.tile_size // self.vision_config.patch_size[0]
        return queries + tokens_per_tile(patches, patches)

    @property
    def tile_size(self) -> int:
        """Side of an image in pixels."""
        return self.force_image_size or (LARGE_IMAGE_SIZE if "448" in self.mm_vision_tower else IMAGE_SIZE)

    def set_tower(self, vision_config: InternVisionConfig, middleware_config: QLlamaConfig | None = None) -> None:
        """Replace the sizes known from the tower's name by those of its folder or weights."""
        self.vision_config = vision_config
        if middleware_config is not None:
            self.middleware_config = middleware_config
        if self.middleware_config is not None:
            self.middleware_config.vision_hidden_size = vision_config.hidden_size
        self.image_seq_length = self._tokens_per_image()

    def to_canonical(self) -> InternVLConfig:
        """The same model as a canonical [`InternVLConfig`]."""
        return canonical_config(self)

    def to_dict(self) -> dict[str, Any]:
        """The canonical fields, without the private record of the folder that was read."""
        private = ("_source", "_as_read", "tower_is_given")
        return {key: value for key, value in super().to_dict().items() if key not in private}

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: LLaVA's keys, as they were read save what was changed."""
        now = super().to_diff_dict()
        for key in ("_source", "_as_read", "tower_is_given", *_DERIVED):
            now.pop(key, None)
        now = {key: value for key, value in now.items() if key not in _OPTIONAL or value != _OPTIONAL[key]}
        read = self._as_read if self._source else {}
        written = merge_into_source(self._source, read, self.text_config.to_dict(), {})
        written.update({key: original_value(key, value) for key, value in now.items()})
        written["architectures"] = [ARCHITECTURE]
        written["torch_dtype"] = written.pop("dtype", written.get("torch_dtype"))
        written["mm_vision_select_layer"] = self.vision_feature_layer
        written["mm_projector_type"] = self.projector_type
        written.setdefault("mm_vision_select_feature", "patch")
        written["mm_hidden_size"] = (self.middleware_config or self.vision_config).hidden_size
        if self.image_token_id != self.text_config.vocab_size:
            written["image_token_id"] = self.image_token_id
        named = InternVisionConfig(**_released_sizes(self.mm_vision_tower))
        if self.tower_is_given or self.vision_config.to_diff_dict() != named.to_diff_dict():
            for part in ("vision_config", "middleware_config"):
                if getattr(self, part) is not None:
                    written[part] = getattr(self, part).to_diff_dict()
                    self.dict_dtype_to_str(written[part])
        return {key: value for key, value in written.items() if value is not None or key in self._source}


def _tower(name: str) -> Tower:
    for tower in TOWERS:
        if any(spelling in name for spelling in tower.spellings):
            return tower
    known = ", ".join(spelling for tower in TOWERS for spelling in tower.spellings)
    raise ValueError(
        f"Unsupported variant of `llava_llama`: the tower `mm_vision_tower` is {name!r}, which is none of "
        f"InternVL-Chat v1 (their names contain one of {known}). Load other LLaVA models in the layout of "
        "transformers (`model_type: llava`)."
    )


def _released_sizes(name: str) -> dict[str, int]:
    return dict(next(sizes for part, sizes in _RELEASES if part in name))


def _refuse_options(config: InternVLLlavaConfig, tower: Tower, options: dict[str, Any]) -> None:
    """Stop at options of LLaVA's code that no InternVL-Chat v1 model uses."""
    supported = {
        "mm_projector_type": (config.projector_type, (tower.projector_type,)),
        "mm_vision_select_feature": (options.get("mm_vision_select_feature", "patch"), ("patch",)),
        "image_aspect_ratio": (config.image_aspect_ratio, ("pad", "square", None)),
        "mm_use_im_start_end": (bool(options.get("mm_use_im_start_end")), (False,)),
    }
    for key, (value, known) in supported.items():
        if value not in known:
            raise ValueError(
                f"Unsupported variant of `llava_llama`: `{key}` is {value!r}. With the tower "
                f"{config.mm_vision_tower!r} InternVL-Chat v1 has {' or '.join(map(repr, known))}."
            )


__all__ = ["TOWERS", "InternVLLlavaConfig"]
