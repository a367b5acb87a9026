# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints with holes: no class draws weights that are not there, but for a head that is new as a whole."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

from tests.tiny import tiny_config
from transformers_internvl import (
    InternLM2Config,
    InternLM2ForCausalLM,
    InternLM2Model,
    InternVLForConditionalGeneration,
    InternVLModel,
    InternVLVisionBackbone,
    InternVLVisionForImageClassification,
    InternVLVisionForSemanticSegmentation,
    InternVLVisionModel,
)
from transformers_internvl.cli import main
from transformers_internvl.nano import nano_path

PYRAMID = {"use_mean_pooling": False, "out_features": ["stage1", "stage2", "stage3", "stage4"], "use_fpn": True}


def tower_config(**changes):
    return tiny_config(vision={"num_labels": 3} | changes).vision_config


MODELS = {
    "chat": lambda: InternVLForConditionalGeneration(tiny_config()),
    "body": lambda: InternVLModel(tiny_config()),
    "tower": lambda: InternVLVisionModel(tower_config()),
    "classifier": lambda: InternVLVisionForImageClassification(tower_config()),
    "segmentation": lambda: InternVLVisionForSemanticSegmentation(tower_config(use_mean_pooling=False)),
    "pyramid": lambda: InternVLVisionBackbone(tower_config(**PYRAMID)),
    "InternLM2": lambda: InternLM2ForCausalLM(small_internlm2()),
    "InternLM2 body": lambda: InternLM2Model(small_internlm2()),
}


def small_internlm2():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return InternLM2Config(vocab_size=32, num_key_value_heads=1, **sizes)


def without(folder, is_lost):
    """Take weights out of a saved model; how many there were."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    kept = {name: tensor for name, tensor in weights.items() if not is_lost(name)}
    assert len(kept) < len(weights)
    save_file(kept, path, metadata={"format": "pt"})
    return len(weights) - len(kept)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_one_lost_weight_is_an_error(name, tmp_path):
    """Each weight, one after another: the first, one in the middle, the last."""
    model = MODELS[name]()
    model.save_pretrained(tmp_path / "whole")
    assert same(type(model).from_pretrained(tmp_path / "whole"), model)
    names = sorted(load_file(tmp_path / "whole" / "model.safetensors"))
    for lost in {names[0], names[len(names) // 2], names[-1]}:
        folder = tmp_path / lost
        model.save_pretrained(folder)
        without(folder, lambda key, lost=lost: key == lost)
        with pytest.raises(ValueError, match=f"There is no weights for 1 of them: .*{lost.rpartition('.')[2]}"):
            type(model).from_pretrained(folder)
        for loose in (True, False):
            with pytest.raises(ValueError, match="no weights for 1 of them"):
                type(model).from_pretrained(folder, low_cpu_mem_usage=loose, output_loading_info=True)
        loaded, report = type(model).from_pretrained(folder, ignore_mismatched_sizes=True, output_loading_info=True)
        assert len(report["missing_keys"]) == 1 and type(loaded) is type(model)


@pytest.mark.parametrize("auto", [AutoModelForImageTextToText, AutoModel])
def test_auto_classes_refuse_holes(auto, tmp_path):
    MODELS["chat"]().save_pretrained(tmp_path)
    without(tmp_path, lambda key: "vision_tower.encoder.layer.0" in key)
    with pytest.raises(ValueError, match="Check that the folder is complete"):
        auto.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name, changes, head",
    [
        ("classifier", {}, ("classifier", "batch_norm")),
        ("segmentation", {"use_mean_pooling": False}, ("classifier", "batch_norm")),
        ("pyramid", {"use_mean_pooling": False}, ("neck",)),
    ],
)
def test_a_head_of_which_nothing_is_there_is_new(name, changes, head, tmp_path):
    InternVLVisionModel(tower_config(**changes)).save_pretrained(tmp_path)
    model = MODELS[name]()
    loaded, report = type(model).from_pretrained(tmp_path, config=model.config, output_loading_info=True)
    assert report["missing_keys"] and all(key.startswith(head) for key in report["missing_keys"])
    without(tmp_path, lambda key: key.endswith("cls_token"))
    with pytest.raises(ValueError, match="no weights for 1 of them: .*cls_token"):
        type(model).from_pretrained(tmp_path, config=model.config)


def test_a_head_of_which_a_part_is_there_is_no_new_one(tmp_path):
    model = MODELS["classifier"]()
    model.save_pretrained(tmp_path)
    without(tmp_path, lambda key: key == "classifier.bias")
    with pytest.raises(ValueError, match="no weights for 1 of them: classifier.bias"):
        type(model).from_pretrained(tmp_path)


def test_a_body_is_no_chat_model_and_a_chat_model_has_a_body(tmp_path):
    MODELS["body"]().save_pretrained(tmp_path / "body")
    MODELS["chat"]().save_pretrained(tmp_path / "chat")
    with pytest.raises(ValueError, match="no weights for 1 of them: lm_head.weight"):
        InternVLForConditionalGeneration.from_pretrained(tmp_path / "body")
    chat = InternVLForConditionalGeneration.from_pretrained(tmp_path / "chat")
    assert same(InternVLModel.from_pretrained(tmp_path / "chat"), chat.model)
    MODELS["InternLM2 body"]().save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match="no weights for 1 of them: lm_head.weight"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "text")


def test_tied_heads_are_not_missing(tmp_path):
    model = InternVLForConditionalGeneration(tiny_config(tie_word_embeddings=True))
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert same(InternVLForConditionalGeneration.from_pretrained(tmp_path), model)


def test_a_shard_that_the_index_forgot_is_missed(tmp_path):
    model = MODELS["chat"]()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    index = tmp_path / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    last = sorted(set(content["weight_map"].values()))[-1]
    content["weight_map"] = {key: file for key, file in content["weight_map"].items() if file != last}
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="There is no weights for"):
        InternVLForConditionalGeneration.from_pretrained(tmp_path)


def test_chat_ends_in_one_line(tmp_path, capsys):
    AutoModelForImageTextToText.from_pretrained(nano_path()).save_pretrained(tmp_path)
    for path in nano_path().iterdir():
        if not (tmp_path / path.name).exists() and path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    without(tmp_path, lambda key: "layers.0.mlp" in key)
    code = main(["chat", "--model", str(tmp_path), "Hi"])
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "" and captured.err.count("\n") == 1 and "no weights for" in captured.err
