# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From texts to the original numbers: ids of `golden/internvl_14b`, and what the model makes of them."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoProcessor, AutoTokenizer

from .golden import golden_cases

CASES = golden_cases("internvl_14b")
OUTPUT = {"rtol": 1e-4, "atol": 2e-5}


class Case:
    """A golden folder: its texts, its tensors, and what its README says was given to the original model."""

    def __init__(self, path):
        self.path = path
        self.texts = json.loads(re.search(r"^.*Texts: (\[.*\])$", (path / "README.md").read_text(), re.MULTILINE)[1])
        self.inputs = load_file(path / "inputs.safetensors")
        self.outputs = load_file(path / "outputs.safetensors")
        self.processor = AutoProcessor.from_pretrained(path)

    def captions(self) -> list[str]:
        """The captions of the training batch: the first texts, as far as their ids reach."""
        ids = self.inputs["train.positive_input_ids"]
        captions = self.processor.batch_decode(ids, skip_special_tokens=True)
        texts = self.texts[: len(captions)]
        assert all(text.startswith(caption) for text, caption in zip(texts, captions, strict=True))
        return texts


@pytest.fixture(params=CASES, ids=lambda path: path.name)
def case(request) -> Case:
    return Case(request.param)


def ids_of(case: Case, texts: list[str], **options) -> dict[str, torch.Tensor]:
    width = case.inputs["text"].shape[1]
    options = {"padding": "max_length", "max_length": width, "truncation": True, "return_tensors": "pt", **options}
    return dict(case.processor(text=texts, **options))


def test_texts(case):
    encoded = ids_of(case, case.texts)
    assert torch.equal(encoded["input_ids"], case.inputs["text"])
    assert torch.equal(encoded["attention_mask"], (case.inputs["text"] > 0).long())


def test_prompts_of_captions(case):
    image = case.inputs["image"]
    pictures = [torch.zeros_like(one, dtype=torch.uint8) for one in image]
    encoded = case.processor(images=pictures, task="caption", return_tensors="pt")
    for name in ("input_ids", "attention_mask"):
        assert torch.equal(encoded[name], case.inputs[f"caption.{name}"])
    assert encoded["pixel_values"].shape == image.shape


@pytest.mark.parametrize(
    "name, prefix", [("positive_", ""), ("summarize_", None), ("", "English caption: ")], ids=lambda value: repr(value)
)
def test_texts_of_training(case, name, prefix):
    """A caption by itself, to be compared, and to be learned behind the prompt and a space."""
    encoded = ids_of(case, case.captions(), prefix=prefix)
    for part in ("input_ids", "attention_mask"):
        assert torch.equal(encoded[part], case.inputs[f"train.{name}{part}"])


def test_texts_that_serve_as_negatives(case):
    texts, index = case.captions(), case.inputs["train.negative_index"].tolist()
    encoded = ids_of(case, [texts[other] for other in index], prefix="")
    for part in ("input_ids", "attention_mask"):
        assert torch.equal(encoded[part], case.inputs[f"train.negative_{part}"])


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("width", [None, 80])
def test_similarities_from_texts(case, side, width):
    """The side of the padding and its length change nothing."""
    model = AutoModel.from_pretrained(case.path).eval()
    encoded = case.processor.tokenizer(case.texts, truncation=True, max_length=case.inputs["text"].shape[1])
    options = {"padding": "max_length" if width else True, "max_length": width, "padding_side": side}
    encoded = case.processor.tokenizer.pad(encoded, return_tensors="pt", **options)
    torch.testing.assert_close(model.get_text_features(**encoded).pooler_output, case.outputs["encode_text"], **OUTPUT)
    for mode in ("InternVL-C", "InternVL-G"):
        outputs = model(case.inputs["image"], **encoded, mode=mode)
        torch.testing.assert_close(outputs.logits_per_image, case.outputs[f"logits_per_image.{mode}"], **OUTPUT)


def test_captions_from_prompts(case):
    model = AutoModel.from_pretrained(case.path).eval()
    pictures = [torch.zeros_like(one, dtype=torch.uint8) for one in case.inputs["image"]]
    encoded = case.processor(images=pictures, task="caption", return_tensors="pt")
    encoded["pixel_values"] = case.inputs["image"]
    assert torch.equal(model.generate(**encoded, max_new_tokens=12, do_sample=False), case.outputs["generate.greedy"])
    beams = {"num_beams": 5, "min_new_tokens": 8, "max_new_tokens": 10, "do_sample": False}
    assert torch.equal(model.generate(**encoded, **beams), case.outputs["generate.beam5"])


@torch.no_grad()
def test_the_snippet_of_the_model_card(case):
    """It writes prefix and padding id by hand, which must do no harm."""
    model = AutoModel.from_pretrained(
        case.path, torch_dtype=torch.float32, low_cpu_mem_usage=True, trust_remote_code=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(case.path, use_fast=False, add_eos_token=True)
    tokenizer.pad_token_id = 0
    texts, width = ["summarize:" + text for text in case.texts], case.inputs["text"].shape[1]
    input_ids = tokenizer(
        texts, return_tensors="pt", max_length=width, truncation=True, padding="max_length"
    ).input_ids
    for mode in ("InternVL-C", "InternVL-G"):
        per_image, per_text = model(image=case.inputs["image"], text=input_ids, mode=mode)
        torch.testing.assert_close(per_image, case.outputs[f"logits_per_image.{mode}"], **OUTPUT)
        torch.testing.assert_close(per_text, case.outputs[f"logits_per_text.{mode}"], **OUTPUT)
    tokenizer.add_eos_token = False
    tokenized = tokenizer("English caption:", return_tensors="pt")
    predicted = model.generate(
        pixel_values=case.inputs["image"][:1],
        input_ids=tokenized.input_ids,
        attention_mask=tokenized.attention_mask,
        num_beams=5,
        min_new_tokens=8,
        max_new_tokens=10,
    )
    assert torch.equal(predicted, case.outputs["generate.beam5"][:1])
