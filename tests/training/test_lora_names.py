# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Adapters by the original names of modules. Judged by which parameters peft puts where."""

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModel

from tests.parity.golden import golden_root
from transformers_internvl.profiling.model_profile import build_on_meta
from transformers_internvl.training.lora import in_own_names, lora_config, lora_targets

INTERNLM2 = golden_root() / "chat_internlm2"
# What the original scripts adapt in InternLM2 and InternViT.
ORIGINAL = ["attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3"]
ORIGINAL_OF_TOWER = ["attn.qkv", "attn.proj", "vision_model.encoder.layers.0.mlp.fc1"]


def model_of(form: str):
    model = build_on_meta(AutoConfig.from_pretrained(INTERNLM2))
    return model if form == "authors" else model.to_canonical()


def adapted(model) -> set[str]:
    names = [name for name, _ in model.named_parameters() if ".lora_A." in name]
    return {name.removeprefix("base_model.model.").partition(".lora_A.")[0] for name in names}


@pytest.mark.parametrize("form", ["authors", "canonical"])
def test_targets(form):
    model = model_of(form)
    expected = set(lora_targets(model, "llm"))
    given = LoraConfig(r=2, target_modules=ORIGINAL)
    config = in_own_names(given, model)
    assert given.target_modules == set(ORIGINAL)
    assert adapted(get_peft_model(model, config)) == expected

    model = model_of(form)
    targets = [f"model.vision_tower.encoder.layer.{i}.attention.{p}" for i in range(5) for p in ("q_proj", "v_proj")]
    found = adapted(get_peft_model(model, in_own_names(LoraConfig(r=2, target_modules=ORIGINAL_OF_TOWER), model)))
    assert set(targets) < found and all(name.startswith("model.vision_tower.") for name in found)
    assert {name for name in found if ".mlp." in name} == {"model.vision_tower.encoder.layer.0.mlp.fc1"}


@pytest.mark.parametrize("form", ["authors", "canonical"])
def test_modules_that_are_saved_whole(form):
    model = model_of(form)
    config = lora_config("llm", model, r=2, modules_to_save=["mlp1", "output"])
    assert set(config.modules_to_save) == {"model.multi_modal_projector", "lm_head"}
    model = get_peft_model(model, config)
    whole = {name.partition(".modules_to_save.")[0] for name, p in model.named_parameters() if ".modules_to" in name}
    assert whole == {"base_model.model.model.multi_modal_projector", "base_model.model.lm_head"}
    assert all(p.requires_grad for name, p in model.named_parameters() if ".modules_to_save." in name)


def test_it_is_trained_saved_and_loaded(tmp_path):
    model = AutoModel.from_pretrained(INTERNLM2)
    model = get_peft_model(model, lora_config("llm", model, r=2, modules_to_save=["mlp1"]))
    for name, parameter in model.named_parameters():
        if ".modules_to_save." in name:
            parameter.data.add_(1.0)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(AutoModel.from_pretrained(INTERNLM2), tmp_path)
    bias = again.merge_and_unload().model.multi_modal_projector.linear_2.bias
    plain = AutoModel.from_pretrained(INTERNLM2).model.multi_modal_projector.linear_2.bias
    assert (bias - plain).allclose(plain.new_ones(()))


def test_names_that_are_no_modules():
    model = model_of("authors")
    for field in ("target_modules", "modules_to_save", "exclude_modules"):
        config = LoraConfig(r=2, **{"target_modules": ["wqkv"], field: ["wqkv", "nothing"]})
        with pytest.raises(ValueError, match=f"`{field}` names 'nothing', which is no module of InternVLChatModel"):
            in_own_names(config, model)
    with pytest.raises(ValueError, match="`modules_to_save` names 'mlp2'"):
        lora_config("llm", model, modules_to_save=["mlp2"])
    own = LoraConfig(r=2, target_modules=r".*\.q_proj", modules_to_save=["lm_head"])
    assert in_own_names(own, model).target_modules == own.target_modules  # a pattern is peft's own matter
