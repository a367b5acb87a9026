# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configurations of InternViT: `InternVLVisionConfig` (canonical), `InternVisionConfig` (original layout).

Every field that is added to upstream's `InternVLVisionConfig` has a default under which the tower behaves as
upstream's does. Source of the original layout: `configuration_intern_vit.py` of the released checkpoints.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import BackboneConfigMixin
from transformers import InternVLVisionConfig as UpstreamInternVLVisionConfig

from ..limits import check_sizes
from ..original_keys import SILENT, VISION_KEYS, original_value

CLASSIFIER_POOLINGS = ("cls_patch_concat", "attention_pooling")


PYRAMID_LEVELS = 4


# What heads and backbones add to a tower's configuration: written only where it differs from these.
_HEAD_DEFAULTS = {
    "classifier_pooling": "cls_patch_concat",
    "classifier_pool_heads": None,
    "semantic_loss_ignore_index": 255,
    "use_fpn": False,
    "out_features": None,
    "out_indices": None,
}


@strict
class InternVLVisionConfig(BackboneConfigMixin, UpstreamInternVLVisionConfig):
    r"""InternViT as upstream transformers configures it (`model_type: internvl_vision`), with stochastic depth, patch
    masking and heads.

    Args:
        drop_path_rate (`float`, defaults to 0.0):
            Probability with which the last block is dropped per sample in training; block `i` of `n` is dropped with
            `drop_path_rate * i / (n - 1)` (arXiv:1603.09382). Upstream has no such field: 0 is its behaviour.
        patch_dropout (`float`, defaults to 0.0):
            Share of every image's patches that the tower does not see in training; the choice is random. They are
            dropped behind the position table, the class token never (arXiv:2212.00794; 0.5 in stage 1 of InternVL-C).
            May be changed in the middle of a training. Upstream has no such field: 0 is its behaviour.
        classifier_pooling (`str`, defaults to `"cls_patch_concat"`):
            What a classifier sees: `"cls_patch_concat"`, the class token and the mean of the patches, or
            `"attention_pooling"`, one vector that attends to all tokens. The original `CLS_TARGET`.
        classifier_pool_heads (`int`, *optional*):
            Heads of that attention; `None` takes the tower's (`num_attention_heads`).
        semantic_loss_ignore_index (`int`, defaults to 255): Label of pixels that a segmentation loss leaves out.
        use_fpn (`bool`, defaults to `False`):
            Whether a backbone turns its four feature maps into a pyramid: four, two, one times and half the patch
            grid. The original `with_fpn`.
        out_features (`list[str]`), out_indices (`list[int]`), *optional*:
            Which layers a backbone returns, or a segmentation head reads: `"stem"` (0) is what comes into the first
            block, `"stage3"` (3) what comes out of the third. `None` is the last one, or with `use_fpn` the end of
            every quarter.

    All other fields are upstream's.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["hidden_states", "attentions"]
    base_model_fsdp_plan: ClassVar[dict[Any, str]] = {"encoder.layer.*": "free_full_weight"}
    # The 6B towers normalize query and key over all heads, of which there are 25: no rank can do with some of them. So
    # the weights of the attention are sharded and their outputs gathered; the MLP is sharded throughout.
    base_model_tp_plan = {
        "encoder.layer.*.attention.q_proj": "colwise_gather_output",
        "encoder.layer.*.attention.k_proj": "colwise_gather_output",
        "encoder.layer.*.attention.v_proj": "colwise_gather_output",
        "encoder.layer.*.attention.projection_layer": "rowwise_split_input",
        "encoder.layer.*.mlp.fc1": "colwise",
        "encoder.layer.*.mlp.fc2": "rowwise",
    }

    drop_path_rate: float | int = 0.0
    patch_dropout: float | int = 0.0
    classifier_pooling: str = "cls_patch_concat"
    classifier_pool_heads: int | None = None
    semantic_loss_ignore_index: int = 255
    use_fpn: bool = False
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers'. Raises `ValueError` for a tower in the original layout, whose fields have other names."""
        if config_dict.get("model_type") == "intern_vit_6b" != cls.model_type:
            raise ValueError(
                "This is an InternViT in the original layout (`model_type: intern_vit_6b`): load it with "
                "`AutoModel` or `InternVisionModel`. `internvl convert FOLDER NEW --to hf` makes one in the layout of "
                "this class."
            )
        return super().from_dict(config_dict, **kwargs)

    def __post_init__(self, **kwargs: Any) -> None:
        check_sizes({**vars(self), **kwargs})
        layers = {key: kwargs.pop(key, None) for key in ("out_features", "out_indices")}
        kwargs.pop("stage_names", None)  # derived
        super().__post_init__(**kwargs)
        if any(layers.values()):
            self.set_output_features_output_indices(**layers)
        if not 0.0 <= self.drop_path_rate < 1.0:
            raise ValueError(f"`drop_path_rate` is a probability in [0, 1), got {self.drop_path_rate}.")
        if not 0.0 <= self.patch_dropout < 1.0:
            raise ValueError(f"`patch_dropout` is a share in [0, 1), got {self.patch_dropout}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be a multiple of `num_attention_heads` "
                f"({self.num_attention_heads})."
            )
        if self.classifier_pooling not in CLASSIFIER_POOLINGS:
            raise ValueError(
                f"`classifier_pooling` must be one of {CLASSIFIER_POOLINGS}, got {self.classifier_pooling!r}."
            )
        if self.classifier_pool_heads is not None and (
            self.classifier_pool_heads < 1 or self.hidden_size % self.classifier_pool_heads
        ):
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be a multiple of `classifier_pool_heads`, got "
                f"{self.classifier_pool_heads}."
            )

    @property
    def stage_names(self) -> list[str]:
        """Names of the layers that `out_features` may choose from."""
        return ["stem", *(f"stage{index}" for index in range(1, self.num_hidden_layers + 1))]

    @property
    def chooses_layers(self) -> bool:
        """Whether `out_features` or `out_indices` was given; otherwise both say what `None` stands for."""
        return self._out_features is not None

    @property
    def out_features(self) -> list[str]:
        """Names of the layers that a backbone returns, or a segmentation head reads."""
        return self._out_features or [self.stage_names[index] for index in self.out_indices]

    @out_features.setter
    def out_features(self, names: list[str] | None) -> None:
        self.set_output_features_output_indices(names, None)

    @property
    def out_indices(self) -> list[int]:
        """The same by number."""
        quarters = [self.num_hidden_layers * part // PYRAMID_LEVELS for part in range(1, PYRAMID_LEVELS + 1)]
        return self._out_indices or (quarters if self.use_fpn else quarters[-1:])

    @out_indices.setter
    def out_indices(self, indices: list[int] | tuple[int, ...] | None) -> None:
        self.set_output_features_output_indices(None, indices)

    def to_dict(self) -> dict[str, Any]:
        """The fields; those of heads and backbones only where they differ from the defaults."""
        fields = super().to_dict()
        plain = _HEAD_DEFAULTS.items()
        return {key: value for key, value in fields.items() if (key, value) not in plain}


@strict
class InternVisionConfig(InternVLVisionConfig):
    r"""InternViT in the original format (`model_type: intern_vit_6b`, which the 300M models carry too).

    Reads and writes the original keys: `qkv_bias`, `qk_normalization`, `dropout`, `initializer_factor` stand for the
    canonical `attention_bias`, `use_qk_norm`, `hidden_dropout_prob`, `layer_scale_init_value`. The defaults are the
    original ones: InternViT-6B at 224 pixels. `use_flash_attn` is accepted and has no effect: choose with
    `attn_implementation`.
    """

    original_layout: ClassVar[bool] = True
    model_type = "intern_vit_6b"
    attribute_map = {original: canonical for canonical, original in VISION_KEYS.items()}

    hidden_size: int = 3200
    num_hidden_layers: int = 48
    num_attention_heads: int = 25
    intermediate_size: int = 12800
    use_qk_norm: bool = True
    attention_bias: bool = False
    norm_type: str = "rms_norm"
    image_size: int | list[int] | tuple[int, ...] = 224
    patch_size: int | list[int] | tuple[int, ...] = 14

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("auto_map", None)
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers'. A `use_flash_attn` that an Auto class passes is the model's, see `todays_arguments`."""
        asked = {key: kwargs.pop(key) for key in ("use_flash_attn",) if key in kwargs}
        loaded = super().from_dict(config_dict, **kwargs)
        return (loaded[0], loaded[1] | asked) if isinstance(loaded, tuple) else loaded

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: the original keys."""
        fields = {
            VISION_KEYS.get(key, key): original_value(key, value)
            for key, value in super().to_diff_dict().items()
            if key not in SILENT or value != SILENT[key]
        }
        if "dtype" in fields:
            fields["torch_dtype"] = fields.pop("dtype")
        return fields


@strict
class InternVisionPatchConfig(InternVisionConfig):
    """The tower of Mono-InternVL in the original format (`model_type: intern_vit_patch`): an InternViT without blocks.

    Only the embeddings of InternViT exist: `hidden_size`, `image_size`, `patch_size` and `num_channels` have a
    meaning. The released files carry the other fields of an InternViT along; they are kept on disk and ignored here.
    """

    model_type = "intern_vit_patch"

    def __post_init__(self, **kwargs: Any) -> None:
        self.num_hidden_layers, self.num_attention_heads = 0, 1
        super().__post_init__(**kwargs)


# `vision_config.model_type` of a chat model in the original format -> its tower; all other names mean InternViT.
TOWER_CONFIGS: dict[str, type[InternVisionConfig]] = {"intern_vit_patch": InternVisionPatchConfig}


__all__ = [
    "CLASSIFIER_POOLINGS",
    "InternVLVisionConfig",
    "InternVisionConfig",
    "InternVisionPatchConfig",
    "TOWER_CONFIGS",
]
