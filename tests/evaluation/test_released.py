# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Sizes of the released chat models as the papers print them, and of their projectors."""

from dataclasses import replace

import pytest

from transformers_internvl.profiling.model_profile import profile
from transformers_internvl.profiling.released import LANGUAGE_MODELS, RELEASES, TOWERS, released_config

# Release -> billions of parameters: tower, projector, and language model with separate embeddings.
SIZES = {
    "InternVL-Chat-V1-2": 40.07,
    "InternVL-Chat-V1-2-Plus": 40.07,
    "InternVL-Chat-V1-5": 25.51,
    "Mini-InternVL-Chat-2B-V1-5": 2.21,
    "Mini-InternVL-Chat-4B-V1-5": 4.15,
    "InternVL2-1B": 0.94,
    "InternVL2-2B": 2.21,
    "InternVL2-4B": 4.15,
    "InternVL2-8B": 8.08,
    "InternVL2-26B": 25.51,
    "InternVL2-40B": 40.07,
    "InternVL2-Llama3-76B": 76.26,
    "Mono-InternVL-2B": 3.11,  # 1.89 of them are met by a position
    "InternVL2_5-1B": 0.94,
    "InternVL2_5-2B": 2.21,
    "InternVL2_5-4B": 3.71,
    "InternVL2_5-8B": 8.08,
    "VisualPRM-8B": 8.08,
    "VisualPRM-8B-v1_1": 8.08,
    "InternVL2_5-26B": 25.51,
    "InternVL2_5-38B": 38.39,
    "InternVL2_5-78B": 78.41,
    "InternVL3-1B": 0.94,
    "InternVL3-2B": 2.09,
    "InternVL3-8B": 7.94,  # 7.95 with the embedding rows of Qwen2.5-7B, see below
    "InternVL3-9B": 9.14,
    "InternVL3-14B": 15.12,
    "InternVL3-38B": 38.39,
    "InternVL3-78B": 78.41,
    "InternVL3_5-1B": 1.06,
    "InternVL3_5-2B": 2.35,
    "InternVL3_5-4B": 4.73,
    "InternVL3_5-8B": 8.53,
    "InternVL3_5-14B": 15.12,
    "InternVL3_5-38B": 38.39,
    "InternVL3_5-GPT-OSS-20B-A4B-Preview": 21.24,
    "InternVL3_5-30B-A3B": 30.85,
    "InternVL3_5-241B-A28B": 240.70,
}

# Width of the tower, width of the language model -> parameters of the projector.
PROJECTORS = {
    (1024, 896): 4_482_816,
    (1024, 1536): 8_662_016,
    (1024, 2048): 12_595_200,
    (1024, 3584): 27_540_480,
    (1024, 4096): 33_570_816,
    (3200, 5120): 91_786_240,
    (3200, 6144): 116_429_824,
    (3200, 7168): 143_170_560,
    (3200, 8192): 172_008_448,
}


@pytest.fixture(scope="module")
def profiles():
    shapes = {name: (shape, name.endswith("-Flash")) for name, shape in RELEASES.items()}
    first = {shape: name for name, shape in reversed(shapes.items())}
    built = {shape: profile(released_config(name)) for shape, name in first.items()}  # many share a shape
    return {name: built[shape] for name, shape in shapes.items()}


def test_sizes(profiles):
    sizes = {name: round(result.parameters / 1e9, 2) for name, result in profiles.items()}
    assert {name: size for name, size in sizes.items() if not name.endswith("-Flash")} == SIZES


def router_parameters(c: int, h: int) -> int:
    """What InternVL3.5-Flash has more, by the shapes of its weights: a projector of 16C, 2H, 2H, H, and the router."""
    projector = 2 * 16 * c + (16 * c + 1) * 2 * h + (2 * h + 1) * 2 * h + (2 * h + 1) * h
    pooling = c + 4 * (3 * c * c + 3 * c + c * c + c + 2 * c)
    gating = 4 * (c * 4 * c + 4 * c + 4 * c * c + c + 2 * c) + 2 * c + 2 * c + 2
    return projector + pooling + gating


def test_flash_has_a_router_and_a_second_projector(profiles):
    flash = [name for name in profiles if name.endswith("-Flash")]
    assert len(flash) == 8
    for name in flash:
        config, base = released_config(name), profiles[name.removesuffix("-Flash")]
        more = router_parameters(config.vision_config.hidden_size, config.text_config.hidden_size)
        assert profiles[name].parameters == base.parameters + more
        own = ("resolution router", "compressed projector")
        assert sum(profiles[name].part(part).parameters for part in own) == more


def test_projectors(profiles):
    seen = {}
    for name, result in profiles.items():
        config = released_config(name)
        widths = (config.vision_config.hidden_size, config.text_config.hidden_size)
        seen[widths] = result.part("projector").parameters
    assert {widths: seen[widths] for widths in PROJECTORS} == PROJECTORS


def test_towers(profiles):
    embeddings = 1024 * 3 * 14 * 14 + 1024 + (1 + 32 * 32) * 1024 + 1024  # Mono-InternVL has nothing else
    towers = {result.part("vision tower").parameters for result in profiles.values()}
    assert towers == {304_012_288, 5_536_496_000, embeddings}


def test_active_parameters_are_those_in_the_names(profiles):
    active = {name: result.active_parameters / 1e9 for name, result in profiles.items() if "-A" in name}
    names = {name: int(name.split("-A")[1].split("B")[0]) for name in active}
    assert len(active) == 5
    for name, billions in active.items():
        assert names[name] <= billions < names[name] + 1 or round(billions) == names[name], (name, billions)


def test_the_smallest_of_the_third_series_tied(profiles):
    """InternVL3-2B is published with 1.9 B: one embedding table for input and output."""
    result = profiles["InternVL3-2B"]
    assert round((result.parameters - result.part("lm head").parameters) / 1e9, 2) == 1.86


def test_with_the_rows_that_the_base_models_have(monkeypatch):
    """Qwen2.5 pads its embeddings to 152064 rows; the releases cut them to what the tokenizer knows."""
    padded = replace(LANGUAGE_MODELS["Qwen2.5-7B"], vocab_size=152064)
    monkeypatch.setitem(LANGUAGE_MODELS, "Qwen2.5-7B", padded)
    assert round(profile(released_config("InternVL3-8B")).parameters / 1e9, 2) == 7.95


def test_every_row_is_used():
    assert {tower for tower, _ in RELEASES.values()} == set(TOWERS)
    assert {language for _, language in RELEASES.values()} == set(LANGUAGE_MODELS)


def test_unknown_release():
    with pytest.raises(ValueError, match="no release 'InternVL9'; known are InternVL-Chat-V1-2"):
        released_config("InternVL9")
