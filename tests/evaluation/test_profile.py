# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The counting rules against torch's own counter on running models, and against the numbers of the papers."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, PreTrainedConfig

from tests.llava import llava_config
from tests.parity.golden import golden_cases, golden_root
from tests.tiny import tiny_config
from transformers_internvl import InternVisionConfig, InternVLConfig, InternVLDualEncoderConfig, InternVLLlavaConfig
from transformers_internvl.profiling.model_profile import _AUTO_CLASSES, Work, build_on_meta, profile

EXACT = {"attn_implementation": "eager", "experts_implementation": "eager"}  # nothing but plain products


def counted(run, modules):
    """Multiply-accumulates that torch counts while `run` runs, in all and below each of the modules' names."""
    with FlopCounterMode(display=False, depth=None) as counter, torch.no_grad():
        run()
    counts = {name: sum(flops.values()) // 2 for name, flops in counter.get_flop_counts().items()}
    return [counts["Global"], *(counts.get(name, 0) for name in modules)]


def running(config):
    """A model with weights, of the class that is profiled."""
    auto_class = next(auto for auto in _AUTO_CLASSES if type(config) in auto._model_mapping)
    return auto_class.from_config(config, **EXACT).eval().requires_grad_(False)


@pytest.mark.parametrize("case", golden_cases("chat_"), ids=lambda path: path.name)
def test_chat_models_as_torch_counts(case):
    config = AutoConfig.from_pretrained(case)
    model = running(config)
    tiles, length = 3, 11
    model.config.image_token_id = 5
    ids = torch.tensor([[5] * (tiles * config.image_seq_length) + [7] * length])
    result = profile(config, Work(num_tiles=tiles, text_length=length))
    pixels = torch.zeros(tiles, 3, result.work.image_size, result.work.image_size)
    root = type(model).__name__
    names = [
        f"{root}.{name}" for name in ("model.vision_tower", "model.multi_modal_projector", "model.language_model")
    ]
    measured = counted(lambda: model(input_ids=ids, pixel_values=pixels), [*names, f"{root}.lm_head"])
    by_part = {part.name.removesuffix(" (tied)"): part.macs for part in result.parts}
    expected = [by_part[name] for name in ("vision tower", "projector", "language model", "lm head")]
    assert measured == [result.macs, *expected]
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("compressed", [0, 2])
def test_compressed_tiles_as_torch_counts(compressed, monkeypatch):
    config = AutoConfig.from_pretrained(golden_root() / "chat_flash")
    model = running(config)
    tiles, length = 3, 11
    model.config.image_token_id = 5
    ids = torch.tensor([[5] * (tiles * config.image_seq_length) + [7] * length])
    result = profile(config, Work(num_tiles=tiles, text_length=length, compressed_tiles=compressed))
    chosen = torch.arange(tiles) < compressed
    monkeypatch.setattr("transformers_internvl.modeling.internvl.image_features.compressed_tiles", lambda *_: chosen)
    pixels = torch.zeros(tiles, 3, result.work.image_size, result.work.image_size)
    parts = {
        "vision tower": "vision_tower",
        "projector": "multi_modal_projector",
        "resolution router": "resolution_router",
        "compressed projector": "compressed_projector",
        "language model": "language_model",
    }
    names = [f"{type(model).__name__}.model.{name}" for name in parts.values()]
    measured = counted(lambda: model(input_ids=ids, pixel_values=pixels, flash_mode=True), names)
    assert measured == [result.macs, *(result.part(name).macs for name in parts)]


def test_compressed_tiles_of_a_model_without_router_and_more_than_there_are():
    with pytest.raises(ValueError, match="has no `flash_mode`"):
        profile(tiny_config(), Work(num_tiles=2, compressed_tiles=1))
    config = AutoConfig.from_pretrained(golden_root() / "chat_flash")
    with pytest.raises(ValueError, match="from 0 to the 2 tiles, got 3"):
        profile(config, Work(num_tiles=2, compressed_tiles=3))


@pytest.mark.parametrize("form", ["mlp2x_gelu", "two_mlp"])
def test_internvl_chat_v1_in_llavas_layout_as_torch_counts(form):
    config = InternVLLlavaConfig.from_dict(llava_config(form, force_image_size=56))
    model = running(config)
    ids = torch.tensor([[config.image_token_id] * (2 * config.image_seq_length) + [7] * 9])
    result = profile(config, Work(num_tiles=2, text_length=9))
    root = type(model).__name__
    names = ["model.vision_tower.qllama", "model.multi_modal_projector", "model.language_model"]
    total, qllama, *parts = counted(
        lambda: model(input_ids=ids, pixel_values=torch.zeros(2, 3, 56, 56)), [f"{root}.{name}" for name in names]
    )
    by_part = {part.name: part.macs for part in result.parts}
    assert (total, parts) == (result.macs, [by_part["projector"], by_part["language model"]])
    assert qllama == by_part.get("QLLaMA body", 0) + by_part.get("QLLaMA cross attention", 0)
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("case", golden_cases("intern_vit_"), ids=lambda path: path.name)
@pytest.mark.parametrize("image_size", [None, 84])
def test_towers_as_torch_counts(case, image_size):
    config = AutoConfig.from_pretrained(case)
    model = running(config)
    result = profile(config, Work(num_tiles=2, image_size=image_size))
    side = image_size or config.image_size[0]
    measured = counted(lambda: model(torch.zeros(2, 3, side, side)), [])
    assert measured == [result.macs]
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("mode", ["InternVL-C", "InternVL-G"])
def test_the_dual_encoder_as_torch_counts(mode):
    config = AutoConfig.from_pretrained(golden_root() / "internvl_14b")
    model = running(config)
    result = profile(config, Work(num_tiles=2, text_length=9, mode=mode))
    side = result.work.image_size

    def run():
        model.get_image_features(torch.zeros(2, 3, side, side), mode=mode)
        model.get_text_features(torch.ones(1, 9, dtype=torch.long))

    layers = range(0, config.qllama_config.num_hidden_layers, config.qllama_config.cross_attention_frequency)
    cross = [f"QLlamaModel.layers.{index}.cross_attn" for index in layers]
    total, tower, pooled, *crossed = counted(run, ["InternVisionModel", "AttentionPool", *cross])
    parts = {part.name: part.macs for part in result.parts}
    pools = parts["image pool"] + parts["query pool"]
    assert (total, tower, pooled) == (result.macs, parts["vision tower"], pools)
    assert sum(crossed) == parts["QLLaMA cross attention"]
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


MIDDLEWARE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "num_query_token": 6,
}


@pytest.mark.parametrize("layer", [-1, -3])
@pytest.mark.parametrize(
    "fields, queries",
    [
        ({"projector_type": "mlp2x_gelu"}, 0),
        ({"projector_type": "two_mlp", "middleware_config": MIDDLEWARE}, 6),
    ],
)
def test_internvl_chat_v1_as_torch_counts(fields, queries, layer):
    config = tiny_config(vision_feature_layer=layer, downsample_ratio=1.0, **fields)
    model = running(config)
    result = profile(config, Work(num_tiles=2, text_length=7))
    ids = torch.tensor([[1] * (2 * (16 + queries)) + [7] * 7])
    pixels = torch.zeros(2, 3, 56, 56)
    assert counted(lambda: model(input_ids=ids, pixel_values=pixels), []) == [result.macs]
    assert result.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_language_models_alone():
    config = tiny_config().text_config
    result = profile(config, Work(text_length=12))
    model = AutoModelForCausalLM.from_config(config, **EXACT)
    assert counted(lambda: model(torch.ones(1, 12, dtype=torch.long)), []) == [result.macs]
    assert [part.name for part in result.parts] == ["text embeddings", "language model", "lm head"]


def test_blocks_behind_the_feature_layer_cost_parameters_only():
    whole, shorter = (profile(tiny_config(vision_feature_layer=layer)) for layer in (-1, -3))
    assert whole.parameters == shorter.parameters
    per_block = (whole.part("vision tower").macs - shorter.part("vision tower").macs) / 2
    assert per_block == 17 * (4 * 24**2 + 2 * 24 * 48) + 2 * 17**2 * 24


def test_active_parameters_are_those_of_the_chosen_experts():
    config = AutoConfig.from_pretrained(golden_root() / "chat_qwen3_moe")
    text = config.text_config
    idle = text.num_experts - text.num_experts_per_tok
    expert = 3 * text.hidden_size * text.moe_intermediate_size
    result = profile(config)
    assert result.parameters - result.active_parameters == text.num_hidden_layers * idle * expert


def test_text_alone_and_images_alone():
    config = tiny_config()
    assert profile(config, Work(num_tiles=0)).part("vision tower").macs == 0
    positions = 4  # one tile
    assert profile(config, Work(text_length=0)).part("lm head").macs == positions * 32 * 99


# --- the numbers of the papers ---------------------------------------------------------------------------------------

LARGE = {"image_size": 448}
SMALL = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "use_qk_norm": False,
    "attention_bias": True,
    "norm_type": "layer_norm",
}


@pytest.mark.parametrize(
    "fields, parameters",
    [
        ({}, 5_902_793_600),  # InternViT-6B-224px
        (LARGE, 5_905_251_200),  # InternViT-6B-448px-V1.0
        ({**LARGE, "num_hidden_layers": 45}, 5_536_496_000),  # V1.2, V1.5, V2.5
        ({**LARGE, **SMALL}, 304_012_288),  # InternViT-300M
    ],
)
def test_towers_of_the_papers(fields, parameters):
    assert profile(InternVisionConfig(**fields)).parameters == parameters


def test_a_block_of_the_6b():
    model = build_on_meta(InternVisionConfig())
    assert {sum(p.numel() for p in block.parameters()) for block in model.encoder.layer} == {122_918_400}
    assert profile(InternVisionConfig(num_hidden_layers=45)).parameters == 5_902_793_600 - 3 * 122_918_400


def test_the_papers_formula():
    n, w, mlp, depth = 257, 3200, 12800, 48
    macs = depth * (n * (4 * w**2 + 2 * w * mlp) + 2 * n**2 * w) + 256 * 588 * w
    assert profile(InternVisionConfig()).macs == macs


@pytest.mark.parametrize("fields, tera", [({**LARGE, "num_hidden_layers": 45}, 5.97), ({**LARGE, **SMALL}, 0.362)])
def test_a_tile_of_448_pixels(fields, tera):
    one, many = (profile(InternVisionConfig(**fields), Work(num_tiles=tiles)).macs for tiles in (1, 13))
    assert round(one / 1e12, len(str(tera)) - 2) == tera and many == 13 * one


def test_internvl_14b():
    result = profile(InternVLDualEncoderConfig())
    parameters = {part.name: part.parameters for part in result.parts}
    llama = sum(parameters[name] for name in ("text embeddings", "QLLaMA body", "lm head (captions)"))
    assert parameters["vision tower"] == 5_902_793_600
    assert parameters["QLLaMA cross attention"] == 956_418_048
    assert parameters["queries"] == 393_216
    assert llama == 6_885_494_784
    assert f"{(llama + 956_418_048 + 393_216) / 1e9:.2f}" == "7.84"


@pytest.mark.parametrize(
    "hidden_size, intermediate_size, parameters", [(4096, 11008, 63_455_232), (5120, 13824, 89_804_800)]
)
def test_the_two_projectors_of_internvl_chat_v1(hidden_size, intermediate_size, parameters):
    vicuna = {"model_type": "llama", "hidden_size": hidden_size, "intermediate_size": intermediate_size}
    config = InternVLConfig(
        text_config={**vicuna, "num_attention_heads": hidden_size // 128, "num_hidden_layers": 1},
        vision_config={"hidden_size": 3200, "num_attention_heads": 25, "num_hidden_layers": 1, "image_size": 336},
        projector_type="two_mlp",
        middleware_config={"num_hidden_layers": 2},
        downsample_ratio=1.0,
        tie_word_embeddings=False,
    )
    result = profile(config)
    assert result.part("projector").parameters == parameters
    tokens = 96 + 576 + result.work.text_length  # 96 queries in front of 24 x 24 patches
    assert result.part("lm head").macs == tokens * hidden_size * config.text_config.vocab_size


# --- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config, work, reason",
    [
        (tiny_config(), Work(num_tiles=-1), "fewer than none"),
        (tiny_config(), Work(text_length=-1), "fewer than none"),
        (tiny_config(), Work(image_size=0), "at least 1 pixel"),
        (tiny_config(), Work(image_size=57), "multiple of the patch size 14, got 57"),
        (tiny_config(), Work(image_size=42), "take a multiple of 28"),
        (tiny_config(), Work(mode="C"), "`mode` must be one of"),
        (InternVisionConfig(image_size=[28, 42], num_hidden_layers=1), Work(), "28 x 42 pixels: give the side"),
        (BertConfig(num_hidden_layers=1), Work(), "neither a chat model"),
    ],
)
def test_errors(config, work, reason):
    with pytest.raises(ValueError, match=reason):
        profile(config, work)


def test_a_config_without_a_model():
    with pytest.raises(ValueError, match="No model class belongs to PreTrainedConfig"):
        build_on_meta(PreTrainedConfig())


def test_a_part_that_is_not_there():
    with pytest.raises(ValueError, match="There is no part 'queries', only vision tower, projector, text embeddings"):
        profile(tiny_config()).part("queries")


def test_what_passes_through_by_default():
    assert (Work().num_tiles, Work().image_size, Work().text_length, Work().mode) == (1, None, 80, "InternVL-G")


def test_the_first_hidden_state_needs_no_block():
    """Layer 0 is the embeddings: patches alone cost products."""
    none, last = (profile(tiny_config(vision_feature_layer=layer)).part("vision tower") for layer in (0, 4))
    assert none.macs == 16 * 3 * 14 * 14 * 24 and none.parameters == last.parameters
    assert last.macs == profile(tiny_config(vision_feature_layer=-1)).part("vision tower").macs


def test_columns_must_be_whole_for_the_pixel_shuffle_as_rows_must():
    for patch in ([14, 28], [28, 14]):
        config = tiny_config(vision={"patch_size": patch, "image_size": [84, 84]})
        with pytest.raises(ValueError, match="a pixel shuffle by 2 does not divide"):
            profile(config)
