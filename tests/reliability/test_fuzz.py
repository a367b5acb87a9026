# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The short form of `tests.reliability.fuzz`, and the requests that must be refused before memory is taken."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.parity.golden import golden_root
from tests.reliability.fuzz import TARGETS, attempt
from tests.tiny import tiny_config
from transformers_internvl import InternVLChatConfig, InternVLChatModel
from transformers_internvl.conversion.weight_streams import WeightStream
from transformers_internvl.modeling.loading import weight_places
from transformers_internvl.processing.image_processing import InternVLImageProcessor
from transformers_internvl.processing.video_processing import InternVLVideoProcessor

SMALL = Image.new("RGB", (30, 30))
FRAMES = np.zeros((3, 30, 30, 3), np.uint8)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs(target):
    for number in range(25):
        attempt(target, number, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"max_patches": 10**9},
        {"max_patches": 10_000, "min_patches": 9_000},
        {"size": {"height": 10**7, "width": 10**7}},
        {"size": {"height": -1, "width": -1}},
        {"size": []},
        {"max_image_pixels": 100},
    ],
)
def test_absurd_pictures(options):
    with pytest.raises(ValueError, match=r"supported|values|size|allowed"):
        InternVLImageProcessor()(SMALL, **options)


def test_a_long_thin_picture_is_not_padded_to_its_square():
    with pytest.raises(ValueError, match="1000000 x 1000000 values"):
        InternVLImageProcessor(pad2square=True, crop_to_patches=False)(Image.new("L", (10**6, 2)))


@pytest.mark.parametrize("rate", [1.0, 1e-300, float("nan")])
@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 10**7},
        {"num_frames": 10**12, "sampling": "rand"},
        {"fps": 1e12},
        {"fps": float("nan")},
        {"bound": (0, float("inf"))},
        {"size": {"height": 10**6, "width": 10**6}, "num_frames": 2},
    ],
)
def test_absurd_videos(options, rate):
    metadata = [{"fps": rate, "total_num_frames": 3}]
    with pytest.raises(ValueError, match=r"supported|positive|asks for more|seconds|cannot be|values"):
        InternVLVideoProcessor()(FRAMES, video_metadata=metadata, **options)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("text", "num_hidden_layers", 10**9),
        ("vision", "num_hidden_layers", 10**9),
        ("vision", "hidden_size", 10**9),
        ("vision", "image_size", 10**7),
        ("vision", "patch_size", []),
        ("text", "vocab_size", "many"),
        ("text", "dtype", "evil"),
    ],
)
def test_absurd_configurations(part, name, value):
    with pytest.raises(ValueError, match=f"{part}_config.{name}` must"):
        tiny_config(**{part: {name: value}})


@pytest.mark.parametrize("value", [[], 3, {"rope_scaling": 3}, {"architectures": [["x"]]}])
def test_misshapen_language_model(value):
    with pytest.raises(ValueError, match="llm_config"):
        InternVLChatConfig(llm_config=value)


def test_a_configuration_that_nests_without_end():
    fields: dict = {}
    for _ in range(100):
        fields = {"text_config": fields}
    with pytest.raises(ValueError, match="levels deep"):
        tiny_config(text=fields)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../b", "..", "", "..\\x", 3, None])
def test_an_index_stays_in_its_folder(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    (tmp_path / "config.json").write_bytes((golden_root() / "chat_qwen2/config.json").read_bytes())
    for read in (weight_places, lambda path: WeightStream(path.parent)):
        with pytest.raises(ValueError, match="not opened"):
            read(index)
    for place in ({}, {"subfolder": tmp_path.name}):
        with pytest.raises(ValueError, match="not opened"):
            InternVLChatModel.from_pretrained(tmp_path.parent if place else tmp_path, **place)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": 3}', "[" * 100_000])
def test_what_is_no_index(tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(ValueError, match="is not an index"):
        weight_places(tmp_path / "index.json")
