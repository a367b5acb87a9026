# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The canonical configurations: stock's `InternVLVisionConfig` and `InternVLConfig`, as supersets.

Every field added here has a default under which the model behaves as stock's does, so a `config.json` written by
either library is read by the other. The authors' own formats are in `configuration_chat.py`.
"""

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import SubConfigSpec
from transformers.models.internvl.configuration_internvl import InternVLConfig as StockInternVLConfig
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig as StockInternVLVisionConfig

PIXEL_SHUFFLE_VERSIONS = ("v1", "v2")
LOSS_REDUCTIONS = ("token", "sample", "square")


@strict
class InternVLVisionConfig(StockInternVLVisionConfig):
    r"""InternViT as stock transformers configures it (`model_type: internvl_vision`), with stochastic depth and
    patch masking.

    Args:
        drop_path_rate (`float`, defaults to 0.0):
            Probability with which the last block is dropped per sample in training; block `i` of `n` is dropped with
            `drop_path_rate * i / (n - 1)` (arXiv:1603.09382). Stock has no such field: 0 is its behaviour.
        patch_dropout (`float`, defaults to 0.0):
            Share of every image's patches that the tower does not see in training; the choice is random. They are
            dropped behind the position table, the class token never (arXiv:2212.00794; 0.5 in stage 1 of InternVL-C).
            May be changed in the middle of a training. Stock has no such field: 0 is its behaviour.

    All other fields are stock's.
    """

    drop_path_rate: float | int = 0.0
    patch_dropout: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if not 0.0 <= self.drop_path_rate < 1.0:
            raise ValueError(f"`drop_path_rate` is a probability in [0, 1), got {self.drop_path_rate}.")
        if not 0.0 <= self.patch_dropout < 1.0:
            raise ValueError(f"`patch_dropout` is a share in [0, 1), got {self.patch_dropout}.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`hidden_size` ({self.hidden_size}) must be a multiple of `num_attention_heads` "
                f"({self.num_attention_heads})."
            )


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

    All other fields are stock's.
    """

    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="qwen2"),
        "vision_config": InternVLVisionConfig,
    }

    ps_version: str = "v2"
    vision_chunk_size: int | None = 16
    loss_reduction: str = "token"

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.ps_version not in PIXEL_SHUFFLE_VERSIONS:
            raise ValueError(f"`ps_version` must be one of {PIXEL_SHUFFLE_VERSIONS}, got {self.ps_version!r}.")
        if self.loss_reduction not in LOSS_REDUCTIONS:
            raise ValueError(f"`loss_reduction` must be one of {LOSS_REDUCTIONS}, got {self.loss_reduction!r}.")
        if self.vision_chunk_size is not None and self.vision_chunk_size < 1:
            raise ValueError(f"`vision_chunk_size` must be at least 1 or None, got {self.vision_chunk_size}.")
        if getattr(self.vision_config, "patch_dropout", 0.0):
            raise ValueError(
                "`vision_config.patch_dropout` must be 0 in a chat model, whose projector merges neighbouring patches "
                f"and needs all of them; got {self.vision_config.patch_dropout}: set it to 0. It is for training a "
                "tower against texts, as in InternVL-C."
            )
        factor = 1 / self.downsample_ratio if self.downsample_ratio else 0
        if factor < 1 or factor != int(factor):
            raise ValueError(
                "`downsample_ratio` must be 1 over a whole number (0.5 merges 2 x 2 patches), got "
                f"{self.downsample_ratio}."
            )

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Stock's `from_dict`; the dual encoder's configuration for InternVL-14B, which shares the model type.

        Chat models in the -hf layout have `text_config`, InternVL-14B (InternVL-C and InternVL-G) has `qllama_config`.
        """
        if "qllama_config" in config_dict:
            from .configuration_dual_encoder import InternVLDualEncoderConfig  # it builds on this file

            return InternVLDualEncoderConfig.from_dict(config_dict, **kwargs)
        return super().from_dict(config_dict, **kwargs)


__all__ = ["InternVLConfig", "InternVLVisionConfig"]
