# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reading a `tokenizer.model`, and decoding pieces: what is supported equals sentencepiece, the rest is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, models, processors

from tests.parity.golden import golden_root
from transformers_internvl.processing.tokenizers.sentencepiece_model import (
    SPACE,
    USER_DEFINED,
    SentencePieceModel,
    decode_pieces,
    pipeline,
    template_ends,
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


# --- on the `tokenizers` backend ---

TEXTS = ["", " ", "a", " a", "  a", "a b", "a  b ", "ab好", "A\n", " 好 a", "\n a"]


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
@pytest.mark.parametrize("text", TEXTS)
def test_spaces_before_and_after_the_model(scheme, text):
    """What the model gets of a text, and the text that comes back: spaces are `▁`, and there is one more in front."""
    normalizer, pre_tokenizer, decoder = pipeline(scheme)
    pieces = [piece for piece, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))]
    prefix = SPACE if scheme != "never" and text else ""
    expected = prefix + text.replace(" ", SPACE)
    assert "".join(pieces) == expected and len(pieces) == bool(expected)  # words are not set apart
    as_bytes = [f"<0x{byte:02X}>" for byte in "好\n".encode()]
    shown = [expected, *as_bytes, "▁end"]
    assert decoder.decode(shown) == (text if prefix else expected.replace(SPACE, " ")) + "好\n end"


@pytest.mark.parametrize(
    "scheme, there", [("always", [True, True]), ("first", [True, False]), ("never", [False, False])]
)
def test_where_the_prefix_goes_between_special_tokens(scheme, there):
    normalizer, pre_tokenizer, decoder = pipeline(scheme)
    names = {piece: index for index, piece in enumerate(["<unk>", "▁", "a", "b", "<s>"])}
    backend = Tokenizer(models.BPE(names, [], unk_token="<unk>"))
    backend.normalizer, backend.pre_tokenizer, backend.decoder = normalizer, pre_tokenizer, decoder
    backend.add_special_tokens([AddedToken("<s>", normalized=False, special=True)])
    first, second = (["▁"] * one for one in there)
    assert backend.encode("a<s>b").tokens == [*first, "a", "<s>", *second, "b"]


def test_merges_are_every_split_of_a_piece_the_longer_left_part_first():
    pieces = [
        ("<unk>", 0.0, 2),
        *((text, -float(rank), 1) for rank, text in enumerate(["abc", "bc", "ab", "a", "b", "c"])),
    ]
    pieces += [("x", -9.0, 4), ("ax", -1.0, 1), ("<0x41>", 0.0, 6)]
    model = SentencePieceModel(tuple(pieces), True)
    assert model.merges == [("ab", "c"), ("a", "bc"), ("b", "c"), ("a", "b")]
    assert not model.ties and model.user_defined == {"x": 7} and model.vocab["ax"] == 8


@pytest.mark.parametrize(
    "scores, tied",
    [
        ({"ab": -1.0, "ba": -1.0}, True),
        ({"ab": -1.0, "ba": -2.0}, False),
        ({"aa": -1.0, "aaa": -1.0}, False),  # runs of one character grow from the left either way
        ({"aa": -1.0, "aaa": -1.0, "bb": -1.0}, True),
        ({"ab": -1.0}, False),
        ({"ab": -1.0, "xy": -1.0}, False),  # nothing makes the second
    ],
)
def test_scores_that_several_pieces_share(scores, tied):
    pieces = [("a", -10.0, 1), ("b", -11.0, 1), *((text, score, 1) for text, score in scores.items())]
    assert SentencePieceModel(tuple(pieces), True).ties == tied


def test_the_ends_of_a_template():
    assert template_ends(None) is None
    for single, ends in (("$A", (False, False)), ("<s> $A", (True, False)), ("$A </s>", (False, True))):
        template = processors.TemplateProcessing(single=single, special_tokens=[("<s>", 1), ("</s>", 2)])
        assert template_ends(template) == ends


@pytest.mark.parametrize("strip", [False, True])
def test_one_space_of_the_first_piece_is_the_prefix(strip):
    assert decode_pieces([], strip_prefix=strip) == ""
    assert decode_pieces(["▁▁a", "▁b"], strip_prefix=strip) == (" a b" if strip else "  a b")
    assert decode_pieces(["<0x41>", "▁b", "<0xE5>"], strip_prefix=strip) == "A b\ufffd"
