# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The canonical configurations: upstream's `InternVLVisionConfig` and `InternVLConfig`, as supersets.

Every field added here has a default under which the model behaves as upstream's does, so a `config.json` written by
either library is read by the other. The original formats are in `configuration_chat.py`.
"""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers import InternVLConfig as UpstreamInternVLConfig
from transformers.configuration_utils import SubConfigSpec

from ...hub.config_values import hidden_state_index
from ..dual_encoder.configuration import QLlamaConfig
from ..flash.compression import check_flash
from ..limits import check_sizes
from ..vision.configuration import InternVLVisionConfig
from .visual_positions import check_versions

PIXEL_SHUFFLE_VERSIONS = ("v1", "v2")
LOSS_REDUCTIONS = ("token", "sample", "square")
PROJECTOR_TYPES = ("mlp", "mlp2x_gelu", "two_mlp")


@strict
class InternVLConfig(UpstreamInternVLConfig):
    r"""InternVL as upstream transformers configures it (`model_type: internvl`): tower, projector and language model.

    Args:
        ps_version (`str`, defaults to `"v2"`):
            Pixel shuffle. `"v1"` leaves the two axes of the shuffled grid swapped, as InternVL-Chat-V1-1 and V1-2 were
            trained; `"v2"` keeps rows as rows (upstream's only behaviour).
        vision_chunk_size (`int`, *optional*, defaults to 16):
            Outside training, tiles pass through the tower at most this many at a time, so that memory is bounded by
            one chunk however many tiles or frames there are. `None` encodes all at once. The features are the same.
        loss_reduction (`str`, defaults to `"token"`):
            Weight of a labelled token in a row of `n` labelled tokens: `"token"` 1, `"sample"` 1/n, `"square"`
            1/sqrt(n) (InternVL 2.5, arXiv:2412.05271, section 3.4.2).
        projector_type (`str`, defaults to `"mlp"`):
            `"mlp"`: a norm and two linear layers (upstream's only projector). `"mlp2x_gelu"`: without the norm.
            `"two_mlp"`: two of these, one for the queries of the middleware, one for the patches; the queries come
            first (InternVL-Chat v1, arXiv:2312.14238, section 3.4).
        middleware_config (`dict` or [`QLlamaConfig`], *optional*):
            QLLaMA behind the tower, whose queries become image tokens, too. With `projector_type="two_mlp"`, and only
            then.
        image_token_id (`int`, *optional*, defaults to 151667):
            As upstream's; `None` in a folder that was converted without a tokenizer: the id is unknown then.
        flash_mode (`bool`, *optional*):
            Of InternVL3.5-Flash: whether `generate` compresses the tiles that the router chooses. `False`: the router
            is there and not asked. `None`: the model has none.
        flash_relative_threshold (`float`, *optional*):
            Of the tiles of a sample, the share that is certainly not compressed, in [0, 1].
        flash_absolute_threshold (`float`, *optional*):
            The least probability, by the router, of a tile that is compressed, in [0, 1].
        rope_pos_id_version (`str`, defaults to `"default"`):
            How positions of image tokens are counted where a loss is computed (V2PE, arXiv:2412.09616): `"default"`
            as others; `"v2pe_fix"` by `rope_pos_id_stride`; `"v2pe_rnd"` in training by a stride that is drawn for
            every image. Answers count as the argument `v2pe_stride` of `generate` says, whatever stands here.
        rope_pos_id_stride (`int`, *optional*):
            Positions that a tile takes: 1, 2, 4, ..., 256.
        original_config (`dict`, *optional*):
            What stood in `config.json` of the original folder that this model was converted from. Without effect
            here: a conversion back reads from it what the canonical fields cannot hold.

    All other fields are upstream's.
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
        "kept_positions",
    ]

    ps_version: str = "v2"
    vision_chunk_size: int | None = 16
    loss_reduction: str = "token"
    projector_type: str = "mlp"
    middleware_config: Any = None
    image_token_id: int | None = 151667
    flash_mode: bool | None = None
    flash_relative_threshold: float | int | None = None
    flash_absolute_threshold: float | int | None = None
    rope_pos_id_version: str = "default"
    rope_pos_id_stride: int | None = None
    original_config: dict | None = None

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
        blocks = self.vision_config.num_hidden_layers
        if blocks == 0 and hidden_state_index(self.vision_feature_layer, blocks) != 0:
            raise ValueError(
                "A tower without blocks (Mono-InternVL) has one hidden state, its embeddings: `select_layer` "
                f"(`vision_feature_layer`) must be -1, got {self.vision_feature_layer}."
            )
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
        check_flash(self)
        check_versions(self)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Upstream's `from_dict`; the dual encoder's configuration for InternVL-14B, which shares the model type.

        Chat models in the -hf layout have `text_config`, InternVL-14B (InternVL-C and InternVL-G) has `qllama_config`.
        """
        check_sizes(config_dict)
        if "qllama_config" in config_dict:
            from ..dual_encoder.configuration import InternVLDualEncoderConfig  # it builds on this file

            return InternVLDualEncoderConfig.from_dict(config_dict, **kwargs)
        return super().from_dict(config_dict, **kwargs)


__all__ = ["InternVLConfig"]
