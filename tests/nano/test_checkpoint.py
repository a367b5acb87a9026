# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The embedded checkpoint: complete, small, readable by upstream transformers, right on images it has not seen."""

import json

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

import transformers_internvl
from lab.nano.checkpoint import sample_drawing
from lab.nano.drawing import Style, draw
from lab.nano.evaluation import (
    accuracy,
    answer,
    asked_in_chinese,
    asked_in_vain,
    asked_of_world,
    fresh_drawings,
    judge,
    replies,
    size_bands,
)
from lab.nano.model import SPECIAL_TOKENS, TOKENS_PER_TILE, build_tokenizer, prompt
from lab.nano.questions import ANSWERS, TASKS
from tests.forked import TRANSFORMERS
from transformers_internvl.nano import nano_path, sample_images
from transformers_internvl.processing.chat_templates import get_chat_template

MEGABYTE = 10**6


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(nano_path())


@pytest.fixture(scope="module")
def model():
    return AutoModelForImageTextToText.from_pretrained(nano_path(), dtype=torch.float32).eval()


def test_it_is_embedded_and_small():
    assert transformers_internvl.nano_path() == nano_path()
    files = {path.name: path.stat().st_size for path in nano_path().iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "processor_config.json",
        "chat_template.jinja",
    } <= set(files)
    assert sum(files.values()) <= 20 * MEGABYTE


def test_its_config_tells_the_truth(model):
    config = json.loads((nano_path() / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(nano_path())
    assert config["model_type"] == "internvl"
    assert config["image_token_id"] == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert config["image_seq_length"] == TOKENS_PER_TILE
    assert config["text_config"]["vocab_size"] == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    tensors = torch.nn.Module.state_dict(AutoModelForImageTextToText.from_pretrained(nano_path()))
    assert {str(value.dtype).removeprefix("torch.") for value in tensors.values()} == {config["dtype"]}
    assert all(value.isfinite().all() for value in tensors.values())


@pytest.mark.parametrize("text", ["héllo wörld", "漢字 かな", "a\n\n\tb  c", "π ≈ 3.14159", "😀 emoji", "x" * 50, ""])
def test_any_text_survives_the_tokenizer(processor, text):
    ids = processor.tokenizer(text)["input_ids"]
    assert processor.tokenizer.decode(ids) == text
    assert processor.tokenizer.unk_token_id is None or processor.tokenizer.unk_token_id not in ids


def test_tokenizer_is_what_training_builds(processor):
    assert processor.tokenizer.get_vocab() == build_tokenizer().get_vocab()
    assert [len(processor.tokenizer(token)["input_ids"]) for token in SPECIAL_TOKENS] == [1] * len(SPECIAL_TOKENS)
    assert len(processor.tokenizer("4071")["input_ids"]) == 4
    assert processor.tokenizer.padding_side == "left"


@pytest.mark.parametrize("image_first", [True, False])
@pytest.mark.parametrize("system", [None, "Answer in one word."])
def test_prompts_are_those_of_the_training(processor, image_first, system):
    image = Image.new("RGB", (300, 200), "white")
    items = [{"type": "image", "image": image}, {"type": "text", "text": "What color is the circle?"}]
    messages = [{"role": "user", "content": items if image_first else items[::-1]}]
    if system:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    text = prompt("What color is the circle?", len(inputs["pixel_values"]), image_first=image_first, system=system)
    assert inputs["input_ids"][0].tolist() == processor.tokenizer(text)["input_ids"]
    assert len(inputs["pixel_values"]) == 5


def test_its_chat_template_is_the_one_of_the_hf_layout(processor):
    conversation = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    expected = processor.apply_chat_template(conversation, chat_template=get_chat_template("internvl_hf"))
    assert processor.apply_chat_template(conversation) == expected


@pytest.mark.parametrize(("task", "least"), [("number", 0.65), ("color", 0.8), ("count", 0.6)])
def test_it_answers_on_fresh_images(model, processor, task, least):
    """Drawn with the built-in font alone, so that every machine judges the same images."""
    results = replies(model, processor, fresh_drawings(task, 30, Style(), seed="test"))
    assert accuracy(results) >= least, [(reply.drawing.answer, reply.text) for reply in results if not reply.exact]
    valid = ANSWERS.get(task)
    assert all(reply.text in valid if valid else reply.text.isdigit() for reply in results)
    assert sum(int(cell.split("/")[1]) for cell in size_bands(results).values()) == 30


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("task", "least"), [("shape", 0.85), ("position", 0.85), ("clip", 0.85), ("pair", 0.35), ("box", 0.1)]
)
def test_it_answers_in_wordings_that_training_never_saw(model, processor, task, language, least):
    """By chance shapes and positions would be right in a third, clips and pairs in a quarter, boxes hardly ever."""
    scores = judge(model, processor, asked_of_world(task, language, 20), boxes=task == "box")
    assert next(iter(scores.values())) >= least, scores


@pytest.mark.parametrize(("task", "least"), [("number", 0.65), ("color", 0.8), ("count", 0.6)])
def test_it_answers_in_chinese(model, processor, task, least):
    assert judge(model, processor, asked_in_chinese(task, 20, Style()))["exact"] >= least


@pytest.mark.parametrize(
    ("kind", "language", "least"),
    [("plain", "en", 0.9), ("plain", "zh", 0.9), ("picture", "en", 0.9), ("picture", "zh", 0.4)],
)
def test_it_says_what_it_knows_when_asked_for_something_else(model, processor, kind, language, least):
    assert judge(model, processor, asked_in_vain(kind, language, 20, Style()))["exact"] >= least


def test_it_answers_on_the_samples(model, processor):
    samples = sample_images()
    assert set(samples) == set(TASKS)
    images = {task: Image.open(path).convert("RGB") for task, path in samples.items()}
    drawings = {task: sample_drawing(task) for task in TASKS}
    for task, drawing in drawings.items():
        assert images[task].tobytes() == drawing.image.tobytes()
    said = list(answer(model, processor, [(images[task], drawings[task].question) for task in TASKS]))
    assert said == [drawings[task].answer for task in TASKS]


def test_batches_do_not_change_answers(model, processor):
    drawings = [draw(task, f"batch-{index}", Style()) for task in TASKS for index in range(2)]
    asked = [(drawing.image, drawing.question) for drawing in drawings]
    assert list(answer(model, processor, asked, batch_size=6)) == list(answer(model, processor, asked, batch_size=1))


def test_upstream_reads_it_with_equal_logits(model, processor, tmp_path):
    """In a process that never imports this package."""
    drawing = draw("number", "stock", Style())
    text = prompt(drawing.question, processor.image_processor.get_number_of_image_patches(*drawing.image.size[::-1]))
    inputs = {
        "input_ids": torch.tensor([processor.tokenizer(text)["input_ids"]]),
        "pixel_values": processor.image_processor(drawing.image, return_tensors="pt")["pixel_values"],
    }
    with torch.no_grad():
        torch.save({"inputs": inputs, "logits": model(**inputs).logits, "text": text}, tmp_path / "ours.pt")
    code = """
import sys, torch
from transformers import AutoModelForImageTextToText, AutoTokenizer
folder, file = sys.argv[1:]
saved = torch.load(file)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
assert type(model).__module__ == "transformers.models.internvl.modeling_internvl", type(model)
assert AutoTokenizer.from_pretrained(folder)(saved["text"])["input_ids"] == saved["inputs"]["input_ids"][0].tolist()
with torch.no_grad():
    torch.testing.assert_close(model(**saved["inputs"]).logits, saved["logits"], atol=1e-4, rtol=1e-4)
"""
    TRANSFORMERS.run(code, nano_path(), tmp_path / "ours.pt")
