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
from transformers_internvl.processing.tokenizers.loading import LlamaTokenizer, load_tokenizer

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


def folder_with(name, path, **fields):
    """A copy of a recorded tokenizer with other fields in its files; None takes one away."""
    shutil.copytree(TOKENIZERS / name, path)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        config = json.loads((path / file).read_text())
        changed = {**config, **{k: v for k, v in fields.items() if k in config or file == "tokenizer_config.json"}}
        (path / file).chmod(0o644)
        (path / file).write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))
    return path


def test_a_missing_add_bos_token_means_true(tmp_path):
    tokenizer = load_tokenizer(folder_with("llama", tmp_path / "a", add_bos_token=None))
    assert tokenizer("x").input_ids == load_tokenizer(TOKENIZERS / "llama")("x").input_ids
    assert tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    tokenizer.save_pretrained(tmp_path / "b")
    assert load_tokenizer(tmp_path / "b")("x").input_ids == tokenizer("x").input_ids


# Text -> tokens of transformers 4.37.2 (slow), `legacy: false`, four tokens in `additional_special_tokens`.
PHI3_PREFIXED = {
    "<|user|>\nhi": ["<s>", "▁", "<|user|>", "h", "i"],
    "<img>x": ["<s>", "<img>", "x"],
    "hi": ["<s>", "▁h", "i"],
    " <|user|>": ["<s>", "▁", "▁", "<|user|>"],
    "": ["<s>"],
    "<|user|>": ["<s>", "▁", "<|user|>"],
    "<|user|><img> a": ["<s>", "▁", "<|user|>", "<img>", "▁a"],
    "<box>a<|user|>\nx": ["<s>", "▁", "<box>", "a", "<|user|>", "x"],
}


@pytest.fixture
def phi3(tmp_path):
    listed = ["<img>", "</img>", "<IMG_CONTEXT>", "<ref>"]
    return load_tokenizer(folder_with("phi3", tmp_path / "few", legacy=False, additional_special_tokens=listed))


def test_the_prefix_stays_before_tokens_that_are_not_listed_as_special(phi3, tmp_path):
    phi3.save_pretrained(tmp_path / "saved")
    for tokenizer in (phi3, load_tokenizer(tmp_path / "saved")):
        for text, tokens in PHI3_PREFIXED.items():
            assert tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids) == tokens, text
            bare = tokenizer(text, add_special_tokens=False).input_ids
            assert tokenizer.convert_ids_to_tokens(bare) == tokens[1:], text
        pair = tokenizer.convert_ids_to_tokens(tokenizer("<|user|>a", "<|user|>b").input_ids)
        assert pair == ["<s>", "▁", "<|user|>", "a", "<s>", "▁", "<|user|>", "b"]


def test_special_tokens_that_are_added_later_are_listed(phi3, tmp_path):
    # As in transformers 4.37.2: `add_tokens(..., special_tokens=True)` lists them, plain ones are not listed.
    phi3.add_tokens(["<loc>"], special_tokens=True)
    phi3.add_tokens(["<plain>"])
    phi3.save_pretrained(tmp_path / "saved")
    for tokenizer in (phi3, load_tokenizer(tmp_path / "saved")):
        assert tokenizer.tokenize("<loc>") == ["<loc>"] and tokenizer.tokenize("<plain>") == ["▁", "<plain>"]


def test_the_prefix_in_batches_offsets_and_tensors(phi3):
    texts, rows = list(PHI3_PREFIXED), [phi3.convert_tokens_to_ids(tokens) for tokens in PHI3_PREFIXED.values()]
    for side in ("left", "right"):
        batch = phi3(texts, padding=True, padding_side=side, pad_to_multiple_of=4, return_tensors="pt")
        assert batch.input_ids.shape == (len(texts), 8)
        for row, ids, mask in zip(rows, batch.input_ids, batch.attention_mask, strict=True):
            assert ids[mask.bool()].tolist() == row
            assert mask.tolist() == sorted(mask.tolist(), reverse=side == "right")
    fixed = phi3(texts, padding="max_length", truncation=True, max_length=4)
    assert {len(ids) for ids in fixed.input_ids} == {4}
    encoded = phi3("<|user|>\nhi", return_offsets_mapping=True)
    assert encoded.offset_mapping[2:] == [(0, 9), (9, 10), (10, 11)] and encoded.offset_mapping[1] == (0, 0)
    assert encoded.char_to_token(9) == 3
    cut = phi3(texts, truncation=True, max_length=3, return_overflowing_tokens=True)
    assert cut["overflow_to_sample_mapping"] == sorted(cut["overflow_to_sample_mapping"])
    assert set(cut["overflow_to_sample_mapping"]) == set(range(len(texts)))
    plain = phi3("<|user|>", split_special_tokens=True, add_special_tokens=False).input_ids
    assert plain == SentencePieceProcessor(model_file=phi3.vocab_file).encode("<|user|>")


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


def test_saved_folder_loads_as_upstream_class(tmp_path):
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
