# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`chat` and `batch_chat` against the original transcripts: `golden/chat_*/chat.json`."""

import json
import re

import pytest
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from .golden import golden_cases

FLASH = golden_cases("chat_flash")  # `test_flash.py`
CASES = [path for path in golden_cases("chat_") if (path / "chat.json").exists() and path not in FLASH]
MONO = golden_cases("mono_internvl")
GENERATION = {"max_new_tokens": 12, "do_sample": False}


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def setting(request):
    path = request.param
    model = AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    pixels = load_file(path / "inputs.safetensors")["pixel_values"]
    return model, tokenizer, pixels, json.loads((path / "chat.json").read_text())["chats"]


def test_there_are_transcripts():
    assert len(CASES) >= 6


def test_transcripts(setting, monkeypatch):
    model, tokenizer, pixels, chats = setting
    prompts = []
    generate = model.generate

    def spy(**kwargs):
        prompts.append((kwargs["input_ids"], kwargs["attention_mask"]))
        return generate(**kwargs)

    monkeypatch.setattr(model, "generate", spy)
    assert chats
    for chat in chats:
        request, expected = chat["request"], chat["result"]
        rows = request.get("pixel_rows")
        tiles = None if rows is None else pixels[slice(*rows)]
        generation = dict(GENERATION)
        if request["kind"] == "chat":
            history = [tuple(turn) for turn in request["history"]] if request.get("history") else None
            response, history = model.chat(
                tokenizer,
                tiles,
                request["question"],
                generation,
                history=history,
                num_patches_list=request.get("num_patches_list"),
                return_history=True,
            )
            assert response == expected["response"]
            assert [list(turn) for turn in history] == expected["history_after"]
        else:
            assert request["kind"] == "batch"
            responses = model.batch_chat(
                tokenizer, tiles, request["questions"], generation, num_patches_list=request.get("num_patches_list")
            )
            assert responses == expected["responses"]
        assert generation == GENERATION  # the caller's dictionary stays as it was
        ids, mask = prompts.pop()
        assert ids.tolist() == expected["input_ids"]
        assert mask.tolist() == expected["attention_mask"]


@pytest.mark.parametrize("path", MONO, ids=lambda path: path.name)
def test_transcripts_of_mono_internvl(path, monkeypatch):
    """Its repository keeps expanded images in the history, as text; ours keeps `<image>`, as all other releases do."""
    model = AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    pixels = load_file(path / "inputs.safetensors")["pixel_values"]
    prompts, generate = [], model.generate

    def spy(**kwargs):
        prompts.append((kwargs["input_ids"], kwargs["attention_mask"]))
        return generate(**kwargs)

    monkeypatch.setattr(model, "generate", spy)
    chats = json.loads((path / "chat.json").read_text())["chats"]
    assert {chat["request"]["kind"] for chat in chats} >= {"chat", "multi_image_chat", "batch_chat"}
    for chat in chats:
        request, expected = chat["request"], chat["result"]
        rows, counts, kind = request.get("pixel_rows"), request.get("image_counts"), request["kind"]
        tiles = None if rows is None else pixels[rows]
        history = [(_with_marks(question), answer) for question, answer in request.get("history") or []] or None
        if kind == "batch_chat":
            questions = request["question"]
            answers = model.batch_chat(tokenizer, tiles, questions, dict(GENERATION), num_patches_list=counts)
            assert answers == expected["responses"]
        else:
            chat_with = model.chat if kind == "chat" else model.multi_image_chat
            given = () if kind == "chat" else (counts,)
            answer, after = chat_with(
                tokenizer, tiles, *given, request["question"], dict(GENERATION), history=history, return_history=True
            )
            assert answer == expected["response"]
            assert after == [(_with_marks(question), answer) for question, answer in expected["history_after"]]
        ids, mask = prompts.pop()
        assert ids.tolist() == expected["input_ids"]
        assert mask.tolist() == expected["attention_mask"]


def _with_marks(text: str) -> str:
    return re.sub("<img>(<IMG_CONTEXT>)+</img>", "<image>", text)
