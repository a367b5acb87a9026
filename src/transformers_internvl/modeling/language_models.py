# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternLM2 and InternLM2.5: Llama under its own names (arXiv:2403.17297).

The architecture is Llama's (grouped-query attention, SwiGLU, RMSNorm, rotary positions with optional dynamic NTK
scaling). Only the checkpoints differ: other key names, and query, key and value rows fused and grouped per key/value
head, which `conversion/weights/mappings.py` undoes at load time. So there is a configuration with its own `model_type`
and a few subclasses, and next to no model code. This is the pattern for any other language model that is Llama under
another name.

Rotary positions that depend on the length of a call alone: neither on earlier calls nor on those of other threads.

transformers keeps what the last length made of the table in the module. Under dynamic NTK scaling a long sequence so
changes the numbers of later, shorter ones; under LongRoPE two threads write the same table between each other's steps.
"""

import os
from threading import Lock
from typing import Any, ClassVar

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

from .pretrained.loading import refuse_report, without_quantizer_states
from .pretrained.older_arguments import todays_arguments


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

    def __init__(self, config: InternLM2Config):
        super(LlamaForCausalLM, self).__init__(config)  # not Llama's own: it would build the body twice
        self.model = InternLM2Model(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


_WRITING = Lock()  # of the module, since models are copied and locks are not


class InternLM2RotaryEmbedding(LlamaRotaryEmbedding):
    """Rotary positions; under dynamic NTK scaling the base depends on the present length alone.

    Llama's (and the original code's) table stays enlarged after a long sequence, so that a later, shorter one gets
    other numbers than it would have got first, and it cannot be compiled as one graph. Here nothing is kept.
    """

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine `(B, L, C)` for positions `(B, L)`, in the dtype of `x`."""
        inv_freq = self.inv_freq.to(x.device, torch.float32)
        if self.rope_type == "dynamic":
            inv_freq = self._scaled(inv_freq, position_ids.max() + 1)
        freqs = position_ids[..., None].float() * inv_freq  # (B, L, C/2)
        emb = torch.cat((freqs, freqs), dim=-1)
        return emb.cos().to(x.dtype), emb.sin().to(x.dtype)

    def _scaled(self, inv_freq: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """The frequencies for sequences of this length: NTK-scaled beyond `max_position_embeddings`."""
        rope = self.config.rope_parameters
        limit, dim = self.config.max_position_embeddings, 2 * len(inv_freq)
        growth = rope["factor"] * length.clamp(min=limit) / limit - (rope["factor"] - 1)
        base = rope["rope_theta"] * growth ** (dim / (dim - 2))
        exponents = torch.arange(0, dim, 2, device=inv_freq.device, dtype=torch.float32) / dim
        return torch.where(length > limit, 1.0 / base**exponents, inv_freq)


class LongRotaryEmbedding(Phi3RotaryEmbedding):
    """LongRoPE of Phi-3, whose table of short or long factors is chosen and used by one thread at a time.

    Compiled graphs hold the table themselves: threads that share a compiled model of this kind must take turns.
    """

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine `(B, L, C)` for positions `(B, L)`, in the dtype of `x`."""
        if torch.compiler.is_compiling():
            return super().forward(x, position_ids)
        with _WRITING:
            return super().forward(x, position_ids)


def replace_stateful_rope(model: nn.Module) -> None:
    """Give a language model rotary positions of this file where it has some that keep lengths: Llama under dynamic NTK
    scaling, which is InternLM2 in the canonical layout, and Phi-3 under LongRoPE."""
    rotary: Any = getattr(model, "rotary_emb", None)
    if type(rotary) is LlamaRotaryEmbedding and rotary.rope_type == "dynamic":
        model.rotary_emb = InternLM2RotaryEmbedding(rotary.config)
    if type(rotary) is Phi3RotaryEmbedding and rotary.rope_type == "longrope":
        model.rotary_emb = LongRotaryEmbedding(rotary.config)


__all__ = [
    "InternLM2Config",
    "InternLM2ForCausalLM",
    "InternLM2Model",
    "InternLM2RotaryEmbedding",
    "LongRotaryEmbedding",
    "replace_stateful_rope",
]
