# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternLM2 and InternLM2.5: Llama under its own names (arXiv:2403.17297).

The architecture is Llama's (grouped-query attention, SwiGLU, RMSNorm, rotary positions with optional dynamic NTK
scaling). Only the checkpoints differ: other key names, and query, key and value rows fused and grouped per key/value
head, which `conversion/mappings.py` undoes at load time. So there is a configuration with its own `model_type` and a
few subclasses, and next to no model code. This is the pattern for any other language model that is Llama in disguise.
"""

from typing import ClassVar

from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from .loading import RefusesHoles
from .older_arguments import AcceptsOlderArguments
from .rotary import InternLM2RotaryEmbedding


@strict
class InternLM2Config(LlamaConfig):
    r"""Configuration of InternLM2 / InternLM2.5 (`model_type: internlm2`), with the authors' defaults (7B).

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


class InternLM2Model(AcceptsOlderArguments, RefusesHoles, LlamaModel):
    """The InternLM2 decoder, without a language modeling head."""

    config_class = InternLM2Config
    config: InternLM2Config

    def __init__(self, config: InternLM2Config):
        super().__init__(config)
        self.rotary_emb = InternLM2RotaryEmbedding(config)
        self.post_init()


class InternLM2ForCausalLM(AcceptsOlderArguments, RefusesHoles, LlamaForCausalLM):
    """The InternLM2 decoder with its language modeling head."""

    config_class = InternLM2Config
    config: InternLM2Config

    def __init__(self, config: InternLM2Config):
        super(LlamaForCausalLM, self).__init__(config)  # not Llama's own: it would build the body twice
        self.model = InternLM2Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


__all__ = ["InternLM2Config", "InternLM2ForCausalLM", "InternLM2Model"]
