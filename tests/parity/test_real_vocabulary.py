# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A real sentencepiece vocabulary, whose pieces of spaces have the lowest score: ids and text, on every class."""

import json
import logging
import shutil

import pytest
import transformers
from sentencepiece import SentencePieceProcessor

from transformers_internvl.processing.tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from transformers_internvl.processing.tokenizers.internlm2 import InternLM2Tokenizer
from transformers_internvl.processing.tokenizers.loading import LlamaTokenizer, as_trained, load_tokenizer
from transformers_internvl.processing.tokenizers.sentencepiece_model import SentencePieceModel

from .golden import golden_cases

CASES = golden_cases("real_vocabulary")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def case(request):
    expected = json.loads((request.param / "expected.json").read_text(encoding="utf-8"))
    assert len(expected["legacy"]) == len(expected["not_legacy"]) == len(expected["sentencepiece"]) > 200
    return request.param, expected


def folder_with(case, path, **fields):
    """The files of a case, with other fields in tokenizer_config.json; None takes one away."""
    path.mkdir()
    shutil.copyfile(case / "tokenizer.model", path / "tokenizer.model")
    config = {**json.loads((case / "tokenizer_config.json").read_text()), **fields}
    config = {name: value for name, value in config.items() if value is not None}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def assert_as_expected(tokenizer, rows):
    assert [tokenizer(row["text"]).input_ids for row in rows] == [row["input_ids"] for row in rows]
    texts = [tokenizer.decode(row["input_ids"], skip_special_tokens=True) for row in rows]
    assert texts == [row["decoded"] for row in rows]


@pytest.mark.parametrize("kind", ["legacy", "not_legacy"])
def test_llama(case, kind, tmp_path):
    folder, expected = case
    folder = folder_with(folder, tmp_path / "folder", legacy=kind == "legacy")
    tokenizer = load_tokenizer(folder)
    assert_as_expected(tokenizer, expected[kind])
    assert_as_expected(as_trained(transformers.AutoTokenizer.from_pretrained(folder)), expected[kind])
    tokenizer.save_pretrained(tmp_path / "saved")
    assert_as_expected(load_tokenizer(tmp_path / "saved"), expected[kind])
    (tmp_path / "saved" / "tokenizer.model").unlink()  # what is in tokenizer.json is right as well
    assert_as_expected(load_tokenizer(tmp_path / "saved"), expected[kind])


def test_merges_that_upstream_saved_are_not_taken_over(case, tmp_path, caplog):
    folder, expected = case
    stock = transformers.AutoTokenizer.from_pretrained(folder_with(folder, tmp_path / "folder", legacy=True))
    stock.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "tokenizer.model").exists()
    with caplog.at_level(logging.WARNING):
        wrong = load_tokenizer(tmp_path / "saved")  # nothing tells the scores here
    assert "Copy the tokenizer.model" in caplog.text
    assert wrong("\n    print").input_ids != load_tokenizer(tmp_path / "folder")("\n    print").input_ids
    shutil.copyfile(folder / "tokenizer.model", tmp_path / "saved" / "tokenizer.model")
    caplog.clear()
    assert_as_expected(load_tokenizer(tmp_path / "saved"), expected["legacy"])
    assert "Copy the tokenizer.model" not in caplog.text


def test_internlm2_and_the_dual_encoder_read_such_vocabularies_too(case, tmp_path):
    folder, expected = case
    internlm2 = InternLM2Tokenizer.from_pretrained(
        folder_with(folder, tmp_path / "a", tokenizer_class="InternLM2Tokenizer", legacy=None)
    )
    dual = InternVLDualEncoderTokenizer.from_pretrained(folder_with(folder, tmp_path / "b", legacy=None))
    for row in expected["sentencepiece"]:
        assert internlm2(row["text"], add_special_tokens=False).input_ids == row["ids"], row["text"]
        encoded = dual(row["text"], prefix="", add_special_tokens=False, max_length=10**6).input_ids
        assert encoded == row["ids"], row["text"]


def test_runs_of_spaces_as_the_library_has_them(case):
    folder, _ = case
    assert not SentencePieceModel.from_file(folder / "tokenizer.model").ties
    library = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = load_tokenizer(folder)
    assert type(tokenizer) is LlamaTokenizer and tokenizer._splitter is None
    for count in range(1, 120):
        for text in (" " * count, " " * count + "x", f"a{' ' * count}b{' ' * (count + 3)}\n{' ' * count}"):
            assert tokenizer(text, add_special_tokens=False).input_ids == library.encode(text), text
