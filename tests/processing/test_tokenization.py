# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`load_tokenizer`: Llama-like folders with the slow tokenizer's ids and text, others as transformers loads them."""

import json
import shutil

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from tests.parity.golden import golden_root
from transformers_internvl.processing.tokenization import LlamaTokenizer, load_tokenizer

TOKENIZERS = golden_root() / "labels" / "tokenizers"
ANY_TEXT = st.text(st.one_of(st.sampled_from(" ▁aestrin\n<0xA>你好"), st.characters(exclude_categories=["Cs"])))


@given(text=ANY_TEXT)
@settings(max_examples=200)
def test_plain_text_is_encoded_as_sentencepiece_does(text):
    reference = SentencePieceProcessor(model_file=str(TOKENIZERS / "llama" / "tokenizer.model"))
    tokenizer = load_tokenizer(TOKENIZERS / "llama")
    assert tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids == reference.encode(text)


def test_a_leading_space_keeps_its_own_token():
    # transformers' own class gives one "▁" here, the slow one gave the text's space and the dummy prefix.
    for name in ("llama", "llama_nonlegacy", "yi", "phi3"):
        tokenizer = load_tokenizer(TOKENIZERS / name)
        ids = tokenizer(" x", add_special_tokens=False).input_ids
        assert tokenizer.convert_ids_to_tokens(ids) == ["▁", "▁", "x"], name


@pytest.mark.parametrize("name, tokens", [("llama", ["</img>", "▁", "x"]), ("llama_nonlegacy", ["</img>", "x"])])
def test_legacy_decides_about_text_after_a_special_token(name, tokens):
    tokenizer = load_tokenizer(TOKENIZERS / name)
    ids = tokenizer("</img>x", add_special_tokens=False).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == tokens


def test_a_missing_legacy_field_means_legacy(tmp_path):
    shutil.copytree(TOKENIZERS / "llama_nonlegacy", tmp_path / "old")
    path = tmp_path / "old" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["legacy"]
    path.write_text(json.dumps(config))
    assert load_tokenizer(tmp_path / "old").legacy is True


def test_wrong_bytes_do_not_spoil_their_neighbours():
    tokenizer = load_tokenizer(TOKENIZERS / "llama")
    ids = tokenizer.convert_tokens_to_ids(["▁a", "<0xE4>", "<0x41>", "<0xC3>", "<0xA9>", "<0xFF>"])
    assert tokenizer.decode(ids) == "a\ufffdAé\ufffd"


def test_special_tokens_are_skipped_and_unknown_ids_refused():
    tokenizer = load_tokenizer(TOKENIZERS / "phi3")
    ids = tokenizer("<|user|>\nfind <ref>x</ref><box>[[1]]</box><|end|>").input_ids
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert "<" not in text and "find" in text
    with pytest.raises(ValueError, match="Expected token ids from 0 to 419"):
        tokenizer.decode([len(tokenizer)])


def test_saved_folder_loads_as_stock_class(tmp_path):
    tokenizer = load_tokenizer(TOKENIZERS / "phi3")
    assert type(tokenizer) is LlamaTokenizer
    tokenizer.save_pretrained(tmp_path)
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(stock) is transformers.LlamaTokenizer
    for text in ("a b", "<|user|>\nhello<|end|>", "你好"):
        assert stock(text).input_ids == tokenizer(text).input_ids


@pytest.mark.parametrize("name", ["qwen2", "gptoss"])
def test_byte_level_tokenizers_stay_as_they_are(name):
    assert type(load_tokenizer(TOKENIZERS / name)) is type(
        transformers.AutoTokenizer.from_pretrained(TOKENIZERS / name)
    )
