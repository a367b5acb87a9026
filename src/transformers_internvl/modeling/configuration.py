# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The canonical configurations: stock's `InternVLVisionConfig` and `InternVLConfig`, as supersets.

Every field added here has a default under which the model behaves as stock's does, so a `config.json` written by
either library is read by the other. The authors' own formats are in `configuration_chat.py`.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.backbone_utils import BackboneConfigMixin
from transformers.configuration_utils import SubConfigSpec
from transformers.models.internvl.configuration_internvl import InternVLConfig as StockInternVLConfig
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig as StockInternVLVisionConfig

from .configuration_qllama import QLlamaConfig
from .limits import check_sizes

PIXEL_SHUFFLE_VERSIONS = ("v1", "v2")
LOSS_REDUCTIONS = ("token", "sample", "square")
CLASSIFIER_POOLINGS = ("cls_patch_concat", "attention_pooling")
PYRAMID_LEVELS = 4
PROJECTOR_TYPES = ("mlp", "mlp2x_gelu", "two_mlp")

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
class InternVLVisionConfig(BackboneConfigMixin, StockInternVLVisionConfig):
    r"""InternViT as stock transformers configures it (`model_type: internvl_vision`), with stochastic depth, patch
    masking and heads.

    Args:
        drop_path_rate (`float`, defaults to 0.0):
            Probability with which the last block is dropped per sample in training; block `i` of `n` is dropped with
            `drop_path_rate * i / (n - 1)` (arXiv:1603.09382). Stock has no such field: 0 is its behaviour.
        patch_dropout (`float`, defaults to 0.0):
            Share of every image's patches that the tower does not see in training; the choice is random. They are
            dropped behind the position table, the class token never (arXiv:2212.00794; 0.5 in stage 1 of InternVL-C).
            May be changed in the middle of a training. Stock has no such field: 0 is its behaviour.
        classifier_pooling (`str`, defaults to `"cls_patch_concat"`):
            What a classifier sees: `"cls_patch_concat"`, the class token and the mean of the patches, or
            `"attention_pooling"`, one vector that attends to all tokens. The authors' `CLS_TARGET`.
        classifier_pool_heads (`int`, *optional*):
            Heads of that attention; `None` takes the tower's (`num_attention_heads`).
        semantic_loss_ignore_index (`int`, defaults to 255): Label of pixels that a segmentation loss leaves out.
        use_fpn (`bool`, defaults to `False`):
            Whether a backbone turns its four feature maps into a pyramid: four, two, one times and half the patch
            grid. The authors' `with_fpn`.
        out_features (`list[str]`), out_indices (`list[int]`), *optional*:
            Which layers a backbone returns, or a segmentation head reads: `"stem"` (0) is what comes into the first
            block, `"stage3"` (3) what comes out of the third. `None` is the last one, or with `use_fpn` the end of
            every quarter.

    All other fields are stock's.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["hidden_states", "attentions"]
    base_model_fsdp_plan: ClassVar[dict[Any, str]] = {"encoder.layer.*": "free_full_weight"}
    # The 6B towers normalize query and key over all heads, of which there are 25: no rank can do with some of them. So
    # the weights of the attention are cut and their outputs gathered; the MLP is cut throughout.
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
        """As transformers'. Raises `ValueError` for a tower in the authors' layout, whose fields have other names."""
        if config_dict.get("model_type") == "intern_vit_6b" != cls.model_type:
            raise ValueError(
                "This is an InternViT in the authors' layout (`model_type: intern_vit_6b`): load it with "
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
class InternVLConfig(StockInternVLConfig):
    r"""InternVL as stock transformers configures it (`model_type: internvl`): tower, projector and language model.

    Args:
        ps_version (`str`, defaults to `"v2"`):
            Pixel shuffle. `"v1"` leaves the two axes of the shuffled grid swapped, as InternVL-Chat-V1-1 and V1-2 were
            trained; `"v2"` keeps rows as rows (stock's only behaviour).
        vision_chunk_size (`int`, *optional*, defaults to 16):
            Outside training, tiles pass through the tower at most this many at a time, so that memory is bounded by
            one chunk however many tiles or frames there are. `None` encodes all at once. The features are the same.
        loss_reduction (`str`, defaults to `"token"`):
            Weight of a labelled token in a row of `n` labelled tokens: `"token"` 1, `"sample"` 1/n, `"square"`
            1/sqrt(n) (InternVL 2.5, arXiv:2412.05271, section 3.4.2).
        projector_type (`str`, defaults to `"mlp"`):
            `"mlp"`: a norm and two linear layers (stock's only projector). `"mlp2x_gelu"`: without the norm.
            `"two_mlp"`: two of these, one for the queries of the middleware, one for the patches; the queries come
            first (InternVL-Chat v1, arXiv:2312.14238, section 3.4).
        middleware_config (`dict` or [`QLlamaConfig`], *optional*):
            QLLaMA behind the tower, whose queries become image tokens, too. With `projector_type="two_mlp"`, and only
            then.
        image_token_id (`int`, *optional*, defaults to 151667):
            As stock's; `None` in a folder that was converted without a tokenizer: nobody knows it then.
        authors_config (`dict`, *optional*):
            What stood in `config.json` of the authors' folder that this model was converted from. Without effect
            here: whoever converts the model back finds what the canonical fields cannot say.

    All other fields are stock's.
    """

    base_model_fsdp_plan: ClassVar[dict[Any, str]] = {}  # tower and language model have their own
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
        "vision_config": InternVLVisionConfig,
        "middleware_config": SubConfigSpec(config_class=QLlamaConfig, optional=True),
    }

    # Of a model's outputs: so that `Trainer` hands logits alone to `compute_metrics`.
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "cache",
        "hidden_states",
        "attentions",
        "image_outputs",
        "aux_loss",
        "router_logits",
    ]

    ps_version: str = "v2"
    vision_chunk_size: int | None = 16
    loss_reduction: str = "token"
    projector_type: str = "mlp"
    middleware_config: Any = None
    image_token_id: int | None = 151667
    authors_config: dict | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        check_sizes({**vars(self), **kwargs})
        super().__post_init__(**kwargs)
        if self.ps_version not in PIXEL_SHUFFLE_VERSIONS:
            raise ValueError(f"`ps_version` must be one of {PIXEL_SHUFFLE_VERSIONS}, got {self.ps_version!r}.")
        if self.loss_reduction not in LOSS_REDUCTIONS:
            raise ValueError(f"`loss_reduction` must be one of {LOSS_REDUCTIONS}, got {self.loss_reduction!r}.")
        if self.projector_type not in PROJECTOR_TYPES:
            raise ValueError(f"`projector_type` must be one of {PROJECTOR_TYPES}, got {self.projector_type!r}.")
        if (self.projector_type == "two_mlp") != (self.middleware_config is not None):
            raise ValueError(
                "`projector_type='two_mlp'` projects patches and the queries of QLLaMA, which `middleware_config` "
                f"describes: give both or neither. Got {self.projector_type!r} and {self.middleware_config!r:.60}."
            )
        if self.middleware_config is not None:
            self.middleware_config.vision_hidden_size = self.vision_config.hidden_size
        if self.vision_chunk_size is not None and self.vision_chunk_size < 1:
            raise ValueError(f"`vision_chunk_size` must be at least 1 or None, got {self.vision_chunk_size}.")
        if getattr(self.vision_config, "patch_dropout", 0.0):
            raise ValueError(
                "`vision_config.patch_dropout` must be 0 in a chat model, whose projector merges neighbouring patches "
                f"and needs all of them; got {self.vision_config.patch_dropout}: set it to 0. It is for training a "
                "tower against texts, as in InternVL-C."
            )
        factor = 1 / self.downsample_ratio if self.downsample_ratio else 0
        if not 1 <= factor <= 1_000 or factor != int(factor):
            raise ValueError(
                "`downsample_ratio` must be 1 over a whole number (0.5 merges 2 x 2 patches), got "
                f"{self.downsample_ratio}."
            )

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Stock's `from_dict`; the dual encoder's configuration for InternVL-14B, which shares the model type.

        Chat models in the -hf layout have `text_config`, InternVL-14B (InternVL-C and InternVL-G) has `qllama_config`.
        """
        check_sizes(config_dict)
        if "qllama_config" in config_dict:
            from .configuration_dual_encoder import InternVLDualEncoderConfig  # it builds on this file

            return InternVLDualEncoderConfig.from_dict(config_dict, **kwargs)
        return super().from_dict(config_dict, **kwargs)


__all__ = ["CLASSIFIER_POOLINGS", "InternVLConfig", "InternVLVisionConfig"]
