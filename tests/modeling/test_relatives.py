# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Relatives of the family: Intern-S1 is loaded, others are refused in one sentence."""

import json
import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from tests.closeness import assert_same_results
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl import InternVLImageProcessor, InternVLProcessor
from transformers_internvl.modeling.interns1 import InternS1ForConditionalGeneration, InternS1Model
from transformers_internvl.modeling.unsupported import UNSUPPORTED
from transformers_internvl.nano import nano_path


@pytest.fixture
def intern_s1(tmp_path):
    """A folder as Intern-S1-mini is released: the canonical weights under the types of Intern-S1."""
    model = tiny_model(text={"model_type": "qwen3", "head_dim": 8}).eval()
    model.save_pretrained(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    fields |= {"model_type": "interns1", "architectures": ["InternS1ForConditionalGeneration"]}
    fields["vision_config"]["model_type"] = "interns1_vision"
    fields["auto_map"] = {"AutoConfig": "configuration_interns1.InternS1Config"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    return tmp_path, model


def test_intern_s1_gives_the_numbers_of_internvl(intern_s1, tmp_path_factory):
    folder, model = intern_s1
    loaded = AutoModelForImageTextToText.from_pretrained(folder).eval()
    assert type(loaded) is InternS1ForConditionalGeneration
    assert type(AutoModel.from_pretrained(folder)) is InternS1Model
    batch = tiny_batch([1, 2])
    with torch.no_grad():
        assert_same_results(loaded(**batch).logits, model(**batch).logits)
    again = tmp_path_factory.mktemp("again")
    loaded.save_pretrained(again)
    assert json.loads((again / "config.json").read_text())["model_type"] == "interns1"
    assert (again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_the_tokenizer_of_intern_s1_is_refused_and_the_rest_is_read(intern_s1):
    folder, _ = intern_s1
    for name in ("preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        if (nano_path() / name).exists():
            shutil.copy(nano_path() / name, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "InternS1Tokenizer", "auto_map": {"AutoTokenizer": ["tokenization.X", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert isinstance(InternVLImageProcessor.from_pretrained(folder), InternVLImageProcessor)
    for load in (AutoProcessor.from_pretrained, InternVLProcessor.from_pretrained):
        with pytest.raises(ValueError, match=r"is remote code \(InternS1Tokenizer\): it finds chemical formulas"):
            load(folder)


@pytest.mark.parametrize("model_type", UNSUPPORTED)
def test_others_are_refused_by_name(model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": ["X"]}))
    for load in (AutoConfig.from_pretrained, AutoModel.from_pretrained, AutoModelForImageTextToText.from_pretrained):
        with pytest.raises(ValueError, match=f"`model_type: {model_type}` is not supported. Intern"):
            load(tmp_path)
