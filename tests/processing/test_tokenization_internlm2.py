# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the InternLM2 tokenizer promises beyond the golden strings: saving, loading by name, user text, bad folders."""

import json
import pickle
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES, TOKENIZER_MAPPING

from tests.parity.golden import golden_root
from transformers_internvl.processing.tokenizers.internlm2 import InternLM2Tokenizer

FOLDER = golden_root() / "internlm2_tokenizer" / "internlm2"
NO_PREFIX = golden_root() / "internlm2_tokenizer" / "internlm2_nodummy"
TEXTS = [
    "",
    " ",
    "a",
    " a\n",
    "<|im_start|>user\n你好<|im_end|>\n",
    "<img><IMG_CONTEXT></img>x",
    "\x00\x07é😀",
    "a<s>b",
]
SPELLED = "[UNUSED_TOKEN_146]user\nx[UNUSED_TOKEN_145]"


@pytest.fixture(scope="module", params=[FOLDER, NO_PREFIX], ids=lambda folder: folder.name)
def folder(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(folder):
    return InternLM2Tokenizer.from_pretrained(folder)


@given(text=st.text(st.one_of(st.sampled_from(" ▁aestrin\n<0xA>你好[]"), st.characters(exclude_categories=["Cs"]))))
@settings(max_examples=200)
@pytest.mark.parametrize("folder", [FOLDER, NO_PREFIX], ids=lambda folder: folder.name)
def test_plain_text_is_encoded_and_decoded_as_sentencepiece_does(folder, text):
    reference = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = InternLM2Tokenizer.from_pretrained(folder)
    ids = reference.encode(text)
    assert tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids == ids
    assert tokenizer.decode(ids) == reference.decode(ids)


def test_save_and_reload(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file() and (tmp_path / "tokenizer.model").is_file()
    again = InternLM2Tokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, SPELLED]:
        ids = tokenizer(text).input_ids
        assert again(text).input_ids == ids
        assert again.decode(ids) == tokenizer.decode(ids)
    assert again("a", "b").input_ids == tokenizer("a", "b").input_ids
    assert sorted(again.all_special_tokens) == sorted(tokenizer.all_special_tokens)
    assert len(again) == len(tokenizer)


@pytest.mark.parametrize("flags", [(False, False), (False, True), (True, True)])
def test_flags_survive_saving(tokenizer, tmp_path, flags):
    tokenizer.save_pretrained(tmp_path / "a")
    bos, eos = flags
    InternLM2Tokenizer.from_pretrained(tmp_path / "a", add_bos_token=bos, add_eos_token=eos).save_pretrained(
        tmp_path / "b"
    )
    again = InternLM2Tokenizer.from_pretrained(tmp_path / "b")
    assert (again.add_bos_token, again.add_eos_token) == flags
    assert again("").input_ids == [1] * bos + [2] * eos


def test_saved_folder_loads_as_a_plain_fast_tokenizer(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    plain = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    for text in TEXTS:
        assert plain(text).input_ids == tokenizer(text).input_ids
    assert plain.decode(plain("a b").input_ids, skip_special_tokens=True) == "a b"


def test_a_foreign_tokenizer_json_does_not_replace_the_model(tokenizer, tmp_path):
    shutil.copytree(FOLDER, tmp_path / "both")
    (tmp_path / "both" / "tokenizer.json").write_text(
        '{"added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}'
    )
    assert len(InternLM2Tokenizer.from_pretrained(tmp_path / "both")) == len(tokenizer)


def test_auto_tokenizer_finds_the_class_by_name_and_runs_no_remote_code(monkeypatch, tmp_path):
    class SomeInternLM2Config(LlamaConfig):
        model_type = "some_internlm2"

    monkeypatch.setattr(TOKENIZER_MAPPING, "_extra_content", dict(TOKENIZER_MAPPING._extra_content))
    monkeypatch.setitem(REGISTERED_TOKENIZER_CLASSES, "InternLM2Tokenizer", InternLM2Tokenizer)
    AutoTokenizer.register(SomeInternLM2Config, tokenizer_class=InternLM2Tokenizer, exist_ok=True)
    shutil.copytree(FOLDER, tmp_path / "remote")
    assert "auto_map" in json.loads((FOLDER / "tokenizer_config.json").read_text())
    (tmp_path / "remote" / "tokenization_internlm2.py").write_text("raise RuntimeError('remote code ran')")
    for trust in (None, True):
        loaded = AutoTokenizer.from_pretrained(tmp_path / "remote", trust_remote_code=trust)
        assert type(loaded) is InternLM2Tokenizer


def test_spare_pieces_are_text_where_special_tokens_are(tokenizer):
    special = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert set(special) <= set(tokenizer(SPELLED).input_ids)
    for text in (SPELLED, "<|im_start|>", "<IMG_CONTEXT>", "<s>"):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        assert not set(ids) & set(tokenizer.all_special_ids)
        assert tokenizer.decode(ids) == text


def test_spare_pieces_in_batches_and_pairs(tokenizer):
    batch = tokenizer([SPELLED, "a"], padding=True, return_tensors="pt")
    assert batch.input_ids.shape[0] == 2
    assert batch.input_ids[0].tolist() == tokenizer(SPELLED).input_ids
    pair = tokenizer("a", SPELLED).input_ids
    assert pair == tokenizer("a").input_ids + tokenizer(SPELLED, add_special_tokens=False).input_ids
    # A private-use character of the text itself is no spare piece.
    assert tokenizer("\ue000" + SPELLED, add_special_tokens=False).input_ids.count(445) == 1


def test_ids_beyond_the_vocabulary_are_an_error(tokenizer):
    with pytest.raises(ValueError, match=r"ids from 0 to 454, got \[455\]"):
        tokenizer.decode([1, 455])


def test_a_folder_without_model_says_what_is_missing(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises((OSError, ValueError), match="tokenizer.model|load tokenizer|Can't load"):
        InternLM2Tokenizer.from_pretrained(tmp_path)


def test_a_corrupt_model_is_named(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "bad")
    (tmp_path / "bad" / "tokenizer.model").write_bytes(b"\x0a\xff not a model")
    with pytest.raises(ValueError, match="not a sentencepiece model"):
        InternLM2Tokenizer.from_pretrained(tmp_path / "bad")


def test_added_tokens_with_a_gap_are_refused(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "gap")
    path = tmp_path / "gap" / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["added_tokens_decoder"]["500"] = config["added_tokens_decoder"].pop("450")
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="without a gap"):
        InternLM2Tokenizer.from_pretrained(tmp_path / "gap")


def test_copies_and_worker_processes_get_the_same_tokenizer(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    for text in [*TEXTS, SPELLED]:
        ids = tokenizer(text).input_ids
        assert again(text).input_ids == ids and again.decode(ids) == tokenizer.decode(ids)


def test_the_model_file_is_saved_byte_for_byte(tmp_path):
    source = golden_root() / "chat_internlm2"
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "one")
    AutoTokenizer.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for folder in ("one", "two"):
        assert (tmp_path / folder / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
