# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reading a `tokenizer.model`, and decoding pieces: what is supported equals sentencepiece, the rest is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from tests.parity.golden import golden_root
from transformers_internvl.processing.tokenizers.sentencepiece_model import (
    USER_DEFINED,
    SentencePieceModel,
    decode_pieces,
)

MODEL = golden_root() / "internlm2_tokenizer" / "internlm2" / "tokenizer.model"
NO_PREFIX = golden_root() / "internlm2_tokenizer" / "internlm2_nodummy" / "tokenizer.model"


def proto_of(path):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(path.read_bytes())
    return proto


def test_reads_pieces_and_prefix():
    model = SentencePieceModel.from_file(MODEL)
    proto = proto_of(MODEL)
    assert [piece for piece, _, _ in model.pieces] == [piece.piece for piece in proto.pieces]
    assert model.vocab["<s>"] == 1 and len(model.vocab) == len(proto.pieces)
    assert model.add_dummy_prefix and not SentencePieceModel.from_file(NO_PREFIX).add_dummy_prefix
    assert set(model.user_defined) == {piece.piece for piece in proto.pieces if piece.type == USER_DEFINED}


def test_merges_make_normal_pieces_of_normal_pieces_best_first():
    model = SentencePieceModel.from_file(MODEL)
    scores = {piece: score for piece, score, _ in model.pieces}
    made = [left + right for left, right in model.merges]
    assert made == sorted(made, key=lambda piece: -scores[piece])
    special = {piece for piece, _, kind in model.pieces if kind != 1}
    assert not special & {part for pair in model.merges for part in pair} and not special & set(made)


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda proto: setattr(proto.trainer_spec, "model_type", 1), "other than BPE"),
        (lambda proto: setattr(proto.trainer_spec, "byte_fallback", False), "no byte fallback"),
        (lambda proto: setattr(proto.trainer_spec, "treat_whitespace_as_suffix", True), "whitespace_as_suffix"),
        (lambda proto: setattr(proto.normalizer_spec, "remove_extra_whitespaces", True), "remove_extra_whitespaces"),
        (lambda proto: setattr(proto.normalizer_spec, "precompiled_charsmap", b"x"), "character map"),
        (lambda proto: setattr(proto.pieces[5], "type", 5), "unused pieces"),
    ],
)
def test_what_would_give_other_ids_is_refused(change, reason, tmp_path):
    proto = proto_of(MODEL)
    change(proto)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=reason):
        SentencePieceModel.from_file(path)


BYTES = st.sampled_from([0x00, 0x41, 0x80, 0x9F, 0xA0, 0xBD, 0xC0, 0xC3, 0xE4, 0xED, 0xF0, 0xF4, 0xFF])


@given(pieces=st.lists(st.one_of(BYTES.map(lambda byte: f"<0x{byte:02X}>"), st.sampled_from(["▁", "▁s", "re", "好"]))))
@settings(max_examples=300)
@pytest.mark.parametrize("path", [MODEL, NO_PREFIX], ids=["prefix", "no prefix"])
def test_pieces_decode_as_in_sentencepiece(path, pieces):
    strip = SentencePieceModel.from_file(path).add_dummy_prefix
    assert decode_pieces(pieces, strip_prefix=strip) == SentencePieceProcessor(model_file=str(path)).decode(pieces)
