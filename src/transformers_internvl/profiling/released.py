# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The shapes of the released chat models, so that their cost is known without a download.

A release is a row of `RELEASES`: a tower of `TOWERS` and a language model of `LANGUAGE_MODELS`. Fine-tunes (MPO,
Instruct, Pretrained, domain adaptations, quantized copies) have the shapes of the release they began with. Input and
output embeddings are separate in all of them. InternVL-Chat-V1-1 is missing: its language model was never published
by itself, and what is known of its size does not determine its vocabulary.

Source: the public configs of the language models; how many embedding rows the releases keep: their tokenizers.
"""

from dataclasses import dataclass, field
from typing import Any

from ..modeling.original.configuration_chat import InternVLChatConfig

TOWERS: dict[str, dict[str, Any]] = {
    "InternViT-300M-448px": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "qkv_bias": True,
        "qk_normalization": False,
        "norm_type": "layer_norm",
        "image_size": 448,
    },
    "InternViT-300M-448px embeddings": {  # Mono-InternVL: no blocks
        "model_type": "intern_vit_patch",
        "hidden_size": 1024,
        "image_size": 448,
    },
    "InternViT-6B-448px": {
        "hidden_size": 3200,
        "num_hidden_layers": 45,
        "num_attention_heads": 25,
        "intermediate_size": 12800,
        "qkv_bias": False,
        "qk_normalization": True,
        "norm_type": "rms_norm",
        "image_size": 448,
    },
}


_SHAPE = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


@dataclass(frozen=True)
class LanguageModelShape:
    """What decides the size of a language model.

    Attributes:
        architecture: the name of its class, as in the original configs.
        vocab_size: rows of its embeddings in the releases.
        shape: width, width of the MLP, layers, heads, key-value heads.
        other: further fields, which only some have.
    """

    architecture: str
    vocab_size: int
    shape: tuple[int, ...]
    other: dict[str, Any] = field(default_factory=dict)

    def to_config(self) -> dict[str, Any]:
        """As an `llm_config`."""
        shape = dict(zip(_SHAPE, self.shape, strict=True))
        fixed = {"architectures": [self.architecture], "tie_word_embeddings": False}
        return {**fixed, "vocab_size": self.vocab_size, **shape, **self.other}


def _llama(vocab_size: int, *shape: int) -> LanguageModelShape:
    return LanguageModelShape("LlamaForCausalLM", vocab_size, shape)


def _internlm2(*shape: int) -> LanguageModelShape:
    return LanguageModelShape("InternLM2ForCausalLM", 92553, shape)


def _qwen2(*shape: int, vocab_size: int = 151674) -> LanguageModelShape:
    return LanguageModelShape("Qwen2ForCausalLM", vocab_size, shape)


def _qwen3(*shape: int) -> LanguageModelShape:
    return LanguageModelShape("Qwen3ForCausalLM", 151936, shape, {"head_dim": 128})


def _qwen3_moe(*shape: int, expert: int) -> LanguageModelShape:
    experts = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": expert}
    return LanguageModelShape("Qwen3MoeForCausalLM", 151936, shape, {"head_dim": 128, **experts})


def _gpt_oss(*shape: int) -> LanguageModelShape:
    experts = {"num_local_experts": 32, "num_experts_per_tok": 4}
    return LanguageModelShape("GptOssForCausalLM", 201088, shape, {"head_dim": 64, **experts})


# Name -> (embedding rows, for Llama and Phi,) width, width of the MLP, layers, heads, key-value heads.
LANGUAGE_MODELS: dict[str, LanguageModelShape] = {
    "Yi-34B": _llama(64007, 7168, 20480, 60, 56, 8),
    "Llama-3-70B": _llama(128265, 8192, 28672, 80, 64, 8),
    "Phi-3-mini": LanguageModelShape("Phi3ForCausalLM", 32020, (3072, 8192, 32, 32, 32)),
    "InternLM2-1.8B": _internlm2(2048, 8192, 24, 16, 8),
    "InternLM2-7B": _internlm2(4096, 14336, 32, 32, 8),
    "InternLM2-20B": _internlm2(6144, 16384, 48, 48, 8),
    "InternLM2-1.8B with visual experts": LanguageModelShape("InternLM2VEForCausalLM", 92553, (2048, 8192, 24, 16, 8)),
    "InternLM3-8B": LanguageModelShape("InternLM3ForCausalLM", 128512, (4096, 10240, 48, 32, 2), {"head_dim": 128}),
    "Qwen2-0.5B": _qwen2(896, 4864, 24, 14, 2, vocab_size=151655),
    "Qwen2.5-0.5B": _qwen2(896, 4864, 24, 14, 2),
    "Qwen2.5-1.5B": _qwen2(1536, 8960, 28, 12, 2),
    "Qwen2.5-3B": _qwen2(2048, 11008, 36, 16, 2),
    "Qwen2.5-7B": _qwen2(3584, 18944, 28, 28, 4),
    "Qwen2.5-14B": _qwen2(5120, 13824, 48, 40, 8),
    "Qwen2.5-32B": _qwen2(5120, 27648, 64, 40, 8),
    "Qwen2.5-72B": _qwen2(8192, 29568, 80, 64, 8),
    "Qwen3-0.6B": _qwen3(1024, 3072, 28, 16, 8),
    "Qwen3-1.7B": _qwen3(2048, 6144, 28, 16, 8),
    "Qwen3-4B": _qwen3(2560, 9728, 36, 32, 8),
    "Qwen3-8B": _qwen3(4096, 12288, 36, 32, 8),
    "Qwen3-14B": _qwen3(5120, 17408, 40, 40, 8),
    "Qwen3-32B": _qwen3(5120, 25600, 64, 64, 8),
    "Qwen3-30B-A3B": _qwen3_moe(2048, 6144, 48, 32, 4, expert=768),
    "Qwen3-235B-A22B": _qwen3_moe(4096, 12288, 94, 64, 4, expert=1536),
    "gpt-oss-20b": _gpt_oss(2880, 2880, 24, 64, 8),
}

_300M, _EMBEDDINGS, _6B = TOWERS
# Release -> tower, language model.
RELEASES: dict[str, tuple[str, str]] = {
    "InternVL-Chat-V1-2": (_6B, "Yi-34B"),
    "InternVL-Chat-V1-2-Plus": (_6B, "Yi-34B"),
    "InternVL-Chat-V1-5": (_6B, "InternLM2-20B"),
    "Mini-InternVL-Chat-2B-V1-5": (_300M, "InternLM2-1.8B"),
    "Mini-InternVL-Chat-4B-V1-5": (_300M, "Phi-3-mini"),
    "InternVL2-1B": (_300M, "Qwen2-0.5B"),
    "InternVL2-2B": (_300M, "InternLM2-1.8B"),
    "InternVL2-4B": (_300M, "Phi-3-mini"),
    "InternVL2-8B": (_300M, "InternLM2-7B"),
    "InternVL2-26B": (_6B, "InternLM2-20B"),
    "InternVL2-40B": (_6B, "Yi-34B"),
    "InternVL2-Llama3-76B": (_6B, "Llama-3-70B"),
    "Mono-InternVL-2B": (_EMBEDDINGS, "InternLM2-1.8B with visual experts"),
    "InternVL2_5-1B": (_300M, "Qwen2.5-0.5B"),
    "InternVL2_5-2B": (_300M, "InternLM2-1.8B"),
    "InternVL2_5-4B": (_300M, "Qwen2.5-3B"),
    "InternVL2_5-8B": (_300M, "InternLM2-7B"),
    "VisualPRM-8B": (_300M, "InternLM2-7B"),
    "VisualPRM-8B-v1_1": (_300M, "InternLM2-7B"),
    "InternVL2_5-26B": (_6B, "InternLM2-20B"),
    "InternVL2_5-38B": (_6B, "Qwen2.5-32B"),
    "InternVL2_5-78B": (_6B, "Qwen2.5-72B"),
    "InternVL3-1B": (_300M, "Qwen2.5-0.5B"),
    "InternVL3-2B": (_300M, "Qwen2.5-1.5B"),
    "InternVL3-8B": (_300M, "Qwen2.5-7B"),
    "InternVL3-9B": (_300M, "InternLM3-8B"),
    "InternVL3-14B": (_300M, "Qwen2.5-14B"),
    "InternVL3-38B": (_6B, "Qwen2.5-32B"),
    "InternVL3-78B": (_6B, "Qwen2.5-72B"),
    "InternVL3_5-1B": (_300M, "Qwen3-0.6B"),
    "InternVL3_5-2B": (_300M, "Qwen3-1.7B"),
    "InternVL3_5-4B": (_300M, "Qwen3-4B"),
    "InternVL3_5-8B": (_300M, "Qwen3-8B"),
    "InternVL3_5-14B": (_300M, "Qwen3-14B"),
    "InternVL3_5-38B": (_6B, "Qwen3-32B"),
    "InternVL3_5-GPT-OSS-20B-A4B-Preview": (_300M, "gpt-oss-20b"),
    "InternVL3_5-30B-A3B": (_300M, "Qwen3-30B-A3B"),
    "InternVL3_5-241B-A28B": (_6B, "Qwen3-235B-A22B"),
}
# With a router and a second projector (InternVL3.5-Flash); its code runs no GPT-OSS.
_FLASH = "-Flash"
RELEASES |= {
    f"{name}{_FLASH}": parts
    for name, parts in RELEASES.items()
    if name.startswith("InternVL3_5-") and parts[1] != "gpt-oss-20b"
}


def released_config(name: str) -> InternVLChatConfig:
    """The shape of a released chat model as a config: enough to build it, too little to run it as it was trained.

    Raises:
        ValueError: no such release.
    """
    if name not in RELEASES:
        raise ValueError(f"There is no release {name!r}; known are {', '.join(RELEASES)}.")
    tower, language_model = RELEASES[name]
    return InternVLChatConfig(
        vision_config=dict(TOWERS[tower]),
        llm_config=LANGUAGE_MODELS[language_model].to_config(),
        force_image_size=448,
        ps_version="v2",
        **({"flash_mode": True} if name.endswith(_FLASH) else {}),
    )


__all__ = ["LANGUAGE_MODELS", "LanguageModelShape", "RELEASES", "TOWERS", "released_config"]
