# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Quantized models are saved and loaded again, whatever is fused in their files. bitsandbytes runs on the CPU.

Judged by bitsandbytes' own dequantization of the weights, by hand for files as other tools write them, and by what
transformers calls the modules.
"""

import json
from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, quantize_4bit
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForImageTextToText, BitsAndBytesConfig

import transformers_internvl as ours
from tests.parity.golden import golden_root
from transformers_internvl.conversion.weights.ops import merge_grouped_qkv, split_grouped_qkv

CHATS = ["chat_internlm2", "chat_qwen2", "chat_phi3"]
BITS = ["8", "4", "4 nested"]
HEAD = ["language_model.output", "lm_head"]
QUANTIZED = (Linear4bit, Linear8bitLt)


def bits(kind: str, skip: list[str] | None) -> BitsAndBytesConfig:
    if kind == "8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=kind == "4 nested",
        bnb_4bit_compute_dtype=torch.float32,
        llm_int8_skip_modules=skip,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Chat models whose rows fill blocks of 64 numbers, as those of the releases do."""
    root, made = tmp_path_factory.mktemp("models"), {}
    wide = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    for name in CHATS:
        config = json.loads((golden_root() / name / "config.json").read_text())
        config["llm_config"] |= {**wide, "num_hidden_layers": 1, "rope_scaling": None}
        config["llm_config"].pop("head_dim", None)
        config["vision_config"] |= {**wide, "num_hidden_layers": 2}
        torch.manual_seed(0)
        model = ours.InternVLChatModel(ours.InternVLChatConfig.from_dict(config))
        model.config.image_token_id = 3
        model.save_pretrained(root / name)
        made[name] = root / name
    return made


def weights(model) -> dict[str, torch.Tensor]:
    """All weights as they are meant, by the module's names."""
    found = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for name, module in model.named_modules():
        if isinstance(module, Linear4bit):
            found[f"{name}.weight"] = dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, Linear8bitLt):
            scale = module.state.SCB if module.weight.SCB is None else module.weight.SCB
            found[f"{name}.weight"] = module.weight.data.float() * scale.reshape(-1, 1) / 127
    return found


def equal(one, other) -> bool:
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def quantized(model) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, QUANTIZED)}


# --- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [None, HEAD], ids=["language model", "all but the head"])
@pytest.mark.parametrize("kind", BITS)
@pytest.mark.parametrize("name", CHATS)
def test_saved_and_loaded_again_in_either_layout(folders, name, kind, skip, tmp_path):
    model = AutoModel.from_pretrained(folders[name], quantization_config=bits(kind, skip))
    assert any(".language_model." in part for part in quantized(model))
    assert any(".vision_tower." in part for part in quantized(model)) == (skip == HEAD)
    model.save_pretrained(tmp_path / "authors")
    again = AutoModel.from_pretrained(tmp_path / "authors")
    assert type(again) is ours.InternVLChatModel and quantized(again) == quantized(model) and equal(again, model)
    again.save_pretrained(tmp_path / "twice")
    assert equal(AutoModel.from_pretrained(tmp_path / "twice"), model)

    again.save_pretrained(tmp_path / "hf", save_original_format=False)
    canonical = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    assert type(canonical) is ours.InternVLForConditionalGeneration and equal(canonical, model)
    assert equal(model.to_canonical(), model)
    if kind == "8":
        ids = torch.arange(4, 12)[None]
        with torch.no_grad():
            expected = model(ids).logits
            for other in (again, canonical, model.to_canonical()):
                torch.testing.assert_close(other(ids).logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", BITS)
def test_a_tower_by_itself(kind, tmp_path):
    config = ours.InternVisionConfig(
        hidden_size=64, intermediate_size=128, num_attention_heads=4, num_hidden_layers=2, image_size=56
    )
    ours.InternVisionModel(config).save_pretrained(tmp_path / "tower")
    model = AutoModel.from_pretrained(tmp_path / "tower", quantization_config=bits(kind, ["encoder.layers.1"]))
    assert len(quantized(model)) == 6 and all(name.startswith("encoder.layer.0.") for name in quantized(model))
    model.save_pretrained(tmp_path / "quantized")
    written = json.loads((tmp_path / "quantized" / "config.json").read_text())["quantization_config"]
    assert written["llm_int8_skip_modules"] == ["encoder.layers.1"]
    assert "encoder.layers.0.attn.qkv.weight" in load_file(tmp_path / "quantized" / "model.safetensors")
    assert equal(AutoModel.from_pretrained(tmp_path / "quantized"), model)


def test_rows_that_do_not_fill_blocks_are_refused_with_the_way_out(tmp_path):
    model = AutoModel.from_pretrained(golden_root() / "chat_internlm2", quantization_config=bits("4", None))
    with pytest.raises(ValueError, match=r"Rows of 48 numbers do not fill blocks of 64.*save_original_format=False"):
        model.save_pretrained(tmp_path / "authors")
    model.save_pretrained(tmp_path / "hf", save_original_format=False)
    assert equal(AutoModelForImageTextToText.from_pretrained(tmp_path / "hf"), model)


def test_parts_of_one_weight_that_are_quantized_differently_are_refused(folders, tmp_path):
    model = AutoModel.from_pretrained(folders["chat_internlm2"], quantization_config=bits("8", ["q_proj"]))
    with pytest.raises(ValueError, match=r"quantized differently \(8 bits, not at all\).*save_original_format=False"):
        model.save_pretrained(tmp_path)


# --- folders that other tools have quantized -------------------------------------------------------------------------


def test_a_folder_in_eight_bits_with_fused_weights(folders, tmp_path):
    """As `InternVL-Chat-V1-5-Int8` is: made with the original code, where `wqkv` is one layer with its scales."""
    source = folders["chat_internlm2"]
    plain = load_file(source / "model.safetensors")
    meant, files = {}, {}
    for key, tensor in plain.items():
        inside = key.startswith("language_model.model.layers.") and tensor.dim() == 2
        if not inside:
            files[key] = tensor.clone()
            continue
        scale = tensor.abs().amax(1)
        files[key] = (tensor * 127 / scale[:, None]).round().to(torch.int8)
        files[key.replace("weight", "SCB")] = scale
        files[key.replace("weight", "weight_format")] = torch.tensor(0, dtype=torch.uint8)
        meant[key] = files[key].float() * scale[:, None] / 127
    assert any("wqkv" in key for key in meant)
    _write(
        tmp_path, source, files, {"load_in_8bit": True, "llm_int8_skip_modules": ["vision_model", "mlp1", "output"]}
    )
    model = AutoModel.from_pretrained(tmp_path)
    loaded = weights(model)
    assert len(quantized(model)) == 7
    for part in range(3):
        name = f"model.language_model.layers.0.self_attn.{'qkv'[part]}_proj.weight"
        expected = split_grouped_qkv(meant["language_model.model.layers.0.attention.wqkv.weight"], model.config)[part]
        torch.testing.assert_close(loaded[name], expected)
    mlp = meant["language_model.model.layers.0.feed_forward.w2.weight"]
    torch.testing.assert_close(loaded["model.language_model.layers.0.mlp.down_proj.weight"], mlp)


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_in_four_bits_with_fused_weights(folders, nested, tmp_path):
    source = folders["chat_internlm2"]
    files, meant = {}, {}
    for key, tensor in load_file(source / "model.safetensors").items():
        if not (key.startswith("language_model.model.layers.") and tensor.dim() == 2):
            files[key] = tensor.clone()
            continue
        files[key], state = quantize_4bit(tensor, quant_type="nf4", compress_statistics=nested)
        files |= {f"{key}.{name}": value for name, value in state.as_dict(packed=True).items()}
        meant[key] = dequantize_4bit(files[key], state)
    settings = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": nested}
    _write(tmp_path, source, files, {**settings, "llm_int8_skip_modules": ["vision_model", "mlp1", "output"]})
    model = AutoModel.from_pretrained(tmp_path)
    loaded = weights(model)
    parts = [loaded[f"model.language_model.layers.0.self_attn.{part}_proj.weight"] for part in "qkv"]
    fused = merge_grouped_qkv(parts, model.config)
    torch.testing.assert_close(fused, meant["language_model.model.layers.0.attention.wqkv.weight"])


def _write(folder: Path, source: Path, files: dict[str, torch.Tensor], quantization: dict) -> None:
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", **quantization}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(files, folder / "model.safetensors", metadata={"format": "pt"})


# --- nothing is filled with random numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["before", "while loading"])
@pytest.mark.parametrize("key", ["language_model.model.layers.0.feed_forward.w2.weight", "mlp1.1.weight"])
def test_a_folder_that_lacks_a_layer_is_refused(folders, key, kind, tmp_path):
    source, options = folders["chat_internlm2"], {"quantization_config": bits("8", None)}
    if kind == "before":
        AutoModel.from_pretrained(source, **options).save_pretrained(tmp_path / "quantized")
        source, options = tmp_path / "quantized", {}
    files = load_file(source / "model.safetensors")
    stem = key.removesuffix("weight")
    assert key in files
    (tmp_path / "broken").mkdir()
    kept = {name: tensor for name, tensor in files.items() if not name.startswith(stem)}
    save_file(kept, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "broken" / "config.json").write_text((source / "config.json").read_text())
    with pytest.raises(ValueError, match="no weights for [12] of them"):
        AutoModel.from_pretrained(tmp_path / "broken", **options)
