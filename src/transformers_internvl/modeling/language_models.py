# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternLM2 and InternLM2.5: Llama under its own names (arXiv:2403.17297).

The architecture is Llama's (grouped-query attention, SwiGLU, RMSNorm, rotary positions with optional dynamic NTK
scaling). Only the checkpoints differ: other key names, and query, key and value rows fused and grouped per key/value
head, which `conversion/weights/mappings.py` undoes at load time. So there is a configuration with its own `model_type`
and a few subclasses, and next to no model code. This is the pattern for any other language model that is Llama under
another name.
"""

import os
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from .pretrained.loading import refuse_report, without_quantizer_states
from .pretrained.older_arguments import todays_arguments
from .pretrained.upstream import InternLM2RotaryEmbedding


@strict
class InternLM2Config(LlamaConfig):
    r"""Configuration of InternLM2 / InternLM2.5 (`model_type: internlm2`), with the original defaults (7B).

    `bias` (projections of the attention; False in every released model) is read into `attention_bias`.
    """

    model_type = "internlm2"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["cache", "hidden_states", "attentions"]
    attribute_map = {"bias": "attention_bias"}

    vocab_size: int = 103168
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    pad_token_id: int | None = 0
    tie_word_embeddings: bool = False


class _CompleteLoadingMixin:
    """Loading in which every place must have a weight, as in the package's other models."""

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> Any:
        """As transformers'; arguments of older releases are taken, see `todays_arguments`.

        Raises:
            ValueError: places without weights, but with `ignore_mismatched_sizes=True`; weights of adapters.
        """
        folder, wants_report = pretrained_model_name_or_path, kwargs.pop("output_loading_info", False)
        kwargs = todays_arguments(cls, kwargs)
        model, report = super().from_pretrained(folder, *args, output_loading_info=True, **kwargs)  # type: ignore[misc]
        adapters = {key for key in report["unexpected_keys"] if ".lora_A." in key}
        if adapters or not kwargs.get("ignore_mismatched_sizes", False):
            missing = without_quantizer_states(model, report)["missing_keys"]
            cls._refuse_incomplete(folder, {"unexpected_keys": adapters, "missing_keys": missing})
        return (model, report) if wants_report else model

    @classmethod
    def _refuse_incomplete(cls, folder: Any, report: dict[str, Any]) -> None:
        refuse_report(cls, folder, report)


class InternLM2Model(_CompleteLoadingMixin, LlamaModel):
    """The InternLM2 decoder, without a language modeling head."""

    config_class = InternLM2Config
    config: InternLM2Config

    def __init__(self, config: InternLM2Config):
        super().__init__(config)
        self.rotary_emb = InternLM2RotaryEmbedding(config)
        self.post_init()


class InternLM2ForCausalLM(_CompleteLoadingMixin, LlamaForCausalLM):
    """The InternLM2 decoder with its language modeling head."""

    config_class = InternLM2Config
    config: InternLM2Config
    body_class: ClassVar[type[InternLM2Model]] = InternLM2Model

    def __init__(self, config: InternLM2Config):
        super(LlamaForCausalLM, self).__init__(config)  # not Llama's own: it would build the body twice
        self.model = self.body_class(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


__all__ = [
    "InternLM2Config",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternLM2RotaryEmbedding",
]
