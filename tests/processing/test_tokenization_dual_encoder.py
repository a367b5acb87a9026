# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The tokenizer of InternVL-14B: sentencepiece's ids, the original rules, nothing cut and nothing read as a token."""

import copy
import json
import pickle
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer

from tests.forked import TRANSFORMERS
from tests.parity.golden import golden_root
from transformers_internvl import InternVLDualEncoderTokenizer

FOLDER = golden_root() / "internvl_14b"
BEGIN, END, PAD = 1, 2, 0
SPELLINGS = st.sampled_from(["</s>", "<s>", "<unk>", "<0x0A>", "▁", "summarize:", "[PAD]"])
TEXT = st.lists(st.one_of(SPELLINGS, st.characters(exclude_categories=["Cs"])), max_size=20).map("".join)
LONG = "picture " * 80


@pytest.fixture(scope="module")
def tokenizer() -> InternVLDualEncoderTokenizer:
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def reference() -> SentencePieceProcessor:
    return SentencePieceProcessor(model_file=str(FOLDER / "tokenizer.model"))


# --- ids -------------------------------------------------------------------------------------------------------------


@given(text=TEXT)
@settings(max_examples=300)
def test_a_text_is_the_prefix_itself_and_the_end_token(tokenizer, reference, text):
    """Whatever it spells: no part of it becomes a special token."""
    whole = text if text.startswith("summarize:") else "summarize:" + text
    assert tokenizer(text, max_length=500).input_ids == [BEGIN, *reference.encode(whole), END]
    bare = tokenizer(text, prefix="", max_length=500).input_ids
    assert bare == [BEGIN, *reference.encode(text), END]
    prompt = tokenizer(text, prefix="English caption:", add_eos_token=False, max_length=500).input_ids
    assert prompt == [BEGIN, *reference.encode("English caption:" + text)]
    assert tokenizer.decode(bare, skip_special_tokens=True) == reference.decode(reference.encode(text))


def test_a_prompt_that_is_left_open_gets_no_prefix(tokenizer, reference):
    expected = [BEGIN, *reference.encode("English caption:")]
    assert tokenizer("English caption:", add_eos_token=False).input_ids == expected
    assert tokenizer("English caption:").input_ids == tokenizer("summarize:English caption:").input_ids


def test_a_prefix_of_the_caller_is_always_put_in_front(tokenizer, reference):
    assert tokenizer("a dog", prefix="a ").input_ids == [BEGIN, *reference.encode("a a dog"), END]
    assert tokenizer("summarize:x", prefix="summarize:").input_ids[1:-1] == reference.encode("summarize:summarize:x")


def test_every_way_to_encode_gives_the_same_ids(tokenizer, reference):
    pieces = reference.encode("summarize:a dog")
    assert tokenizer.encode("a dog") == tokenizer(["a dog"]).input_ids[0] == [BEGIN, *pieces, END]
    assert tokenizer("a dog", add_special_tokens=False).input_ids == pieces
    assert tokenizer.tokenize("a dog") == [reference.id_to_piece(piece) for piece in pieces]
    assert tokenizer("a dog", return_tensors="pt").input_ids.tolist() == [[BEGIN, *pieces, END]]
    assert tokenizer(("a dog", "b")).input_ids == tokenizer(["a dog", "b"]).input_ids


# --- padding and cutting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("padding, width", [(True, None), ("max_length", 80)])
def test_padding_has_id_0_and_no_mask(tokenizer, side, padding, width):
    texts = ["a", "a red dog"]
    plain = tokenizer(texts).input_ids
    batch = tokenizer(texts, padding=padding, padding_side=side, return_tensors="pt")
    assert batch.input_ids.shape[1] == (width or len(plain[1]))
    for ids, mask, row in zip(batch.input_ids, batch.attention_mask, plain, strict=True):
        assert ids[mask.bool()].tolist() == row and not ids[~mask.bool()].any()
        assert mask[-1] == (1 if side == "left" else int(len(row) == len(ids)))


def test_padding_goes_to_the_right_unless_asked(tokenizer):
    ids = tokenizer(["a", "a red dog"], padding=True, return_tensors="pt").input_ids
    assert ids[0, 0] == BEGIN and ids[0, -1] == PAD
    left = InternVLDualEncoderTokenizer.from_pretrained(FOLDER, padding_side="left")
    assert left(["a", "a red dog"], padding=True).input_ids[0][0] == PAD


def test_a_real_token_of_id_0_is_real(tokenizer):
    """`<unk>` and padding share the id: the mask knows them apart, the id does not."""
    batch = tokenizer(["<unk>", "a red dog"], split_special_tokens=False, padding=True, return_tensors="pt")
    real = batch.input_ids[0, batch.attention_mask[0].bool()].tolist()
    assert real.count(0) == 1 and real[-1] == END
    assert tokenizer("<unk>").input_ids.count(0) == 0  # typed by a user, it is five characters


def test_what_is_cut_keeps_its_end_token(tokenizer):
    whole = tokenizer(LONG, max_length=1000).input_ids
    assert tokenizer(LONG, truncation=True).input_ids == [*whole[:79], END]
    assert tokenizer(LONG, truncation=True, max_length=30).input_ids == [*whole[:29], END]
    open_end = tokenizer(LONG, truncation=True, prefix="", add_eos_token=False).input_ids
    assert len(open_end) == 80 and open_end[-1] != END


@pytest.mark.parametrize("options", [{}, {"padding": "max_length", "return_tensors": "pt"}, {"truncation": False}])
def test_long_texts_are_never_cut_in_silence(tokenizer, options):
    count = len(tokenizer(LONG, max_length=1000).input_ids)
    with pytest.raises(ValueError, match=rf"Text 1 has {count} tokens .*at most 80 .*picture.*truncation=True"):
        tokenizer(["a dog", LONG], **options)
    with pytest.raises(ValueError, match=r"Text 0 has \d+ tokens .*at most 12 "):
        tokenizer("a red dog in a house", max_length=12)
    tokenizer("a" * 60)  # 72 tokens or fewer


def test_the_limit_is_eighty_to_the_token(tokenizer):
    room = 80 - len(tokenizer("").input_ids)
    assert len(tokenizer("0" * room).input_ids) == 80
    with pytest.raises(ValueError, match="Text 0 has 81 tokens"):
        tokenizer("0" * (room + 1))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([],), "at least one text"),
        ((["a", 3],), "text 1 is of type int: 3"),
        ((["a", None],), "text 1 is of type NoneType"),
        (([["a"]],), "text 0 is of type list"),
        ((5,), "a list of texts, got int"),
        ((b"a dog",), "a list of texts, got bytes"),
        ((None,), "text"),
        (("a", "b"), "no pairs"),
    ],
)
def test_what_is_no_text(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(*arguments)


def test_word_lists_are_refused(tokenizer):
    with pytest.raises(ValueError, match="no word lists"):
        tokenizer(["a", "dog"], is_split_into_words=True)


def test_a_call_that_fails_leaves_the_tokenizer_as_it_was(tokenizer):
    with pytest.raises(ValueError, match="at most 80"):
        tokenizer(LONG, add_eos_token=False)
    assert tokenizer("a").input_ids[-1] == END


def test_a_folder_without_vocabulary(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text((FOLDER / "tokenizer_config.json").read_text())
    with pytest.raises((ValueError, OSError), match="tokenizer"):
        InternVLDualEncoderTokenizer.from_pretrained(tmp_path)


# --- folders ---------------------------------------------------------------------------------------------------------


def as_released(folder, target):
    """The tokenizer files as the original repository has them: no end token, a padding token that is never used."""
    for name in ("config.json", "tokenizer.model"):
        shutil.copy(folder / name, target / name)
    fields = {"add_eos_token": False, "pad_token": None, "tokenizer_class": "LlamaTokenizer", "padding_side": "left"}
    fields |= {"model_max_length": 2048, "split_special_tokens": False}
    (target / "tokenizer_config.json").write_text(json.dumps(fields))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "[PAD]", "unk_token": "<unk>"}
    (target / "special_tokens_map.json").write_text(json.dumps(names))
    return target


def test_the_rules_hold_whatever_the_files_say(tokenizer, tmp_path):
    loaded = AutoTokenizer.from_pretrained(as_released(FOLDER, tmp_path))
    assert type(loaded) is InternVLDualEncoderTokenizer
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.bos_token_id) == (PAD, END, BEGIN)
    texts = ["a dog </s>", "一只猫 [PAD] <unk>"]
    assert loaded(texts, padding=True).input_ids == tokenizer(texts, padding=True).input_ids
    with pytest.raises(ValueError, match="at most 80"):
        loaded(LONG)
    # Its own id is still its own, and no text.
    assert loaded.convert_tokens_to_ids("[PAD]") == 400
    assert loaded.decode([5, 400], skip_special_tokens=True) == loaded.decode([5])


def test_wishes_at_loading_hold_over_the_rules():
    loaded = AutoTokenizer.from_pretrained(FOLDER, add_eos_token=False, model_max_length=120, padding_side="left")
    assert loaded("a", prefix="").input_ids[-1] != END
    assert loaded.model_max_length == 120 and loaded.padding_side == "left"


@pytest.mark.parametrize("trust_remote_code", [None, False, True])
def test_the_class_is_found_in_both_layouts(tokenizer, tmp_path, trust_remote_code):
    tokenizer.save_pretrained(tmp_path / "alone")  # no config.json beside it
    shutil.copytree(tmp_path / "alone", tmp_path / "whole")
    shutil.copy(FOLDER / "config.json", tmp_path / "whole")
    for folder in (FOLDER, tmp_path / "alone", tmp_path / "whole"):
        options = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
        assert type(AutoTokenizer.from_pretrained(folder, **options)) is InternVLDualEncoderTokenizer


@pytest.mark.parametrize("names", [("tokenizer.model",), ()])
def test_what_is_saved_is_loaded_again(tokenizer, tmp_path, names):
    """With `tokenizer.model`, which is saved along, and without."""
    tokenizer(["a", "b c"], padding="max_length", truncation=True, max_length=40)  # leaves no trace
    for generation in ("first", "second"):
        tokenizer.save_pretrained(tmp_path / generation)
        if not names:
            (tmp_path / generation / "tokenizer.model").unlink(missing_ok=True)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / generation)
    original = AutoTokenizer.from_pretrained(FOLDER)
    texts = ["a dog", "  two  spaces ", "</s> 一只猫\n", ""]
    assert tokenizer.get_vocab() == original.get_vocab()
    assert tokenizer(texts, padding=True).data == original(texts, padding=True).data
    for skip in (False, True):
        ids = original(texts).input_ids
        assert tokenizer.batch_decode(ids, skip_special_tokens=skip) == original.batch_decode(
            ids, skip_special_tokens=skip
        )
    assert (tokenizer.model_max_length, tokenizer.padding_side, tokenizer.legacy) == (80, "right", True)
    written = json.loads((tmp_path / "first" / "tokenizer.json").read_text())
    assert written["padding"] is None and written["truncation"] is None
    assert (tmp_path / "second" / "tokenizer.model").exists() == bool(names)


def test_what_was_changed_is_saved(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    tokenizer.add_eos_token = False
    tokenizer.model_max_length = 100
    tokenizer.add_tokens(["<box>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.add_eos_token is False and again.model_max_length == 100
    assert again.convert_tokens_to_ids("<box>") == 400 and 400 not in again("a <box>").input_ids


def test_without_this_package_the_saved_files_give_the_ids_of_the_whole_text(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    code = """
import sys, json
from transformers import PreTrainedTokenizerFast
tokenizer = PreTrainedTokenizerFast.from_pretrained(sys.argv[1])
print(json.dumps([tokenizer("summarize:a dog").input_ids, tokenizer.pad_token_id, tokenizer.model_max_length]))
assert "transformers_internvl" not in sys.modules
"""
    done = TRANSFORMERS.run(code, tmp_path)
    assert json.loads(done.stdout) == [tokenizer("a dog").input_ids, 0, 80]


def test_tokens_are_torch_tensors_on_request(tokenizer):
    batch = tokenizer(["a", "b"], padding=True, return_tensors="pt")
    assert batch.input_ids.dtype == batch.attention_mask.dtype == torch.int64


def test_it_goes_to_worker_processes(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    assert type(again) is InternVLDualEncoderTokenizer
    assert again(["a </s>"]).data == copy.deepcopy(tokenizer)(["a </s>"]).data == tokenizer(["a </s>"]).data


def test_an_unknown_padding_side_is_refused():
    with pytest.raises(ValueError, match="padding_side.*'middle'"):
        InternVLDualEncoderTokenizer.from_pretrained(FOLDER, padding_side="middle")
