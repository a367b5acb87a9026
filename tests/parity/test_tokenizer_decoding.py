# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Decoded prompts and answers of the recorded chats: `load_tokenizer` writes what the slow tokenizers wrote."""

import json

import pytest
from transformers import AutoTokenizer

from transformers_internvl.processing.chat_templates import TEMPLATES
from transformers_internvl.processing.tokenizers.internlm2 import InternLM2Tokenizer
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

from .golden import golden_cases, whole_tile_chats

CASES = [case for case in whole_tile_chats() if (case / "chat.json").exists()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_decoded_chats(case):
    tokenizer = load_tokenizer(case)
    template = json.loads((case / "config.json").read_text())["template"]
    keeps_special_tokens = "3_5" in case.name or template == "internvl3_5_gpt_oss"
    chats = json.loads((case / "chat.json").read_text(encoding="utf-8"))["chats"]
    assert chats
    for chat in chats:
        result = chat["result"]
        assert [tokenizer.decode(ids) for ids in result["input_ids"]] == result["prompt_decoded"]
        answers = result["responses"] if "responses" in result else [result["response"]]
        for ids, answer in zip(result["generated_ids"], answers, strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=not keeps_special_tokens)
            assert text.split(TEMPLATES[template].separator)[0].strip() == answer


@pytest.mark.parametrize("case", golden_cases("chat_internlm2"), ids=lambda case: case.name)
@pytest.mark.parametrize("trust_remote_code", [None, True])
def test_auto_tokenizer_gives_our_class_in_spite_of_auto_map(case, trust_remote_code):
    if not (case / "tokenizer_config.json").exists():
        assert not (case / "tokenizer.model").exists()
        return
    assert "auto_map" in json.loads((case / "tokenizer_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(case, trust_remote_code=trust_remote_code)
    assert type(tokenizer) is InternLM2Tokenizer
