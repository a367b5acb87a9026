# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configuration of QLLaMA, the language middleware of the first generation (arXiv:2312.14238, section 3.2).

Configuration of InternVL-14B, which is InternVL-C and InternVL-G in one (arXiv:2312.14238).

The released folders call it `internvl`, a model type that upstream transformers uses for another architecture;
`InternVLConfig.from_dict` distinguishes the two by the key `qllama_config`. Here it is `internvl_dual_encoder`, and
that is what is saved; all other keys are read and written as the original code has them.

Source: `configuration_internvl.py` of the released checkpoints.
"""

import os
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig, PreTrainedConfig

from ..limits import check_sizes
from ..original_keys import VISION_KEYS, OriginalKeysMixin, as_source
from ..vision.configuration import InternVisionConfig

# The original code builds its rotary positions with this base, whatever the configuration says.
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}


@strict
class QLlamaConfig(LlamaConfig):
    r"""QLLaMA: a Llama whose learnable queries look at the vision tower (arXiv:2312.14238, section 3.2).

    Args:
        cross_attention_frequency (`int`, defaults to 2):
            Every so many layers, the first included, the queries attend to the vision tokens.
        num_query_token (`int`, defaults to 96):
            How many positions at the front of the sequence are queries.
        vision_hidden_size (`int`, defaults to 3200):
            Width of the vision tokens.

    All other fields are Llama's; the defaults are the released model's. The rotary base is always 10000.
    """

    model_type = "qllama"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache", "hidden_states", "attentions"]

    vocab_size: int = 49954
    pad_token_id: int | None = 0
    cross_attention_frequency: int = 2
    num_query_token: int = 96
    vision_hidden_size: int = 3200

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs.pop("model_type", None)  # "llama" in the released files
        super().__post_init__(**kwargs)
        self.rope_parameters = dict(_ROPE)
        if self.cross_attention_frequency < 1 or self.num_query_token < 1:
            raise ValueError(
                "`cross_attention_frequency` and `num_query_token` must be at least 1, got "
                f"{self.cross_attention_frequency} and {self.num_query_token}."
            )


@strict
class InternVLDualEncoderConfig(OriginalKeysMixin):
    r"""InternVL-14B (`model_type: internvl_dual_encoder`): InternViT, QLLaMA and what joins them.

    Args:
        vision_config (`dict` or [`InternVisionConfig`]): The vision tower.
        qllama_config (`dict` or [`QLlamaConfig`]): The text half.
        clip_embed_dim (`int`, defaults to 768): Width of the space in which images and texts are compared.
        attn_pool_num_heads (`int`, defaults to 16): Heads of the two attention pools.
        num_query_token (`int`, defaults to 96): Learnable queries. Holds for `qllama_config`, too.
        cross_attention_frequency (`int`, *optional*):
            As in [`QLlamaConfig`]; `None`, as in the released files, takes `qllama_config`'s own.
        label_smoothing (`float`, defaults to 0.0): Of the contrastive loss.
        use_backbone_lora (`int`), use_qllama_lora (`int`):
            Ranks that the original code trained adapters with. Recorded without effect: merge adapters first.
        force_image_size (`int`, *optional*):
            Side of the images that the stored position table is for, where it is not `vision_config.image_size`.
        initializer_range (`float`, defaults to 0.02): Standard deviation of fresh weights.
    """

    model_type = "internvl_dual_encoder"
    base_model_fsdp_plan: ClassVar[dict[Any, str]] = {}  # tower and QLLaMA have their own
    original_parts = {"vision_config": VISION_KEYS, "qllama_config": {}}
    keys_to_ignore_at_inference: ClassVar[list[str]] = [
        "hidden_states",
        "attentions",
        "text_model_output",
        "vision_model_output",
        "query_hidden_states",
        "text_hidden_states",
    ]
    sub_configs_defaults = {"vision_config": InternVisionConfig, "qllama_config": QLlamaConfig}

    vision_config: Any = None
    qllama_config: Any = None
    clip_embed_dim: int = 768
    attn_pool_num_heads: int = 16
    num_query_token: int = 96
    cross_attention_frequency: int | None = None
    label_smoothing: float | int = 0.0
    use_backbone_lora: int = 0
    use_qllama_lora: int = 0
    force_image_size: int | None = None
    initializer_range: float = 0.02
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        for key in ("auto_map", "hidden_size", "model_type"):  # remote code; QLLaMA's width; "internvl"
            kwargs.pop(key, None)
        if "text_config" in kwargs:
            raise ValueError("`text_config` is another name of `qllama_config`: give that.")
        check_sizes({**vars(self), **kwargs})
        sources = {part: as_source(getattr(self, part), names) for part, names in self.original_parts.items()}
        super().__post_init__(**kwargs)
        vision, qllama = self.vision_config, self.qllama_config
        qllama.num_query_token, qllama.vision_hidden_size = self.num_query_token, vision.hidden_size
        if self.cross_attention_frequency is not None:
            qllama.cross_attention_frequency = self.cross_attention_frequency
        if self.force_image_size:
            vision.image_size = (self.force_image_size, self.force_image_size)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"`label_smoothing` must be in [0, 1), got {self.label_smoothing}.")
        for name, width in (("vision_config", vision.hidden_size), ("qllama_config", qllama.hidden_size)):
            if width % self.attn_pool_num_heads:
                raise ValueError(
                    f"`{name}.hidden_size` ({width}) must be a multiple of `attn_pool_num_heads` "
                    f"({self.attn_pool_num_heads})."
                )
        self._remember(sources)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As transformers'; the model type of the original folders is read as ours.

        Raises:
            ValueError: the folder holds another architecture.
        """
        fields, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if fields and "qllama_config" not in fields:
            raise ValueError(
                f"{pretrained_model_name_or_path} holds no InternVL-14B: its config.json has no `qllama_config` "
                f"(model type {fields.get('model_type')!r}). Load it with `AutoModel`."
            )
        return {**fields, "model_type": cls.model_type}, kwargs

    @property
    def text_config(self) -> PreTrainedConfig:
        """The text half's configuration, by transformers' name."""
        return self.qllama_config

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """The text half's configuration, whether it encodes or decodes."""
        return self.qllama_config

    def to_diff_dict(self) -> dict[str, Any]:
        """What `save_pretrained` writes: the original keys, both parts as they were read save what was changed."""
        fields = super().to_diff_dict()
        if self.cross_attention_frequency is None:
            fields.pop("cross_attention_frequency")
        for key in ("clip_embed_dim", "attn_pool_num_heads", "num_query_token", "label_smoothing", "force_image_size"):
            fields[key] = getattr(self, key)
        fields["hidden_size"] = self.qllama_config.hidden_size
        return fields


__all__ = ["InternVLDualEncoderConfig", "QLlamaConfig"]
