# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configuration of QLLaMA, the language middleware of the first generation (arXiv:2312.14238, section 3.2)."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig

# The authors' code builds its rotary positions with this base, whatever the configuration says.
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


__all__ = ["QLlamaConfig"]
