# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-Chat v1 against the original numbers: `llava_v1.json`.

The file holds what the original LLaVA code (`internvl_chat_llava` of their repository, with transformers 4.37.2, torch
2.13.0 on CPU, float32) computes on the folders of `tests/llava.py`: prompts of `conversation.py` and their ids of
`tokenizer_image_token`, pixels of `process_images` (sha256 of the float32 array), logits of the last position, and
what `generate` writes greedily with `process_images`' pixels. The code was unchanged but for one constant: 3200, the
width of the released tower in QLLaMA's cross attention and in `TwoMLP`, was replaced by that of the tiny one.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.llava import IMAGE_INDEX, picture, write_folder, write_tokenizer

ORIGINAL = json.loads((Path(__file__).parent / "llava_v1.json").read_text(encoding="utf-8"))
OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
IMAGES = [picture(*arguments) for arguments in ORIGINAL["pictures"]]


def _expanded(ids: list[int], processor) -> list[int]:
    """The original ids with the image's tokens in the place of -200."""
    image = [processor.image_token_id] * processor.image_seq_length
    return [i for index in ids for i in (image if index == IMAGE_INDEX else [index])]


@pytest.fixture(scope="module", params=ORIGINAL["forms"])
def form(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write_folder(folder, request.param)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    return ORIGINAL["forms"][request.param], model, AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize("legacy", [False, True], ids=["vicuna", "legacy"])
def test_ids(legacy, tmp_path):
    write_folder(tmp_path)
    write_tokenizer(tmp_path, legacy)
    processor = AutoProcessor.from_pretrained(tmp_path)
    for name, row in ORIGINAL["prompts"]["legacy" if legacy else "vicuna"].items():
        images = IMAGES[: row["ids"].count(IMAGE_INDEX)] or None
        ids = processor(text=row["text"], images=images)["input_ids"][0]
        assert ids == _expanded(row["ids"], processor), name


@pytest.mark.parametrize("name", ["one", "text", "turns", "middle", "end"])
def test_conversations(form, name):
    _, _, processor = form
    image, text = {"type": "image", "image": IMAGES[0]}, lambda value: {"type": "text", "text": value}
    turns = {
        "one": [[image, text("What is this?")]],
        "text": ["Hello  there"],
        "turns": [[image, text("Hi")], "It is a dog.", "And é now?"],
        "middle": [[text("Look at "), image, text(" and say")]],
        "end": [[text("Say it: "), image]],
    }[name]
    messages = [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(turns)]
    row = ORIGINAL["prompts"]["vicuna"][name]
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == row["text"]
    ids = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)
    assert ids == [_expanded(row["ids"], processor)]


@pytest.mark.parametrize("kind", ["pad", "crop"])
def test_pixels(form, kind):
    _, _, processor = form
    pixels = processor.image_processor(IMAGES, do_pad=kind == "pad", return_tensors="np")["pixel_values"]
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == ORIGINAL["pixels"][kind]


@pytest.mark.parametrize("name", ["one", "two", "text", "turns"])
def test_logits_and_greedy_ids(form, name):
    expected, model, processor = form
    row = expected[name]
    prompt = ORIGINAL["prompts"]["vicuna"][name]["text"]
    inputs = processor(text=prompt, images=IMAGES[: row["images"]] or None, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs, logits_to_keep=1).logits[0, -1]
    torch.testing.assert_close(logits, torch.tensor(row["logits"]), **OUTPUT)
    written = model.generate(**inputs, max_new_tokens=len(row["greedy"]), do_sample=False, eos_token_id=None)
    assert written[0, inputs["input_ids"].shape[1] :].tolist() == row["greedy"]
