# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Plans of tensor parallelism; `test_distributed.py` runs them on ranks."""

import pytest
import torch
from transformers import AutoConfig

from tests import llava
from tests.sharding import CHAT, FOLDERS, TOWERS
from transformers_internvl import InternVLDualEncoderConfig, InternVLDualEncoderTextModel, InternVLLlavaConfig
from transformers_internvl.modeling.pretrained.upstream import with_whole_heads
from transformers_internvl.profiling.model_profile import build_on_meta


def test_every_linear_layer_of_the_tower_is_cut():
    for folder in (*TOWERS, *CHAT):
        model = build_on_meta(AutoConfig.from_pretrained(folder))
        plan = {name for name in model.tp_plan if "encoder.layer" in name}
        leaves = {name.rpartition("*.")[2] for name in plan}
        attention = {f"attention.{part}" for part in ("q_proj", "k_proj", "v_proj", "projection_layer")}
        assert leaves == attention | {"mlp.fc1", "mlp.fc2"}


@pytest.mark.parametrize("ranks", [2, 4])
def test_heads_stay_together_where_they_cannot_be_shared_out(ranks):
    model = build_on_meta(AutoConfig.from_pretrained(FOLDERS["chat_qwen3"]))  # 4 heads, 2 key-value heads
    plan = with_whole_heads(model, model.tp_plan, ranks)
    if ranks == 2:
        assert plan == model.tp_plan
        return
    layer = "model.language_model.layers.*."
    assert {plan[f"{layer}self_attn.{part}_proj"] for part in "qkv"} == {"colwise_gather_output"}
    assert plan[f"{layer}self_attn.o_proj"] == "rowwise_split_input"
    assert f"{layer}self_attn.q_norm" in model.tp_plan and f"{layer}self_attn.q_norm" not in plan
    assert plan[f"{layer}mlp.up_proj"] == "colwise"


def test_models_inside_plain_modules_are_shared_out_too():
    with torch.device("meta"):
        half = InternVLDualEncoderTextModel(InternVLDualEncoderConfig())
    assert half.tp_plan["qllama.model.layers.*.mlp.up_proj"] == "colwise"
    assert "qllama.model.layers.*" in half._fsdp_plan
    chat = build_on_meta(InternVLLlavaConfig(**llava.llava_config("two_mlp")))
    for part in ("vision_model.encoder.layer.*", "qllama.layers.*"):
        assert f"model.vision_tower.{part}" in chat._fsdp_plan
        assert any(name.startswith(f"model.vision_tower.{part}") for name in chat.tp_plan)
