# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The planned memory against what a model's tensors really take, and against sums by hand."""

import json
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModel

from tests.llava import llava_config
from tests.parity.golden import golden_cases, golden_root
from tests.tiny import IMAGE_TOKEN, TOKENS_PER_TILE, tiny_config
from transformers_internvl import InternVisionConfig, InternVLForConditionalGeneration, InternVLLlavaConfig
from transformers_internvl.profiling.memory import (
    ANSWER,
    IMAGES,
    PROMPT,
    QUANTIZED,
    Request,
    _plain,
    memory_units,
    needs,
)
from transformers_internvl.profiling.memory_trace import LiveMemory
from transformers_internvl.profiling.model_profile import build_on_meta

REQUEST = Request(tiles=3, images=1, context=40, new_tokens=6)
MOE = {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
GPT_OSS = {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 16}
GPT_OSS |= {"head_dim": 8, "num_hidden_layers": 4}
WIDE = {"hidden_size": 96, "intermediate_size": 384, "num_attention_heads": 6}


def test_live_memory_comes_and_goes():
    weight = torch.zeros(10)
    linear = torch.nn.Linear(4, 6, device="meta")
    with torch.device("meta"), LiveMemory() as live, live.watch({"linear": linear}):
        with live.during("outside"):
            base = torch.empty(100)
            view = base.view(10, 10)  # no bytes of its own
            weight.add_(1)[:5]  # was there before
            linear(torch.empty(2, 4))
            assert live.now == 400
            del base, view
        assert live.now == 0
    peaks = live.take_peaks()
    assert peaks == {"outside": 432, "linear": 480} and live.take_peaks() == {}


@pytest.mark.parametrize(
    ("changes", "request_"),
    [
        ({}, REQUEST),
        ({"vision": WIDE}, replace(REQUEST, tiles=9)),
        ({"vision": WIDE | {"use_qk_norm": True, "norm_type": "rms_norm", "attention_bias": False}}, REQUEST),
        ({"vision": WIDE, "vision_chunk_size": 2}, replace(REQUEST, tiles=9)),
        ({"text": {"intermediate_size": 512}}, replace(REQUEST, context=200)),
        ({"text": {"vocab_size": 4000}}, replace(REQUEST, context=100, logits_to_keep=0, new_tokens=0)),
        ({"text": {"num_hidden_layers": 8}}, replace(REQUEST, batch_size=4, new_tokens=20)),
        ({"text": GPT_OSS}, replace(REQUEST, context=90)),
    ],
    ids=["small", "tiles", "6B kind", "chunks", "prompt", "logits", "cache", "windows"],
)
@torch.no_grad()
def test_a_real_run_needs_what_was_planned(changes, request_):
    """Bytes of living tensors, counted in a run on the CPU. `benchmarks/memory_plan.py` measures the process."""
    config = tiny_config(**changes)
    planned = needs(memory_units(config, request_, torch.float32))
    model = InternVLForConditionalGeneration(config).eval()
    weights = [*model.parameters(), *model.buffers()]
    assert planned.weights == sum(tensor.numel() * tensor.element_size() for tensor in weights)
    ids = torch.full((request_.batch_size, request_.context), 5)
    ids[:, 1 : 1 + request_.tiles * TOKENS_PER_TILE] = IMAGE_TOKEN
    with LiveMemory() as live, live.during("all"):
        inputs = {"input_ids": ids.clone(), "pixel_values": torch.rand(request_.all_tiles, 3, 56, 56)}
        if request_.logits_to_keep == 0:
            model(**inputs)
        else:
            model.generate(**inputs, max_new_tokens=request_.new_tokens, do_sample=False, eos_token_id=None)
    assert planned.cache + planned.activations == pytest.approx(live.peaks["all"], rel=0.1)


def test_weights_and_cache_by_hand():
    config = tiny_config()
    units = memory_units(config, Request(tiles=2, images=1, context=20, new_tokens=11, batch_size=3))
    model = InternVLForConditionalGeneration(config)
    expected = sum(2 * p.numel() for p in model.parameters()) + sum(b.nbytes for b in model.buffers()) / 2
    assert sum(unit.weights for unit in units) == expected
    layers = [unit for unit in units if unit.is_layer]
    assert [unit.name for unit in layers] == [f"model.language_model.layers.{i}" for i in range(2)]
    pairs = 2 * 2 * 8 * 2  # keys and values, 2 heads of 8 channels, 2 bytes
    for unit in layers:
        assert unit.cache == (0, 3 * 20 * pairs, 3 * 30 * pairs)  # the last token is not looked back at
        assert unit.activations[IMAGES] == 0 < unit.activations[ANSWER] < unit.activations[PROMPT]
    for unit in units:
        if "vision_tower" in unit.name:
            assert unit.cache == (0, 0, 0) and unit.activations[PROMPT] == 0


def test_a_window_bounds_the_cache():
    units = memory_units(tiny_config(text=GPT_OSS), replace(REQUEST, context=90, new_tokens=40))
    answer = {unit.cache[ANSWER] for unit in units if unit.is_layer}
    pair = 2 * 2 * 8 * 2
    assert answer == {129 * pair, 15 * pair} or answer == {129 * pair, 16 * pair}


def test_tied_heads_weigh_once():
    tied, apart = (
        memory_units(tiny_config(text={"tie_word_embeddings": tie}, tie_word_embeddings=tie), REQUEST)
        for tie in (True, False)
    )
    assert apart[-1].name == "lm_head" and apart[-1].weights == 99 * 32 * 2
    assert sum(u.weights for u in apart) - sum(u.weights for u in tied) == 99 * 32 * 2


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_are_the_linear_layers_of_the_language_model(kind):
    plain, small = memory_units(tiny_config(), REQUEST), memory_units(tiny_config(), REQUEST, kind)
    for before, after in zip(plain, small, strict=True):
        assert after.weights < 0.7 * before.weights if before.is_layer else after.weights == before.weights
    stacked, same = memory_units(tiny_config(text=MOE), REQUEST), memory_units(tiny_config(text=MOE), REQUEST, kind)
    experts = 4 * 16 * 32 * 3 * 2  # stacks of experts are no linear layers: quantizers leave them
    assert all(u.weights > experts for u in same if u.is_layer)
    assert sum(u.weights for u in same) < sum(u.weights for u in stacked)


@pytest.mark.parametrize("path", golden_cases("chat_"), ids=lambda path: path.name)
def test_every_language_model(path):
    config = AutoConfig.from_pretrained(path)
    units = memory_units(config, Request(tiles=1, context=300, new_tokens=3), torch.float32)
    model = AutoModel.from_pretrained(path)
    weights = [*model.parameters(), *model.buffers()]
    assert sum(unit.weights for unit in units) == sum(tensor.numel() * tensor.element_size() for tensor in weights)
    assert all(unit.cache[PROMPT] for unit in units if unit.is_layer)


@pytest.mark.parametrize("form", ["mlp2x_gelu", "two_mlp"])
def test_llavas_models(form):
    config = InternVLLlavaConfig.from_dict(llava_config(form))
    units = memory_units(config, Request(tiles=1, context=800, new_tokens=3))
    names = {unit.name for unit in units}
    assert ("model.vision_tower.qllama.layers.3" in names) == (form == "two_mlp")
    assert all(unit.activations[IMAGES] for unit in units if ".layer.0" in unit.name)


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="image tokens, which a context of 8 does not hold"):
        memory_units(tiny_config(), Request(tiles=3, context=8))
    with pytest.raises(ValueError, match="not for a InternVisionConfig"):
        memory_units(InternVisionConfig(), REQUEST)
    with pytest.raises(ValueError, match="`dtype` must be a torch.dtype or one of int8, int4, got 'int3'"):
        memory_units(tiny_config(), REQUEST, "int3")
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, got 0"):
        Request(batch_size=0)


def test_a_plan_leaves_the_config_alone():
    path = golden_root() / "chat_phi3_long"
    config = AutoConfig.from_pretrained(path)
    before = json.dumps(config.to_dict(), default=str, sort_keys=True)
    memory_units(config, Request(tiles=1, context=300, new_tokens=3))
    assert json.dumps(config.to_dict(), default=str, sort_keys=True) == before
    assert build_on_meta(config).config.text_config._attn_implementation != "internvl_fused_attention_stand_in"


def test_bytes_of_quantized_layers_by_hand():
    """Of q, k, v, o and the MLP 7,680 weights in 224 rows; biases and norms, 128 numbers, stay in bfloat16."""
    plain = [unit for unit in memory_units(tiny_config(), REQUEST) if unit.is_layer]
    assert {unit.weights for unit in plain} == {2 * (7680 + 128)}
    for kind, size in (("int8", 7680 + 4 * 224 + 2 * 128), ("int4", 7680 // 2 + 4 * 7680 // 64 + 2 * 128)):
        quantized = [unit for unit in memory_units(tiny_config(), REQUEST, kind) if unit.is_layer]
        assert {unit.weights for unit in quantized} == {size}
        for before, after in zip(plain, quantized, strict=True):  # the largest, 48 x 32, is unpacked while it is used
            more = [a - b for a, b in zip(after.activations, before.activations, strict=True)]
            assert more == [0, 2 * 48 * 32, 2 * 48 * 32]


def test_a_context_of_nothing_but_image_tokens():
    assert memory_units(tiny_config(), Request(tiles=2, images=3, context=24, new_tokens=0))
    with pytest.raises(ValueError, match="are 24 image tokens, which a context of 23 does not hold"):
        memory_units(tiny_config(), Request(tiles=2, images=3, context=23, new_tokens=0))


@pytest.mark.parametrize(("new_tokens", "seen"), [(0, 20), (1, 20), (2, 21), (3, 22)])
def test_the_first_new_token_comes_from_the_prompt(new_tokens, seen):
    units = memory_units(tiny_config(), Request(tiles=1, images=1, context=20, new_tokens=new_tokens))
    pairs = 2 * 2 * 8 * 2
    assert {unit.cache for unit in units if unit.is_layer} == {(0, 20 * pairs, seen * pairs)}


def test_rotary_positions_that_look_at_numbers_keep_their_other_settings():
    config = tiny_config()
    for kind, kept in (("longrope", False), ("dynamic", False), ("linear", True), ("default", True)):
        given = {"rope_type": kind, "rope_theta": 5.0, "partial_rotary_factor": 0.5, "factor": 2.0}
        config.text_config.rope_parameters = dict(given)
        found = _plain(config).text_config.rope_parameters
        expected = {"rope_type": "default", "rope_theta": 5.0, "partial_rotary_factor": 0.5}
        assert found == (given if kept else expected) and config.text_config.rope_parameters == given
