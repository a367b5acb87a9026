# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Parts on other devices than the rest, by a device map in the names of either layout."""

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoTokenizer

from tests.parity.golden import golden_root
from transformers_internvl.modeling.pretrained.module_names import own_device_map, own_names
from transformers_internvl.nano import nano_path
from transformers_internvl.profiling.model_profile import build_on_meta

GREEDY = {"max_new_tokens": 4, "do_sample": False}
PARTS = ["vision_model", "mlp1", "language_model.model.embed_tokens", "language_model.model.norm"]
PARTS += ["language_model.lm_head", "language_model.model.layers.0"]


def split_model(layers: int, device="cpu") -> dict:
    """The device map of the model cards, with the names of every language model."""
    device_map = {f"language_model.model.layers.{index}": device for index in range(layers)}
    for name in ("tok_embeddings", "embed_tokens", "norm", "rotary_emb"):
        device_map[f"language_model.model.{name}"] = device
    for name in ("vision_model", "mlp1", "language_model.output", "language_model.lm_head"):
        device_map[name] = device
    return device_map


@pytest.fixture(scope="module", params=["chat_qwen2", "chat_internlm2"])
def setting(request):
    path = golden_root() / request.param
    model = AutoModel.from_pretrained(path).eval()
    side = model.config.tile_size
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    tokenizer = AutoTokenizer.from_pretrained(path)
    return path, tokenizer, pixels, answers(model, tokenizer, pixels), len(model.model.language_model.layers)


def answers(model, tokenizer, pixels):
    chat = model.chat(tokenizer, pixels, "<image>\nWhat is this?", GREEDY)
    return [chat, *model.batch_chat(tokenizer, pixels, ["What?", "Why?"], GREEDY, num_patches_list=[1, 1])]


@pytest.mark.parametrize("parts", [[part] for part in PARTS] + [PARTS], ids=lambda parts: parts[-1])
def test_a_cards_map_with_parts_elsewhere(setting, parts, tmp_path):
    path, tokenizer, pixels, expected, layers = setting
    device_map, empty = split_model(layers), build_on_meta(AutoConfig.from_pretrained(path))

    def meant(name: str) -> list[str]:
        return own_names(empty, [name], "here")

    for part in parts:
        names = [name for name in device_map if meant(name) == meant(part)]
        device_map.update(dict.fromkeys(names, "disk"))
    model = AutoModel.from_pretrained(path, device_map=device_map, offload_folder=tmp_path).eval()
    for part in parts:
        (name,) = meant(part)
        assert model.hf_device_map[name] == "disk"
    assert model.device == torch.device("cpu")
    assert answers(model, tokenizer, pixels) == expected


def test_coarse_maps(setting, tmp_path):
    path, tokenizer, pixels, expected, _ = setting
    for device_map in (
        {"vision_model": "disk", "mlp1": "cpu", "language_model": "cpu"},
        {"vision_model": "disk", "mlp1": "disk", "language_model": "disk"},
        {"model": "disk", "lm_head": "cpu"},
    ):
        model = AutoModel.from_pretrained(path, device_map=device_map, offload_folder=tmp_path).eval()
        assert answers(model, tokenizer, pixels) == expected


@torch.no_grad()
def test_other_classes_take_inputs_on_a_real_device(tmp_path):
    rest = dict.fromkeys(("model.multi_modal_projector", "model.language_model", "lm_head"), "cpu")
    ids, pixels = torch.tensor([[1, 5, 6]]), torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    for auto, path, device_map, inputs in (
        (AutoModelForImageTextToText, nano_path(), {"model.vision_tower": "disk", **rest}, (ids,)),
        (AutoModel, golden_root() / "intern_vit_300m", {"embeddings": "disk", "encoder": "cpu"}, (pixels,)),
        (AutoModel, golden_root() / "internvl_14b", {"": "disk"}, (pixels, ids)),
    ):
        whole = auto.from_pretrained(path).eval()
        names = [*device_map, *(name for name, _ in whole.named_children() if "" not in device_map)]
        parts = {name: device_map.get(name, "cpu") for name in names if name != "model"}
        model = auto.from_pretrained(path, device_map=parts, offload_folder=tmp_path).eval()
        assert model.device == torch.device("cpu")
        torch.testing.assert_close(model(*inputs)[0], whole(*inputs)[0], rtol=1e-5, atol=1e-5)
    assert build_on_meta(AutoConfig.from_pretrained(golden_root() / "chat_qwen2")).device == torch.device("meta")


def test_names_of_either_layout():
    """Every weight of a folder in the original layout lies in the module that its name is translated to."""
    for name in ("chat_qwen2", "chat_internlm2"):
        with safe_open(golden_root() / name / "model.safetensors", "pt") as weights:
            keys = list(weights.keys())
        model = build_on_meta(AutoConfig.from_pretrained(golden_root() / name))
        ours = {name for name, _ in (*model.named_modules(), *model.named_parameters())}
        modules = [key.removesuffix(".bias").removesuffix(".weight") for key in keys]
        assert set(own_names(model, modules, "here")) <= ours
    assert own_names(model, ["model.language_model.layers.1"], "here") == ["model.language_model.layers.1"]
    with pytest.raises(ValueError, match="'language_models', given in here, is no module"):
        own_names(model, ["language_models"], "here")


def test_one_module_has_one_device():
    model = build_on_meta(AutoConfig.from_pretrained(golden_root() / "chat_qwen2"))
    with pytest.raises(ValueError, match=r"puts lm_head on 0 as 'language_model.output' and on 1 as 'lm_head'"):
        own_device_map(model, {"language_model.output": 0, "lm_head": 1})
