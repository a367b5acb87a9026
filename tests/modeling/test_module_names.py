# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Modules by the original names, the folder's and ours, wherever names are given. Expected names are written out."""

import json

import pytest
import torch
from bitsandbytes.nn import Linear8bitLt
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, BitsAndBytesConfig, QuantoConfig

import transformers_internvl as ours
from tests.parity.golden import golden_root
from transformers_internvl.modeling.pretrained.module_names import (
    adapter_names,
    cover,
    disk_names,
    own_device_map,
    own_names,
    skipped_names,
)
from transformers_internvl.profiling.model_profile import build_on_meta

INTERNLM2 = golden_root() / "chat_internlm2"
PROJECTIONS = [f"model.language_model.layers.{layer}.self_attn.{part}_proj" for layer in range(2) for part in "qkv"]
# A name of any layout -> ours.
MEANT = {
    "vision_model": ["model.vision_tower"],
    "vision_tower": ["model.vision_tower"],
    "mlp1": ["model.multi_modal_projector"],
    "mlp1.1": ["model.multi_modal_projector.linear_1"],
    "language_model": ["model.language_model", "lm_head"],
    "language_model.model": ["model.language_model"],
    "language_model.model.layers.1": ["model.language_model.layers.1"],
    "language_model.output": ["lm_head"],
    "language_model.lm_head": ["lm_head"],
    "vision_model.encoder.layers.0.attn.proj": ["model.vision_tower.encoder.layer.0.attention.projection_layer"],
    "lm_head": ["lm_head"],
    "model.vision_tower": ["model.vision_tower"],
}
ENDINGS = {"wqkv": PROJECTIONS, "output": ["lm_head"], "lm_head": ["lm_head"], "q_proj": ["q_proj"]}


@pytest.fixture(scope="module", params=["authors", "canonical"])
def model(request):
    built = build_on_meta(AutoConfig.from_pretrained(INTERNLM2))
    return built if request.param == "authors" else built.to_canonical()


def test_every_layout_is_understood(model):
    for name, meant in MEANT.items():
        assert own_names(model, [name], "here") == meant and skipped_names(model, [name]) == meant, name
    for name, meant in ENDINGS.items():
        assert skipped_names(model, [name]) == meant, name


def test_names_that_mean_nothing_are_refused(model):
    with pytest.raises(
        ValueError, match="'mlp2', given in `targets`, is no module of .*the original ones are vision_model"
    ):
        own_names(model, ["mlp1", "mlp2"], "`targets`")
    with pytest.raises(ValueError, match="'visual', given in the list of modules that are not quantized"):
        skipped_names(model, ["visual"])
    with pytest.raises(ValueError, match="'visual', given in `device_map`"):
        own_device_map(model, {"visual": 0, "": 1})


def test_names_of_adapters_that_mean_nothing_stay(model):
    """peft says what it has not found; the order is kept, and nothing comes twice."""
    assert adapter_names(model, ["visual", "mlp1", "output", "lm_head", "q_proj", "visual"]) == [
        "visual",
        "model.multi_modal_projector",
        "lm_head",
        "q_proj",
    ]
    assert adapter_names(model, []) == []
    inside = adapter_names(model, ["mlp1", "visual"], innermost=True)
    assert inside[-1] == "visual" and {f"model.multi_modal_projector.linear_{number}" for number in (1, 2)} < {*inside}
    assert "model.multi_modal_projector" not in inside


def test_those_of_the_layout_at_hand_are_written():
    model = build_on_meta(AutoConfig.from_pretrained(INTERNLM2))
    assert disk_names(model, ["model.vision_tower", "lm_head"]) == ["vision_model", "language_model.output"]
    assert disk_names(model, ["q_proj", "k_proj", "v_proj"])[-1] == "language_model.model.layers.1.attention.wqkv"


def test_the_fewest_modules_cover_parts():
    parts = ["a.b.c", "a.b.d", "a.e", "f"]
    assert cover(parts, parts) == ["a", "f"]
    assert cover(["a.b.c", "a.b.d", "f"], parts) == ["a.b", "f"] and cover(["a.b.c"], parts) == ["a.b.c"]


# --- quantization ----------------------------------------------------------------------------------------------------


def skipping(*names: str) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(names))


def parts_in_eight_bits(model) -> set[str]:
    names = [name for name, module in model.named_modules() if isinstance(module, Linear8bitLt)]
    return {".".join(name.split(".")[: 2 if name.startswith("model.") else 1]) for name in names}


@pytest.mark.parametrize("auto_class", [AutoModel, ours.InternVLChatModel])
def test_lists_of_modules_for_quantizers(auto_class, tmp_path):
    given = skipping("vision_model", "mlp1")  # as public scripts have it: the head goes with the language model
    model = auto_class.from_pretrained(INTERNLM2, quantization_config=given)
    assert parts_in_eight_bits(model) == {"model.language_model", "lm_head"}
    assert given.llm_int8_skip_modules == ["vision_model", "mlp1"]  # the caller's is not changed
    model.save_pretrained(tmp_path / "authors")
    written = json.loads((tmp_path / "authors" / "config.json").read_text())["quantization_config"]
    assert written["llm_int8_skip_modules"] == ["vision_model", "mlp1"]
    again = auto_class.from_pretrained(tmp_path / "authors", image_token_id=7)
    assert parts_in_eight_bits(again) == parts_in_eight_bits(model) and again.config.image_token_id == 7
    assert again.config.quantization_config.llm_int8_skip_modules == [
        "model.vision_tower",
        "model.multi_modal_projector",
    ]
    again.save_pretrained(tmp_path / "hf", save_original_format=False)
    written = json.loads((tmp_path / "hf" / "config.json").read_text())
    assert written["quantization_config"]["llm_int8_skip_modules"] == [
        "model.vision_tower",
        "model.multi_modal_projector",
    ]
    assert "quantization_config" not in written["original_config"]
    canonical = AutoModelForImageTextToText.from_pretrained(tmp_path / "hf")
    assert parts_in_eight_bits(canonical) == parts_in_eight_bits(model)


def test_a_name_that_means_nothing_in_a_call_and_in_a_folder(tmp_path, caplog):
    with pytest.raises(ValueError, match="'visual', given in the list of modules that are not quantized"):
        AutoModel.from_pretrained(INTERNLM2, quantization_config=skipping("visual"))
    model = AutoModel.from_pretrained(INTERNLM2, quantization_config=skipping("vision_model", "mlp1"))
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["llm_int8_skip_modules"].append("modality_projection")  # of tools that serve all
    (tmp_path / "config.json").write_text(json.dumps(config))
    again = AutoModel.from_pretrained(tmp_path)
    assert parts_in_eight_bits(again) == {"model.language_model", "lm_head"}
    assert "names what the model does not have: modality_projection" in caplog.text


def test_lists_of_other_quantizers(monkeypatch):
    """torchao's and quanto's field, by an object and by a dictionary, on towers too."""
    seen = []

    def catch(config, *args, **kwargs):
        seen.append(config.modules_to_not_convert)
        raise ValueError("seen")

    monkeypatch.setattr("transformers.quantizers.auto.AutoHfQuantizer.from_config", catch)
    listed = {"quant_method": "quanto", "weights": "int8", "modules_to_not_convert": ["mlp1", "language_model.output"]}
    for config in (QuantoConfig(weights="int8", modules_to_not_convert=["mlp1", "language_model.output"]), listed):
        with pytest.raises(ValueError, match="seen"):
            AutoModel.from_pretrained(INTERNLM2, quantization_config=config)
        assert seen.pop() == ["model.multi_modal_projector", "lm_head"]
    config = QuantoConfig(weights="int8", modules_to_not_convert=["encoder.layers.0"])
    with pytest.raises(ValueError, match="seen"):
        AutoModel.from_pretrained(golden_root() / "intern_vit_6b", quantization_config=config)
    assert seen.pop() == ["encoder.layer.0"]


# --- devices ---------------------------------------------------------------------------------------------------------


def test_device_maps(model):
    """That of the original cards, which names the modules of InternLM2 and of Qwen both."""
    card = {f"language_model.model.layers.{layer}": layer for layer in range(2)}
    card |= dict.fromkeys(("vision_model", "mlp1", "language_model.model.norm", "language_model.lm_head"), 0)
    card |= dict.fromkeys(("language_model.model.tok_embeddings", "language_model.model.embed_tokens"), 0)
    card |= dict.fromkeys(("language_model.output", "language_model.model.rotary_emb"), 0)
    assert own_device_map(model, card) == {
        "model.vision_tower": 0,
        "model.multi_modal_projector": 0,
        "model.language_model.embed_tokens": 0,
        "model.language_model.layers.0": 0,
        "model.language_model.norm": 0,
        "model.language_model.rotary_emb": 0,
        "lm_head": 0,
        "model.language_model.layers.1": 1,
    }
    assert own_device_map(model, {"": "cpu", "mlp1": "disk"})["model.multi_modal_projector"] == "disk"
    for own in ({"": 0}, {"model.vision_tower": 0, "model": 1, "lm_head": "cpu"}):
        assert own_device_map(model, own) is own


def test_a_model_is_loaded_by_such_a_map(tmp_path):
    device_map = {"vision_model": "disk", "mlp1": "cpu", "language_model": "disk", "language_model.output": "cpu"}
    expected = AutoModel.from_pretrained(INTERNLM2)
    model = AutoModel.from_pretrained(INTERNLM2, device_map=device_map, offload_folder=tmp_path)
    assert model.hf_device_map["model.vision_tower"] == "disk" and model.hf_device_map["lm_head"] == "cpu"
    ids = torch.arange(4, 12)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, expected(ids).logits, rtol=1e-5, atol=1e-5)


def test_one_module_has_one_device(model):
    """Two names of the embeddings, in different layouts; a name within another one's module is no contradiction."""
    one, other = "language_model.model.tok_embeddings", "language_model.model.embed_tokens"
    assert own_device_map(model, {"": 0, one: 1, other: 1})["model.language_model.embed_tokens"] == 1
    with pytest.raises(ValueError, match="model.language_model.embed_tokens on .* one module, give it one device"):
        own_device_map(model, {"": 0, one: 1, other: 2})
