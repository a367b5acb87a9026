# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Arguments of model cards under the names of their time: every class takes them, and says what has no effect."""

import logging

import pytest
import torch
import transformers
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from transformers import BitsAndBytesConfig

import transformers_internvl as ours
from tests import llava
from tests.parity.golden import golden_root
from transformers_internvl.modeling.pretrained import older_arguments
from transformers_internvl.modeling.pretrained.older_arguments import todays_arguments
from transformers_internvl.nano import nano_path

CASES = [
    ("AutoModel", "chat_qwen2"),
    ("AutoModelForCausalLM", "chat_qwen2"),
    ("AutoModelForImageTextToText", "chat_internlm2"),
    ("AutoModelForMultimodalLM", "nano"),
    ("AutoModel", "nano"),
    ("AutoModel", "llava"),
    ("AutoModel", "intern_vit_300m"),
    ("AutoModelForImageClassification", "intern_vit_300m"),
    ("AutoModelForSemanticSegmentation", "intern_vit_300m"),
    ("AutoBackbone", "intern_vit_300m"),
    ("AutoModel", "internvl_14b"),
    ("AutoModelForPreTraining", "internvl_14b"),
    ("InternVLDualEncoderTextModel", "internvl_14b"),
    ("InternVLDualEncoderVisionModel", "internvl_14b"),
    ("InternVLChatModel", "chat_qwen2"),
    ("InternVisionModel", "intern_vit_6b"),
]
CARD = {"torch_dtype": torch.bfloat16, "low_cpu_mem_usage": True, "use_flash_attn": True, "trust_remote_code": True}
OFF = {"load_in_8bit": False, "load_in_4bit": False, "use_flash_attn": False, "low_cpu_mem_usage": False}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    (folder / "llava").mkdir()
    llava.write_folder(folder / "llava")
    return {"nano": nano_path(), "llava": folder / "llava"}


def load(kind, name, folders, **arguments):
    model_class = getattr(transformers, kind) if hasattr(transformers, kind) else getattr(ours, kind)
    return model_class.from_pretrained(folders.get(name, golden_root() / name), **arguments)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_cards_arguments_are_taken_by_every_class(kind, name, folders):
    with_card = load(kind, name, folders, **CARD)
    assert next(with_card.parameters()).dtype == torch.bfloat16
    plain, off = load(kind, name, folders), load(kind, name, folders, **OFF)
    assert off.dtype == plain.dtype and type(off) is type(plain) is type(with_card)
    assert off.config._attn_implementation == plain.config._attn_implementation != "flash_attention_2"
    assert not any(isinstance(module, (Linear8bitLt, Linear4bit)) for module in off.modules())


def quantized(model, kind):
    return {name for name, module in model.named_modules() if isinstance(module, kind)}


@pytest.mark.parametrize(("kind", "name"), [case for case in CASES if case[1] != "intern_vit_300m"])
def test_eight_bits_by_their_older_name(kind, name, folders):
    by_name = load(kind, name, folders, load_in_8bit=True)
    by_config = load(kind, name, folders, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    assert quantized(by_name, Linear8bitLt) == quantized(by_config, Linear8bitLt)
    assert quantized(by_name, Linear8bitLt) or kind == "InternVLDualEncoderVisionModel"  # which is exact as a whole


def test_four_bits_with_settings_beside_them(folders):
    settings = {"bnb_4bit_quant_type": "nf4", "llm_int8_skip_modules": ["lm_head"]}
    model = load("AutoModelForMultimodalLM", "nano", folders, load_in_4bit=True, load_in_8bit=False, **settings)
    assert quantized(model, Linear4bit)
    said = model.config.quantization_config
    assert said.bnb_4bit_quant_type == "nf4" and said.llm_int8_skip_modules == ["lm_head"]


def test_two_quantizations_are_refused(folders):
    with pytest.raises(ValueError, match="`load_in_8bit=True` and `load_in_4bit=True` were both given"):
        load("AutoModel", "nano", folders, load_in_8bit=True, load_in_4bit=True)
    with pytest.raises(ValueError, match="`load_in_8bit=True` and a `quantization_config` were both given"):
        load("AutoModel", "chat_qwen2", folders, load_in_8bit=True, quantization_config=BitsAndBytesConfig())


@pytest.fixture
def said(monkeypatch):
    messages = []
    monkeypatch.setattr(logging.Logger, "warning_once", lambda self, message: messages.append(message))
    return messages


def test_flash_attention_is_chosen_where_it_is(monkeypatch, said):
    monkeypatch.setattr(older_arguments, "is_flash_attn_2_available", lambda: True)
    chosen = {"attn_implementation": "flash_attention_2"}
    assert todays_arguments(ours.InternVLChatModel, {"use_flash_attn": True}) == chosen
    eager = {"attn_implementation": "eager"}
    assert todays_arguments(ours.InternVLChatModel, {"use_flash_attn": True, **eager}) == eager
    assert todays_arguments(ours.InternVisionModel, {"use_flash_attn": False}) == {}
    assert not said
    assert todays_arguments(ours.InternVLDualEncoderModel, {"use_flash_attn": True}) == {}
    assert "InternVLDualEncoderModel cannot use flash-attn" in said.pop()


def test_what_has_no_effect_is_said(monkeypatch, said, folders):
    monkeypatch.setattr(older_arguments, "is_flash_attn_2_available", lambda: False)
    load("AutoModel", "intern_vit_300m", folders, use_flash_attn=True)  # by an Auto class, whose config has the name
    assert "flash-attn is not installed" in said.pop()
    load("AutoModel", "nano", folders, low_cpu_mem_usage=False, resume_download=False)
    assert "resume_download" in said.pop() and "low_cpu_mem_usage" in said.pop()
    load("AutoModel", "nano", folders, low_cpu_mem_usage=True, resume_download=True, use_flash_attn=False)
    assert not said
