# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Vocabularies whose pieces share scores: ids are those of the sentencepiece library, on every tokenizer class."""

import copy
import io
import itertools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer
from transformers import AddedToken

from transformers_internvl.processing.tokenizers import dual_encoder as dual
from transformers_internvl.processing.tokenizers.internlm2 import InternLM2Tokenizer
from transformers_internvl.processing.tokenizers.loading import load_tokenizer
from transformers_internvl.processing.tokenizers.sentencepiece_model import SentencePieceModel

TEXTS = ["", " ", "  ", "1234567", "300 400", "不是不好的中国中人", "aababcabc abcab", "a\n  b", "é😀中", "<0x41>▁a"]
ANY_TEXT = st.text(
    st.one_of(st.sampled_from(" ▁abc123不是好的中国人\n<0xA>é"), st.characters(exclude_categories=["Cs"]))
)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A trained vocabulary with a dummy prefix, in which all pieces of several characters have score 0."""
    words = ["".join(letters) for letters in itertools.product("abc123不是好的中国人", repeat=3)]
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(words[at::7]) for at in range(7)] * 2),
        model_writer=trained,
        model_type="bpe",
        vocab_size=470,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(trained.getvalue())
    for piece in proto.pieces:
        piece.score = 0.0
    path = tmp_path_factory.mktemp("ties") / "tokenizer.model"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture(scope="module")
def library(model_file):
    return sentencepiece.SentencePieceProcessor(model_file=str(model_file))


def folder_of(model_file, path, tokenizer_class):
    path.mkdir()
    (path / "tokenizer.model").write_bytes(model_file.read_bytes())
    config = {"tokenizer_class": tokenizer_class, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


LOADERS = {
    "LlamaTokenizer": load_tokenizer,
    "InternLM2Tokenizer": InternLM2Tokenizer.from_pretrained,
    "InternVLDualEncoderTokenizer": dual.InternVLDualEncoderTokenizer.from_pretrained,
}


@pytest.fixture(scope="module", params=LOADERS)
def loaded(request, model_file, tmp_path_factory):
    """A folder, how to load it, and the tokenizer."""
    folder = folder_of(model_file, tmp_path_factory.mktemp("folder") / "a", request.param)
    load = LOADERS[request.param]
    return folder, load, load(folder)


def ids_of(tokenizer, text):
    options = {"prefix": "", "max_length": 10**6} if isinstance(tokenizer, dual.InternVLDualEncoderTokenizer) else {}
    return tokenizer(text, add_special_tokens=False, **options).input_ids


def test_ties_are_seen(model_file):
    assert SentencePieceModel.from_file(model_file).ties


def test_ranks_alone_would_be_wrong(loaded, library):
    _, _, tokenizer = loaded
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    assert any(backend.encode(text, add_special_tokens=False).ids != library.encode(text) for text in TEXTS)


def test_ids_are_those_of_the_library(loaded, library):
    _, _, tokenizer = loaded
    for text in TEXTS:
        assert ids_of(tokenizer, text) == library.encode(text), text


@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_any_text(loaded, library, text):
    assert ids_of(loaded[2], text) == library.encode(text)


def test_saved_copied_and_pickled_ones_go_on(loaded, library, tmp_path):
    folder, load, tokenizer = loaded
    tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.model").read_bytes() == (folder / "tokenizer.model").read_bytes()
    others = [load(tmp_path / "saved"), copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))]
    for other in others:
        assert [ids_of(other, text) for text in TEXTS] == [library.encode(text) for text in TEXTS]
    text = TEXTS[5]
    assert tokenizer.decode(ids_of(tokenizer, text)).strip() == text


def test_the_model_file_is_saved_even_if_its_folder_is_gone(loaded, library, model_file, tmp_path):
    _, load, tokenizer = loaded
    folder = folder_of(model_file, tmp_path / "gone", type(tokenizer).__name__)
    tokenizer = load(folder)
    (folder / "tokenizer.model").unlink()
    tokenizer.save_pretrained(tmp_path / "saved")
    assert [ids_of(load(tmp_path / "saved"), text) for text in TEXTS] == [library.encode(text) for text in TEXTS]


def test_without_the_model_file_loading_is_refused(loaded, tmp_path):
    _, load, tokenizer = loaded
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(ValueError, match="share scores.*tokenizer.model, which is missing"):
        load(tmp_path)


def test_offsets_padding_truncation_pairs_and_tensors(model_file, library, tmp_path):
    tokenizer = load_tokenizer(folder_of(model_file, tmp_path / "a", "LlamaTokenizer"))
    tokenizer.pad_token = "</s>"
    bos = tokenizer.bos_token_id
    text = TEXTS[6] + TEXTS[8]
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    pieces = [text[start:end] for start, end in encoded.offset_mapping]
    for piece, index in zip(pieces, encoded.input_ids, strict=True):
        if not (known := library.id_to_piece(index)).startswith("<0x"):
            assert piece.replace(" ", "▁") in (known, known.removeprefix("▁"))
    rows = [[bos, *library.encode(entry)] for entry in TEXTS]
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    for row, ids, mask in zip(rows, batch.input_ids, batch.attention_mask, strict=True):
        assert ids[mask.bool()].tolist() == row and len(ids) == max(map(len, rows))
    assert tokenizer(TEXTS, truncation=True, max_length=4).input_ids == [row[:4] for row in rows]
    assert tokenizer(TEXTS[3], TEXTS[4]).input_ids == rows[3] + rows[4]
    assert tokenizer.tokenize(TEXTS[5]) == library.encode(TEXTS[5], out_type=str)


def test_added_tokens_stay_whole_and_the_prefix_follows_them(model_file, library, tmp_path):
    tokenizer = load_tokenizer(folder_of(model_file, tmp_path / "a", "LlamaTokenizer"))
    tokenizer.add_tokens([AddedToken("<loc>", special=True, normalized=False)])
    loc = tokenizer.convert_tokens_to_ids("<loc>")
    expected = [*library.encode(TEXTS[5]), loc, *library.encode(TEXTS[3])]
    assert tokenizer(f"{TEXTS[5]}<loc>{TEXTS[3]}", add_special_tokens=False).input_ids == expected
    plain = tokenizer("a<loc>", add_special_tokens=False, split_special_tokens=True).input_ids
    assert plain == library.encode("a<loc>")


def test_threads_get_their_own_ids(loaded, library):
    _, _, tokenizer = loaded
    texts = [text for text in TEXTS if text] * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: ids_of(tokenizer, text), texts)) == [library.encode(text) for text in texts]
