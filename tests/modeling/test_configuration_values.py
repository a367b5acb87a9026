# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Defaults, exact bounds and what a change of every field becomes, on disk and in the other layout."""

import dataclasses
import json
import re

import pytest
import torch
from torch import nn
from transformers import AutoConfig, Qwen2Config

from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl import (
    InternLM2Config,
    InternVisionConfig,
    InternVLChatConfig,
    InternVLConfig,
    InternVLDualEncoderConfig,
    InternVLDualEncoderModel,
    InternVLLlavaConfig,
    InternVLVisionConfig,
    InternVLVisionModel,
    QLlamaConfig,
)

# By hand, from the docstrings and the original files.
DEFAULTS = {
    InternVLVisionConfig: {
        "drop_path_rate": 0.0,
        "patch_dropout": 0.0,
        "classifier_pooling": "cls_patch_concat",
        "classifier_pool_heads": None,
        "semantic_loss_ignore_index": 255,
        "use_fpn": False,
        "image_size": (448, 448),
        "patch_size": (14, 14),
    },
    InternVisionConfig: {
        "hidden_size": 3200,
        "num_hidden_layers": 48,
        "num_attention_heads": 25,
        "intermediate_size": 12800,
        "use_qk_norm": True,
        "attention_bias": False,
        "norm_type": "rms_norm",
        "image_size": (224, 224),
        "patch_size": (14, 14),
    },
    InternVLConfig: {
        "ps_version": "v2",
        "vision_chunk_size": 16,
        "loss_reduction": "token",
        "projector_type": "mlp",
        "middleware_config": None,
        "image_token_id": 151667,
        "original_config": None,
        "downsample_ratio": 0.5,
        "vision_feature_layer": -1,
    },
    InternVLChatConfig: {
        "image_token_id": None,
        "ps_version": "v1",
        "force_image_size": None,
        "dynamic_image_size": False,
        "use_thumbnail": False,
        "min_dynamic_patch": 1,
        "max_dynamic_patch": 6,
        "pad2square": False,
        "template": None,
        "system_message": None,
        "use_backbone_lora": 0,
        "use_llm_lora": 0,
        "tie_word_embeddings": False,
        "loss_reduction": "token",
        "select_layer": -1,
        "vision_chunk_size": 16,
    },
    InternVLLlavaConfig: {
        "mm_vision_tower": "OpenGVLab/InternViT-6B-224px",
        "vision_feature_layer": -4,
        "projector_type": "mlp2x_gelu",
        "downsample_ratio": 1.0,
        "tile_size": 336,
        "image_seq_length": 576,
        "image_token_id": 32000,
        "image_aspect_ratio": None,
        "force_image_size": None,
        "tie_word_embeddings": False,
    },
    InternVLDualEncoderConfig: {
        "clip_embed_dim": 768,
        "attn_pool_num_heads": 16,
        "num_query_token": 96,
        "cross_attention_frequency": None,
        "label_smoothing": 0.0,
        "use_backbone_lora": 0,
        "use_qllama_lora": 0,
        "force_image_size": None,
        "initializer_range": 0.02,
    },
    QLlamaConfig: {
        "vocab_size": 49954,
        "pad_token_id": 0,
        "cross_attention_frequency": 2,
        "num_query_token": 96,
        "vision_hidden_size": 3200,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
    },
    InternLM2Config: {
        "vocab_size": 103168,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "bias": False,
    },
}


@pytest.mark.parametrize("config_class", DEFAULTS, ids=lambda config_class: config_class.__name__)
def test_defaults(config_class):
    config = config_class()
    for name, value in DEFAULTS[config_class].items():
        found = getattr(config, name)
        assert (tuple(found) if isinstance(found, (list, tuple)) else found) == value, name


@pytest.mark.parametrize(
    ("architecture", "model_type", "series_3_5"),
    [
        ("LlamaForCausalLM", "llama", False),
        ("InternLM2ForCausalLM", "internlm2", False),
        ("Phi3ForCausalLM", "phi3", False),
        ("Qwen2ForCausalLM", "qwen2", False),
        ("Qwen3ForCausalLM", "qwen3", True),
        ("Qwen3MoeForCausalLM", "qwen3_moe", True),
        ("GptOssForCausalLM", "gpt_oss", True),
    ],
)
def test_every_language_model_of_the_original_code(architecture, model_type, series_3_5):
    for tied in (False, True):
        llm_config = {"architectures": [architecture], "tie_word_embeddings": tied, "num_hidden_layers": 2}
        config = InternVLChatConfig(llm_config=llm_config)
        assert config.text_config.model_type == model_type and config.series_3_5 is series_3_5
        assert config.tie_word_embeddings is config.text_config.tie_word_embeddings is (tied and series_3_5)
        assert config.loss_reduction == ("square" if series_3_5 else "token")
        for given in ("token", "sample", "square"):
            again = InternVLChatConfig(llm_config=llm_config, loss_reduction=given)
            assert again.loss_reduction == again.to_canonical().loss_reduction == given
        canonical = config.to_canonical().text_config
        assert canonical.model_type == {"internlm2": "llama"}.get(model_type, model_type)


def test_a_language_model_may_come_as_a_config():
    given = Qwen2Config(hidden_size=64, num_attention_heads=4, num_hidden_layers=2)
    config = InternVLChatConfig(llm_config=given)
    assert config.text_config.hidden_size == config.llm_config.hidden_size == 64
    assert config.text_config.num_hidden_layers == 2


CHANGES = {
    "image_token_id": 7,
    "projector_hidden_act": "relu",
    "vision_feature_layer": -3,
    "ps_version": "v2",
    "vision_chunk_size": 5,
    "loss_reduction": "sample",
    "downsample_ratio": 0.25,
    "vision_chunk_size ": None,  # a second value of the same field
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_of_both_layouts_survives(name, tmp_path):
    value, name = CHANGES[name], name.strip()
    config = InternVLChatConfig(**{name: value})
    assert getattr(config.to_canonical(), name) == value
    if name == "projector_hidden_act":  # the original code has no such key
        return
    config.save_pretrained(tmp_path)
    assert getattr(AutoConfig.from_pretrained(tmp_path), name) == value
    config.to_canonical().save_pretrained(tmp_path)
    assert getattr(AutoConfig.from_pretrained(tmp_path), name) == value


def test_what_is_as_the_original_code_has_it_is_not_written(tmp_path):
    """Keys that their code does not know."""
    InternVLChatConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    ours = {"vision_chunk_size", "projector_type", "middleware_config", "loss_reduction", "image_token_id"}
    assert not written.keys() & {*ours, "image_seq_length", "projector_hidden_act", "image_token_of_tokenizer"}
    assert written["vision_config"]["architectures"] == ["InternVisionModel"]
    InternVLLlavaConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert not written.keys() & {*ours, "image_seq_length", "text_config", "vision_config", "force_image_size"}
    assert written["mm_vision_select_feature"] == "patch" and written["mm_hidden_size"] == 3200
    assert written["mm_vision_select_layer"] == -4 and written["mm_projector_type"] == "mlp2x_gelu"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vision_chunk_size", 5),
        ("loss_reduction", "square"),
        ("force_image_size", 224),
        ("image_aspect_ratio", "pad"),
        ("image_aspect_ratio", "square"),
        ("image_token_id", 31999),
    ],
)
def test_changes_of_the_first_generation_survive(name, value, tmp_path):
    InternVLLlavaConfig(**{name: value}).save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert getattr(again, name) == value
    assert again.image_seq_length == (256 if name == "force_image_size" else 576)


def test_queries_count_among_the_tokens_of_an_image():
    config = InternVLLlavaConfig(
        mm_vision_tower="OpenGVLab/InternVL-14B-224px", middleware_config={"num_query_token": 7, "hidden_size": 64}
    )
    assert config.image_seq_length == 7 + 576
    assert config.middleware_config.vision_hidden_size == config.vision_config.hidden_size == 3200
    assert config.to_diff_dict()["mm_hidden_size"] == 64
    tower = {"hidden_size": 40, "num_attention_heads": 4}
    narrow = InternVLLlavaConfig(
        mm_vision_tower="OpenGVLab/InternVL-14B-224px", vision_config=tower, middleware_config={"hidden_size": 64}
    )
    assert narrow.middleware_config.vision_hidden_size == 40
    assert narrow.to_canonical().middleware_config.vision_hidden_size == 40
    config.set_tower(InternVisionConfig(hidden_size=48, num_attention_heads=4))
    assert config.middleware_config.vision_hidden_size == 48 and config.image_seq_length == 7 + 576


# --- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config_class", "name", "taken", "refused"),
    [
        (InternVLVisionConfig, "drop_path_rate", [0, 0.0, 0.999], [1.0, -0.001]),
        (InternVLVisionConfig, "patch_dropout", [0, 0.0, 0.999], [1.0, -0.001]),
        (InternVLVisionConfig, "classifier_pool_heads", [None, 1, 1024], [0, -1, 3, 2048]),
        (InternVLVisionConfig, "num_attention_heads", [1, 1024], [3, 2048]),
        (InternVLConfig, "vision_chunk_size", [None, 1], [0, -1]),
        (InternVLConfig, "downsample_ratio", [1.0, 0.5, 0.25, 1 / 1000], [2.0, 0.4, 0.0, -0.5, 1 / 1001]),
        (InternVLDualEncoderConfig, "label_smoothing", [0, 0.0, 0.999], [1.0, -0.001]),
        (InternVLDualEncoderConfig, "attn_pool_num_heads", [1, 128], [3, 4096]),
        (QLlamaConfig, "cross_attention_frequency", [1, 99], [0]),
        (QLlamaConfig, "num_query_token", [1, 1000], [0]),
    ],
)
def test_values_at_their_bounds(config_class, name, taken, refused):
    for value in taken:
        assert getattr(config_class(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=f"`{name}`"):
            config_class(**{name: value})


@pytest.mark.parametrize("part", ["vision_config", "qllama_config"])
def test_both_halves_divide_by_the_heads_of_the_pools(part):
    other = "qllama_config" if part == "vision_config" else "vision_config"
    sizes = {part: {"hidden_size": 40, "num_attention_heads": 4}, other: {"hidden_size": 48, "num_attention_heads": 4}}
    with pytest.raises(ValueError, match=rf"`{part}.hidden_size` \(40\) must be a multiple"):
        InternVLDualEncoderConfig(**sizes, attn_pool_num_heads=16)


def test_what_holds_for_both_parts_of_the_dual_encoder(tmp_path):
    config = InternVLDualEncoderConfig(cross_attention_frequency=3, force_image_size=448, num_query_token=7)
    assert config.qllama_config.cross_attention_frequency == 3 and config.qllama_config.num_query_token == 7
    assert tuple(config.vision_config.image_size) == (448, 448)
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["hidden_size"] == 4096  # QLLaMA's
    assert AutoConfig.from_pretrained(tmp_path).qllama_config.cross_attention_frequency == 3
    assert (
        InternVLDualEncoderConfig(qllama_config={"cross_attention_frequency": 5}).qllama_config.num_query_token == 96
    )


@pytest.mark.parametrize(
    ("layers", "pyramid", "expected"),
    [(4, True, [1, 2, 3, 4]), (6, True, [1, 3, 4, 6]), (45, True, [11, 22, 33, 45]), (6, False, [6])],
)
def test_layers_of_a_backbone_that_were_not_chosen(layers, pyramid, expected):
    config = InternVLVisionConfig(num_hidden_layers=layers, use_fpn=pyramid)
    assert config.out_indices == expected and config.out_features == [f"stage{index}" for index in expected]
    assert config.stage_names == ["stem", *(f"stage{index + 1}" for index in range(layers))]
    assert not config.chooses_layers


@pytest.mark.parametrize("choice", [{"out_indices": [2]}, {"out_features": ["stage2"]}])
def test_layers_of_a_backbone_that_were_chosen(choice, tmp_path):
    config = InternVLVisionConfig(num_hidden_layers=4, **choice)
    config.save_pretrained(tmp_path)
    for one in (config, InternVLVisionConfig.from_pretrained(tmp_path)):
        assert one.chooses_layers and list(one.out_indices) == [2] and one.out_features == ["stage2"]


# --- plans and outputs -----------------------------------------------------------------------------------------------


def test_every_linear_layer_of_a_block_is_shared_out():
    """Of two layers in a row the first is cut by its rows, the second by its columns."""
    tower = InternVLVisionModel(tiny_config().vision_config)
    plan = {
        name.replace("*", r"\d+").replace(".", r"\."): style for name, style in tower.config.base_model_tp_plan.items()
    }
    styles = {
        name.rpartition(".")[2]: [style for pattern, style in plan.items() if re.fullmatch(pattern, name)]
        for name, module in tower.named_modules()
        if isinstance(module, nn.Linear)
    }
    whole = ["colwise_gather_output"]
    assert styles == {
        "q_proj": whole,
        "k_proj": whole,
        "v_proj": whole,
        "projection_layer": ["rowwise_split_input"],
        "fc1": ["colwise"],
        "fc2": ["rowwise"],
    }


def seen_by_metrics(model, outputs) -> list[str]:
    """What `Trainer` hands to `compute_metrics`: all but the loss and what the config names."""
    ignored = {*model.config.keys_to_ignore_at_inference, "loss"}
    return [name for name in outputs if name not in ignored]


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"model_type": "qwen3_moe", "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
    ],
    ids=["dense", "experts"],
)
def test_metrics_of_a_chat_model_get_logits(text):
    model, batch = tiny_model(text=text), tiny_batch([1])
    model.set_attn_implementation("eager")
    asked = {"output_hidden_states": True, "output_attentions": True}
    if text:
        asked["output_router_logits"] = True
    with torch.no_grad():
        outputs = model(**batch, labels=batch["input_ids"], **asked)
    assert {"cache", "hidden_states", "attentions", "image_outputs"} <= outputs.keys()
    assert ("aux_loss" in outputs and "router_logits" in outputs) == bool(text)
    assert seen_by_metrics(model, outputs) == ["logits"]


def test_metrics_of_the_dual_encoder_get_similarities_and_vectors():
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 32}
    config = InternVLDualEncoderConfig(
        vision_config={**shape, "image_size": 28},
        qllama_config={**shape, "vocab_size": 20, "max_position_embeddings": 16},
        clip_embed_dim=8,
        attn_pool_num_heads=4,
        num_query_token=2,
    )
    model = InternVLDualEncoderModel(config).eval()
    with torch.no_grad():
        outputs = model(torch.randn(1, 3, 28, 28), torch.tensor([[1, 5, 2]]), return_loss=True)
    assert seen_by_metrics(model, outputs) == ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"]
    named = {"loss_itm", "loss_itc", "loss_itg", "negative_index"}
    from transformers_internvl.modeling.dual_encoder.pretraining import InternVLDualEncoderForPreTrainingOutput

    fields = {field.name for field in dataclasses.fields(InternVLDualEncoderForPreTrainingOutput)}
    assert set(seen_by_metrics(model, fields)) == named


@pytest.mark.parametrize(("ratio", "tokens"), [(1.0, 1024), (0.5, 256), (0.25, 64)])
def test_tokens_of_a_tile_for_every_ratio(ratio, tokens):
    assert InternVLChatConfig(downsample_ratio=ratio, force_image_size=448).image_seq_length == tokens


def test_what_is_kept_aside_of_the_original_code_says_nothing_of_quantization():
    config = InternVLChatConfig(template="internvl2_5")
    config.quantization_config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    kept = config.to_canonical().original_config
    assert kept["template"] == "internvl2_5" and "quantization_config" not in kept


def test_patches_are_dropped_by_towers_alone():
    for vision_config in ({"patch_dropout": 0.5}, InternVLVisionConfig(patch_dropout=0.5)):
        with pytest.raises(ValueError, match="`vision_config.patch_dropout` must be 0 in a chat model"):
            InternVLConfig(vision_config=vision_config)


@pytest.mark.parametrize("given", [{"projector_type": "two_mlp"}, {"middleware_config": {}}])
def test_the_double_projector_goes_with_its_queries(given):
    with pytest.raises(ValueError, match="give both or neither"):
        InternVLConfig(**given)


def test_files_say_nothing_of_heads_that_are_not_there(tmp_path):
    InternVLVisionConfig().save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    heads = {"classifier_pooling", "classifier_pool_heads", "semantic_loss_ignore_index", "use_fpn"}
    assert not written.keys() & {*heads, "out_features", "out_indices", "_out_features", "stage_names"}
    changed = {"classifier_pooling": "attention_pooling", "semantic_loss_ignore_index": 0, "use_fpn": True}
    InternVLVisionConfig(**changed).save_pretrained(tmp_path)
    assert changed.items() <= json.loads((tmp_path / "config.json").read_text()).items()
    again = InternVLVisionConfig.from_dict({**InternVLVisionConfig().to_dict(), "stage_names": ["stem", "stage1"]})
    assert len(again.stage_names) == 25  # derived, whatever a file says
