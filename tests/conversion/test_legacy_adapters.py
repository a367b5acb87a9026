# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The original checkpoints with adapters in them, merged and taken apart: the numbers of peft on fused layers."""

import json
import os

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText

from tests.closeness import assert_same_results
from tests.fused_lora import adapt, fused_model, logits, write_legacy
from tests.parity.golden import golden_root
from transformers_internvl.conversion.lora.inside_checkpoints import extract_legacy, merge_legacy, merged

CASES = ["chat_internlm2", "chat_qwen2", "chat_phi3", "chat_llama3", "chat_llama_v1_2"]


def make(name, tmp_path, llm=4, backbone=3, **kwargs):
    """The folder that the set-out came from, the legacy folder, and its logits."""
    source = golden_root() / name
    model = fused_model(source)
    assert_same_results(logits(model, source), logits(AutoModel.from_pretrained(source), source))
    lora = adapt(model, llm, backbone)
    write_legacy(source, tmp_path / "legacy", lora, llm, backbone, **kwargs)
    return source, tmp_path / "legacy", logits(model, source)


@pytest.mark.parametrize("name", CASES)
def test_merged(name, tmp_path):
    source, legacy, expected = make(name, tmp_path)
    merge_legacy(legacy, tmp_path / "plain")
    now = logits(AutoModel.from_pretrained(tmp_path / "plain").eval(), source)
    assert (expected - logits(AutoModel.from_pretrained(source).eval(), source)).abs().max() > 0.1
    assert_same_results(now, expected)


@pytest.mark.parametrize("name", CASES)
def test_taken_apart(name, tmp_path):
    source, legacy, expected = make(name, tmp_path)
    extract_legacy(legacy, tmp_path / "plain", tmp_path / "adapter")
    assert load_file(tmp_path / "plain" / "model.safetensors").keys() == load_file(source / "model.safetensors").keys()
    for key, tensor in load_file(source / "model.safetensors").items():
        assert torch.equal(load_file(tmp_path / "plain" / "model.safetensors")[key], tensor)
    base = AutoModel.from_pretrained(tmp_path / "plain").eval()
    now = logits(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), source)
    assert_same_results(now, expected)
    if name != "chat_internlm2":
        return
    # InternLM2 is Llama in the -hf layout; the adapter fits it as well.
    plain = AutoModel.from_pretrained(tmp_path / "plain", image_token_id=base.config.image_token_id)
    plain.save_pretrained(tmp_path / "hf", save_original_format=False)
    hf = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf").eval()
    now = logits(PeftModel.from_pretrained(hf, tmp_path / "adapter").eval(), source)
    assert_same_results(now, expected)


@pytest.mark.parametrize(("llm", "backbone"), [(4, 0), (0, 4)])
def test_one_part_alone(llm, backbone, tmp_path):
    source, legacy, expected = make("chat_internlm2", tmp_path, llm, backbone)
    extract_legacy(legacy, tmp_path / "plain", tmp_path / "adapter")
    base = AutoModel.from_pretrained(tmp_path / "plain").eval()
    assert_same_results(logits(PeftModel.from_pretrained(base, tmp_path / "adapter").eval(), source), expected)


def test_names_of_early_peft(tmp_path):
    source, legacy, expected = make("chat_qwen2", tmp_path, base_layer="")
    merge_legacy(legacy, tmp_path / "plain")
    now = logits(AutoModel.from_pretrained(tmp_path / "plain").eval(), source)
    assert_same_results(now, expected)


def test_everything_else_stays(tmp_path):
    source, legacy, _ = make("chat_internlm2", tmp_path)
    (legacy / "modeling_internvl_chat.py").write_text("# the authors' code\n")
    (legacy / "optimizer.pt").write_bytes(b"training state")
    merge_legacy(legacy, tmp_path / "plain")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "plain"))
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key.split(".")[-2] for key in changed} == {"wqkv", "wo", "w1", "w2", "w3", "qkv", "proj", "fc1", "fc2"}
    for name in set(os.listdir(legacy)) - {"model.safetensors", "inputs.safetensors", "outputs.safetensors"}:
        if name == "optimizer.pt":
            assert not (tmp_path / "plain" / name).exists()
        elif name == "config.json":
            legacy_config = json.loads((legacy / name).read_text())
            plain = json.loads((tmp_path / "plain" / name).read_text())
            assert plain == {**legacy_config, "use_llm_lora": 0, "use_backbone_lora": 0}
        else:
            assert (tmp_path / "plain" / name).read_bytes() == (legacy / name).read_bytes()


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_several_files(form, tmp_path):
    """A and B need not lie in the file of their weight."""
    source, legacy, expected = make("chat_phi3", tmp_path)
    weights = load_file(legacy / "model.safetensors")
    (legacy / "model.safetensors").unlink()
    parts = [{}, {}, {}]
    for index, (key, tensor) in enumerate(sorted(weights.items())):
        parts[2 if "lora_A" in key else index % 2][key] = tensor
    stem = "model" if form == "safetensors" else "pytorch_model"
    names = [f"{stem}-{index}-of-3.{form}" for index in (1, 2, 3)]
    for name, part in zip(names, parts, strict=True):
        save_file(part, legacy / name, {"format": "pt"}) if form == "safetensors" else torch.save(part, legacy / name)
    places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    index = f"{stem}.{form}.index.json"
    (legacy / index).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    merge_legacy(legacy, tmp_path / "plain")
    assert sorted(path.name for path in (tmp_path / "plain").glob("model*")) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    now = logits(AutoModel.from_pretrained(tmp_path / "plain").eval(), source)
    assert_same_results(now, expected)
    (legacy / names[0]).unlink()
    with pytest.raises(OSError, match=f"{names[0]}, which .* names, is missing"):
        merge_legacy(legacy, tmp_path / "again")


def test_half_precision_is_rounded_once():
    torch.manual_seed(0)
    weight, down, up = (torch.randn(s, dtype=torch.bfloat16) for s in ((8, 6), (2, 6), (8, 2)))
    exact = weight.double() + 2 * up.double() @ down.double()
    assert torch.equal(merged(weight, down, up), exact.to(torch.bfloat16))


@pytest.mark.parametrize("lenient", [False, True])
def test_loading_names_the_command(lenient, tmp_path):
    _, legacy, _ = make("chat_internlm2", tmp_path)
    with pytest.raises(ValueError, match=r"internvl surgery merge-lora .*legacy.* or .*extract-lora"):
        AutoModel.from_pretrained(legacy, ignore_mismatched_sizes=lenient)


def test_what_cannot_be_done_is_refused(tmp_path):
    source, legacy, _ = make("chat_qwen2", tmp_path)
    with pytest.raises(ValueError, match="holds no weights of adapters"):
        merge_legacy(source, tmp_path / "plain")
    with pytest.raises(ValueError, match="holds no weights of adapters"):
        extract_legacy(source, tmp_path / "plain", tmp_path / "adapter")
    weights = load_file(legacy / "model.safetensors")
    name = next(key for key in weights if "lora_B" in key)
    save_file({k: t for k, t in weights.items() if k != name}, legacy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="needs its weight, lora_A and lora_B"):
        merge_legacy(legacy, tmp_path / "plain")
    (legacy / "model.safetensors").unlink()
    with pytest.raises(OSError, match="There are no weights in"):
        merge_legacy(legacy, tmp_path / "plain")
    assert sorted(os.listdir(tmp_path)) == ["legacy"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_merge_is_rounded_once(dtype):
    """`W + 2 * B @ A` in float64, rounded to the weight's format."""
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(*s, generator=generator).to(dtype) for s in ((20, 30), (4, 30), (20, 4)))
    expected = (weight.double() + 2 * up.double() @ down.double()).to(dtype)
    found = merged(weight, down, up)
    assert found.dtype == dtype and (found != expected).float().mean() < 0.01
    assert torch.equal(merged(weight, down, up, scale=0.0), weight)


def test_the_adapter_that_is_taken_out_says_how_it_was_trained(tmp_path):
    """Two ranks: the larger one is the adapter's, the other stands in the patterns; alpha is twice the rank."""
    source, legacy, _ = make("chat_qwen2", tmp_path, llm=2, backbone=5)
    extract_legacy(legacy, tmp_path / "plain", tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (5, 10, 0.05)
    assert set(config["rank_pattern"].values()) == {2} and set(config["alpha_pattern"].values()) == {4}
    assert config["base_model_name_or_path"] == str(tmp_path / "plain") and config["task_type"] == "CAUSAL_LM"
    flags = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert [flags[name] for name in ("use_llm_lora", "use_backbone_lora")] == [0, 0]


@pytest.mark.parametrize("kind", ["A", "B"])
def test_half_an_adapter_is_refused(tmp_path, kind):
    weights = {"language_model.base_model.model.x.base_layer.weight": torch.ones(2, 2)}
    weights[f"language_model.base_model.model.x.lora_{kind}.default.weight"] = torch.ones(2, 2)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="is incomplete: language_model.x needs its weight, lora_A and lora_B"):
        merge_legacy(tmp_path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
