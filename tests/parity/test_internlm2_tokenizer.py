# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternLM2Tokenizer` against the original slow sentencepiece tokenizer: ids, tokens and decoded text, exactly."""

import json

import pytest

from transformers_internvl.processing.tokenizers.internlm2 import InternLM2Tokenizer

from .golden import golden_cases

FOLDERS = [
    folder for case in golden_cases("internlm2_tokenizer") for folder in sorted(case.iterdir()) if folder.is_dir()
]


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def case(request):
    expected = json.loads((request.param.parent / "expected.json").read_text(encoding="utf-8"))
    return request.param, InternLM2Tokenizer.from_pretrained(request.param), expected[request.param.name]


def test_every_expected_tokenizer_has_a_folder():
    for root in golden_cases("internlm2_tokenizer"):
        expected = json.loads((root / "expected.json").read_text(encoding="utf-8"))
        assert {folder.name for folder in FOLDERS if folder.parent == root} == set(expected)


def test_info(case):
    _, tokenizer, expected = case
    info = expected["info"]
    assert len(tokenizer) == info["length"]
    assert tokenizer.padding_side == info["padding_side_default"]
    assert tokenizer.convert_tokens_to_ids(list(info["special_ids"])) == list(info["special_ids"].values())
    for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "model_max_length"):
        assert getattr(tokenizer, name) == info[name], name
    assert sorted(tokenizer.all_special_tokens) == sorted(info["all_special_tokens"])
    assert sorted(tokenizer.all_special_ids) == sorted(info["all_special_ids"])


def test_encode(case):
    _, tokenizer, expected = case
    for row in expected["strings"]:
        assert tokenizer(row["text"]).input_ids == row["input_ids"], row["text"]
        assert tokenizer(row["text"], add_special_tokens=False).input_ids == row["ids_no_special"], row["text"]
        assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == row["tokens"], row["text"]


def test_decode(case):
    _, tokenizer, expected = case
    for row in expected["strings"]:
        ids = row["input_ids"]
        assert tokenizer.decode(ids) == row["decode"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == row["decode_skip_special"]
        joined = tokenizer.decode(ids, spaces_between_special_tokens=False)
        assert joined == row["decode_no_spaces_between_special"]
    for row in expected["random_ids"]:
        assert tokenizer.decode(row["ids"]) == row["decode"]
        assert tokenizer.decode(row["ids"], skip_special_tokens=True) == row["decode_skip_special"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_batch(case, side):
    _, tokenizer, expected = case
    batch = expected[f"batch_{side}"]
    texts = [row["text"] for row in expected["strings"][10:14]]
    got = tokenizer(texts, padding=True, padding_side=side)
    assert got.input_ids == batch["input_ids"]
    assert got.attention_mask == batch["attention_mask"]


def test_pair_and_flags(case):
    folder, tokenizer, expected = case
    assert tokenizer("ab", "cd").input_ids == expected["pair_ids"]
    flipped = InternLM2Tokenizer.from_pretrained(folder, add_bos_token=False, add_eos_token=True)
    texts = [row["text"] for row in expected["strings"][9:12]]
    assert flipped(texts).input_ids == expected["add_eos_no_bos"]


def test_chat_template(case):
    _, tokenizer, expected = case
    chat = expected["chat_template"]
    for name, part in (("text", {"tokenize": False}), ("ids", {"return_dict": False})):
        got = tokenizer.apply_chat_template(chat["messages"], add_generation_prompt=True, **part)
        assert got == chat[name], name
