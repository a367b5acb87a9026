# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLRewardModel` as a chat model: pipeline, offloading, quantization, adapters, surgery keep it what it is."""

import json

import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig, pipeline

from tests.parity.golden import golden_root
from transformers_internvl import InternVLRewardModel
from transformers_internvl.conversion.surgery.operations import add_tokens_folder, merge_lora_folder

FOLDER = golden_root() / "visual_prm"
RESPONSES = ["a\n\nb", "c"]


@pytest.fixture(scope="module")
def picture():
    return Image.linear_gradient("L").resize((90, 60)).convert("RGB")


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(FOLDER)


def scores(model, picture, processor=None):
    found = model.score_steps("Q", picture, RESPONSES, processor=processor)
    return torch.tensor([number for one in found for number in one.scores])


@pytest.fixture(scope="module")
def expected(picture):
    return scores(InternVLRewardModel.from_pretrained(FOLDER).eval(), picture)


def test_its_processor_is_found_beside_the_weights(picture, processor, expected):
    model = AutoModelForImageTextToText.from_pretrained(FOLDER)
    assert type(model) is InternVLRewardModel
    torch.testing.assert_close(scores(model, picture, processor), expected, rtol=0, atol=1e-5)
    bare = InternVLRewardModel(model.config)
    bare.config._name_or_path = bare.name_or_path = ""
    with pytest.raises((OSError, ValueError)):
        bare.score_steps("Q", None, "a")


def test_it_answers_in_a_pipeline(picture):
    answer = pipeline("image-text-to-text", model=str(FOLDER), processor=AutoProcessor.from_pretrained(FOLDER))
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "What?"}]
    call = {"text": [{"role": "user", "content": content}], "return_full_text": False}
    said = [
        answer(**call, generate_kwargs={"max_new_tokens": 4, "do_sample": False, "v2pe_stride": stride})
        for stride in (1, 0.25)
    ]
    assert all(isinstance(text[0]["generated_text"], str) for text in said)


def test_it_scores_from_the_disk_and_in_eight_bits(picture, expected, tmp_path):
    parts = ("model.vision_tower", "model.multi_modal_projector", "model.language_model", "lm_head")
    devices = {name: "disk" if name == parts[2] else "cpu" for name in parts}
    spread = AutoModel.from_pretrained(FOLDER, device_map=devices, offload_folder=str(tmp_path))
    torch.testing.assert_close(scores(spread, picture), expected, rtol=0, atol=1e-5)
    small = AutoModel.from_pretrained(FOLDER, quantization_config=BitsAndBytesConfig(load_in_8bit=True))
    found = scores(small, picture)
    assert found.shape == expected.shape and (found - expected).abs().mean() < 0.1


def test_adapters_and_surgery_leave_its_class(picture, processor, tmp_path):
    from peft import get_peft_model

    from tests.tiny import shaken
    from transformers_internvl.training import lora_config

    model = AutoModel.from_pretrained(FOLDER)
    adapted = shaken(get_peft_model(model, lora_config("llm", model, r=2)))
    adapted.save_pretrained(tmp_path / "adapter")
    wanted = scores(adapted.get_base_model(), picture, processor)
    merge_lora_folder(tmp_path / "adapter", tmp_path / "merged", base=FOLDER)
    merged = AutoModel.from_pretrained(tmp_path / "merged")
    assert type(merged) is InternVLRewardModel
    torch.testing.assert_close(scores(merged, picture, processor), wanted, rtol=0, atol=1e-4)
    add_tokens_folder(FOLDER, tmp_path / "more", tokens=["<new>"])
    assert json.loads((tmp_path / "more" / "config.json").read_text())["architectures"] == ["InternVLRewardModel"]
    assert type(AutoModel.from_pretrained(tmp_path / "more")) is InternVLRewardModel
