# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Configurations: what is read, what is written, what is refused. `tests/parity` judges every release's."""

import copy
import json

import pytest
from transformers import AutoConfig
from transformers.models.internvl.configuration_internvl import InternVLConfig as StockConfig

from tests.parity.golden import golden_root
from tests.tiny import tiny_config
from transformers_internvl import InternVisionConfig, InternVLChatConfig, InternVLConfig, InternVLLlavaConfig

# What a released config (InternVL3-1B) carries besides what the model needs.
JUNK = {
    "capacity_factor": 1.2,
    "eval_capacity_factor": 1.4,
    "laux_allreduce": "all_nodes",
    "moe_coeff_ratio": 0.5,
    "moe_intermediate_size": 768,
    "moe_output_scale": 4.0,
    "noisy_gate_policy": "RSample_before",
    "num_experts": 8,
    "num_routed_experts": 4,
    "num_shared_experts": 4,
    "shared_expert_intermediate_size": 3072,
    "use_moe": False,
    "use_residual": True,
    "use_rts": False,
    "use_weighted_residual": False,
    "_name_or_path": "OpenGVLab/InternViT-6B-448px-V1-5",
    "initializer_range": 1e-10,
    "use_flash_attn": True,
}


@pytest.fixture
def released() -> dict:
    """An original config with everything a release may carry."""
    config = json.loads((golden_root() / "chat_qwen2" / "config.json").read_text())
    config["vision_config"].update(JUNK)
    config["llm_config"].update(
        moe_config=None,
        _name_or_path="./pretrained/Qwen2.5-32B-Instruct",
        rope_scaling={"type": "dynamic", "factor": 2.0},
    )
    config.update(system_message=None, image_fold=None, output_attentions=False)
    return config


def write(config: InternVLChatConfig, folder) -> dict:
    config.save_pretrained(folder)
    return json.loads((folder / "config.json").read_text())


def test_junk_is_carried_through(released, tmp_path):
    written = write(InternVLChatConfig.from_dict(copy.deepcopy(released)), tmp_path)
    assert written["vision_config"] == released["vision_config"]
    assert written["llm_config"] == released["llm_config"]
    assert written["image_fold"] is None and written["system_message"] is None
    assert "auto_map" not in written


def test_only_what_was_changed_is_rewritten(released, tmp_path):
    config = InternVLChatConfig.from_dict(copy.deepcopy(released))
    config.vision_config.drop_path_rate = 0.25
    config.vision_config.attention_bias = False
    config.text_config.max_position_embeddings = 65536
    config.max_dynamic_patch = 40
    written = write(config, tmp_path)
    assert written["max_dynamic_patch"] == 40
    assert written["vision_config"] == {**released["vision_config"], "drop_path_rate": 0.25, "qkv_bias": False}
    assert written["llm_config"] == {**released["llm_config"], "max_position_embeddings": 65536}


def test_rotary_parameters_are_written_under_the_names_of_their_time(tmp_path):
    config = InternVLChatConfig(
        llm_config={
            "architectures": ["InternLM2ForCausalLM"],
            "rope_theta": 1000000,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
        },
        template="internvl2_5",
    )
    config.text_config.rope_parameters = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000000}
    written = write(config, tmp_path)["llm_config"]
    assert written["rope_theta"] == 1000000
    assert written["rope_scaling"] == {"type": "linear", "factor": 4.0}


def test_a_config_from_scratch_is_written_as_the_original_code_would(tmp_path):
    config = InternVLChatConfig(
        text_config={"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4},
        vision_config={"hidden_size": 48, "num_attention_heads": 4, "attention_bias": True, "image_size": 56},
        ps_version="v2",
        template="internvl2_5",
    )
    written = write(config, tmp_path)
    assert written["model_type"] == "internvl_chat" and written["select_layer"] == -1
    assert written["llm_config"]["architectures"] == ["Qwen2ForCausalLM"]
    assert written["hidden_size"] == written["llm_config"]["hidden_size"] == 64
    assert written["vision_config"]["qkv_bias"] is True and written["vision_config"]["image_size"] == 56
    again = AutoConfig.from_pretrained(tmp_path)
    for part in ("vision_config", "text_config"):
        before, after = getattr(config, part).to_dict(), getattr(again, part).to_dict()
        assert {key: value for key, value in after.items() if before[key] != value}.keys() <= {"architectures"}


@pytest.mark.parametrize(
    "architecture, tied, follows",
    [("Qwen2ForCausalLM", True, False), ("Qwen3ForCausalLM", True, True), ("Qwen3ForCausalLM", False, False)],
)
def test_ties_follow_the_series(architecture, tied, follows):
    config = InternVLChatConfig(llm_config={"architectures": [architecture], "tie_word_embeddings": tied})
    assert config.tie_word_embeddings is config.text_config.tie_word_embeddings is follows


def test_loss_reduction_follows_the_series_unless_given():
    assert InternVLChatConfig(llm_config={"architectures": ["Qwen2ForCausalLM"]}).loss_reduction == "token"
    assert InternVLChatConfig(llm_config={"architectures": ["Qwen3ForCausalLM"]}).loss_reduction == "square"
    given = InternVLChatConfig(llm_config={"architectures": ["Qwen3ForCausalLM"]}, loss_reduction="token")
    assert given.loss_reduction == "token"


def test_tokens_of_a_tile_come_from_its_size():
    assert InternVLChatConfig(force_image_size=448).image_seq_length == 256
    assert InternVLChatConfig(vision_config={"image_size": 224}).image_seq_length == 64


def test_the_original_names_read_and_write_the_canonical_fields():
    vision = InternVisionConfig(qkv_bias=True, qk_normalization=False, dropout=0.1, initializer_factor=0.5)
    assert (vision.attention_bias, vision.use_qk_norm) == (True, False)
    assert (vision.hidden_dropout_prob, vision.layer_scale_init_value) == (0.1, 0.5)
    assert vision.qkv_bias is True
    written = json.loads(vision.to_json_string())
    assert written["qkv_bias"] is True and written["qk_normalization"] is False and written["image_size"] == 224
    assert "attention_bias" not in written


def test_without_arguments_the_tower_is_the_original_6b():
    config = InternVisionConfig()
    shape = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads, config.intermediate_size)
    assert shape == (3200, 48, 25, 12800)
    assert config.norm_type == "rms_norm" and config.use_qk_norm and not config.attention_bias


def test_without_arguments_the_canonical_config_is_upstreams():
    ours, stock = json.loads(InternVLConfig().to_json_string()), json.loads(StockConfig().to_json_string())
    ours_vision, upstream_vision = ours.pop("vision_config"), stock.pop("vision_config")
    assert {key: ours[key] for key in stock} == stock
    assert {key: ours_vision[key] for key in upstream_vision} == upstream_vision


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ps_version": "v3"}, "ps_version"),
        ({"downsample_ratio": 0.4}, "downsample_ratio"),
        ({"loss_reduction": "mean"}, "loss_reduction"),
        ({"vision_chunk_size": 0}, "vision_chunk_size"),
        ({"vision": {"drop_path_rate": 1.5}}, "drop_path_rate"),
        ({"vision": {"num_attention_heads": 5}}, "num_attention_heads"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**changes)


def test_a_third_partys_language_model_is_refused_by_name():
    with pytest.raises(ValueError, match="'mistral'.*third-party"):
        InternVLChatConfig(text_config={"model_type": "mistral"})


def test_an_image_token_that_was_set_is_saved_and_one_of_the_tokenizer_is_not(released, tmp_path):
    config = InternVLChatConfig(**released)
    config.image_token_id = 7
    config.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).image_token_id == 7
    config.image_token_of_tokenizer = 7
    config.save_pretrained(tmp_path)
    assert "image_token_id" not in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.parametrize("config_class", [InternVLChatConfig, InternVLLlavaConfig])
def test_what_is_loaded_again_has_the_same_fields(config_class, tmp_path):
    config = config_class(vision_config={"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4})
    config.save_pretrained(tmp_path)
    again = config_class.from_pretrained(tmp_path).to_dict()
    assert again == {**config.to_dict(), "transformers_version": again["transformers_version"]}
