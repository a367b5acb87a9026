# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Quantization leaves tower, projector and head alone. Judged by the names that transformers' quantizers go by."""

import pytest
from torch import nn
from transformers import AutoConfig, AutoModel, BitsAndBytesConfig, QuantoConfig
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

import transformers_internvl as ours
from tests import llava
from tests.parity.golden import golden_root
from tests.tiny import tiny_config
from transformers_internvl.modeling.pretrained.quantized import with_exact_modules
from transformers_internvl.profiling.model_profile import build_on_meta

CONFIGS = {
    "authors": lambda: AutoConfig.from_pretrained(golden_root() / "chat_internlm2"),
    "canonical": tiny_config,
    "Flash": lambda: AutoConfig.from_pretrained(golden_root() / "chat_flash"),
    "llava": lambda: ours.InternVLLlavaConfig.from_dict(llava.llava_config()),
    "llava with QLLaMA": lambda: ours.InternVLLlavaConfig.from_dict(llava.llava_config("two_mlp")),
    "dual encoder": lambda: AutoConfig.from_pretrained(golden_root() / "internvl_14b"),
}
DECODERS = (".self_attn.", ".cross_attn.", ".mlp.")  # inside a decoder's layer


def quantized(model, quantization_config) -> set[str]:
    """The linear layers that a quantizer would take, as it finds them."""
    stay = HfQuantizer.get_modules_to_not_convert(
        model, with_exact_modules(quantization_config, model.modules_to_not_convert).llm_int8_skip_modules
    )
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {name for name in linear if should_convert_module(name, stay)}


@pytest.mark.parametrize("kind", CONFIGS)
def test_only_the_language_models_layers_are_quantized(kind):
    model = build_on_meta(CONFIGS[kind]())
    body = model.qllama.model if kind == "dual encoder" else model.model.language_model
    prefix = next(name for name, module in model.named_modules() if module is body)
    expected = {f"{prefix}.{name}" for name, module in body.named_modules() if isinstance(module, nn.Linear)}
    assert expected and all(any(part in name for part in DECODERS) for name in expected)
    assert quantized(model, BitsAndBytesConfig(load_in_8bit=True)) == expected


def test_a_body_without_a_head_too():
    model = ours.InternVLModel(tiny_config())
    names = quantized(model, BitsAndBytesConfig(load_in_8bit=True))
    assert names and all(name.startswith("language_model.") for name in names)


@pytest.mark.parametrize("skip", [[], ["lm_head"]])
def test_a_list_of_the_users_own_holds(skip):
    given = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    assert with_exact_modules(given, ("tower",)) is given and given.llm_int8_skip_modules == skip


def test_configs_of_other_kinds_and_dicts():
    given = QuantoConfig(weights="int8")
    assert with_exact_modules(given, ("tower",)).modules_to_not_convert == ["tower"]
    assert given.modules_to_not_convert is None  # the caller's is not changed
    given = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    assert with_exact_modules(given, ("tower",)).llm_int8_skip_modules == ["tower"]


def test_from_pretrained_hands_the_list_over(monkeypatch):
    seen = {}

    def catch(config, *args, **kwargs):
        seen["list"] = config.llm_int8_skip_modules
        raise ValueError("seen")

    monkeypatch.setattr("transformers.quantizers.auto.AutoHfQuantizer.from_config", catch)
    for folder in (golden_root() / "chat_internlm2", golden_root() / "internvl_14b"):
        with pytest.raises(ValueError, match="seen"):
            AutoModel.from_pretrained(folder, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
        assert any("vision" in name for name in seen.pop("list"))
