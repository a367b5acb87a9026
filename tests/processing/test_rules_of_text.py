# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Settings of tokenizers and messages at their bounds, on the object, in the call and in both."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import AddedToken
from transformers import AutoProcessor, AutoTokenizer

from tests.parity.golden import golden_root
from transformers_internvl.processing.content import check_content
from transformers_internvl.processing.processor_dual_encoder import _image_settings
from transformers_internvl.processing.text.messages import choose_template, normalized, split_options
from transformers_internvl.processing.text.untrusted_text import Prompt
from transformers_internvl.processing.tokenizers.leading_prefix import begins_with_unlisted
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

TOKENIZERS = golden_root() / "labels" / "tokenizers"
INTERNVL_14B = golden_root() / "internvl_14b"


def folder_with(name, path, **fields):
    """A folder of the reference data with other fields in tokenizer_config.json."""
    shutil.copytree(TOKENIZERS / name, path)
    file = path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return path


# --- tokenizers ---


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("text", ["a b", " a", "<|user|>\nhi", "find it"])
def test_no_prefix_where_the_folder_says_so(tmp_path, legacy, text):
    """`add_prefix_space: false`: the ids of sentencepiece without its dummy prefix; added tokens stand alone."""
    tokenizer = load_tokenizer(folder_with("phi3", tmp_path / "a", legacy=legacy, add_prefix_space=False))
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString((TOKENIZERS / "phi3" / "tokenizer.model").read_bytes())
    proto.normalizer_spec.add_dummy_prefix = False
    plain = SentencePieceProcessor(model_proto=proto.SerializeToString())
    token, _, rest = text.rpartition("<|user|>\n") if text.startswith("<|user|>") else ("", "", text)
    found = tokenizer(text, add_special_tokens=False).input_ids
    if token or text.startswith("<|user|>"):
        assert found[0] == tokenizer.convert_tokens_to_ids("<|user|>")
        assert tokenizer.convert_ids_to_tokens(found[1])[0] != "▁"
    else:
        assert found == plain.encode(rest)


def test_the_longest_token_at_the_beginning_counts():
    added = [AddedToken("<a>"), AddedToken("<a><b>"), AddedToken("<c>", lstrip=True)]
    assert begins_with_unlisted("<a><b> x", added, ["<a>"]) and not begins_with_unlisted("<a> x", added, ["<a>"])
    assert not begins_with_unlisted("<a><b> x", added, ["<a><b>"])
    assert begins_with_unlisted("  <c>", added, []) and not begins_with_unlisted("  <a>", added, [])
    assert not begins_with_unlisted("", added, []) and not begins_with_unlisted(None, added, [])


@pytest.mark.parametrize("on_object", ["left", "right"])
@pytest.mark.parametrize("in_call", [None, "left", "right"])
def test_the_side_of_padding_of_a_tokenizer(tmp_path, on_object, in_call):
    """With Phi-3's prefix in front of a token, which is padded here, as without, where the backend pads."""
    tokenizer = load_tokenizer(folder_with("phi3", tmp_path / "a", legacy=False, additional_special_tokens=[]))
    tokenizer.padding_side = on_object
    texts = ["<|user|>\nhi", "a b c d e f g h i j k"]
    alone = [tokenizer(text).input_ids for text in texts]
    for given in (texts, [texts[1], "a"]):
        options = {} if in_call is None else {"padding_side": in_call}
        batch = tokenizer(given, padding=True, pad_to_multiple_of=7, **options)
        widths = {len(row) for row in batch.input_ids}
        assert widths == {-(-len(alone[1]) // 7) * 7}
        for text, ids, mask in zip(given, batch.input_ids, batch.attention_mask, strict=True):
            bare = tokenizer(text).input_ids
            room = [0] * (len(ids) - len(bare))
            right = (in_call or on_object) == "right"
            assert mask == ([1] * len(bare) + room if right else room + [1] * len(bare))
            assert (ids[: len(bare)] if right else ids[len(room) :]) == bare
    assert tokenizer.padding_side == on_object


def test_parts_of_texts_that_are_too_long_name_their_text(tmp_path):
    tokenizer = load_tokenizer(folder_with("phi3", tmp_path / "a", legacy=False, additional_special_tokens=[]))
    texts = ["<|user|>\na b c d e f g", "x", "<|user|>\nhello you there"]
    cut = tokenizer(texts, truncation=True, max_length=4, return_overflowing_tokens=True)
    counts = [cut["overflow_to_sample_mapping"].count(number) for number in range(3)]
    assert sum(counts) == len(cut.input_ids) and counts[1] == 1 and counts[0] > 1 and counts[2] > 1


def test_special_tokens_in_the_text_of_internlm2():
    """`split_special_tokens` of the call wins over the tokenizer's, in text with a spare piece, too."""
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZERS / "internlm2", trust_remote_code=False)
    tokenizer = tokenizer if hasattr(tokenizer, "spare_pieces") else load_tokenizer(TOKENIZERS / "internlm2")
    piece = next(iter(tokenizer.spare_pieces))
    index = tokenizer.spare_pieces[piece]
    text = f"a {piece} b"
    for on_object in (False, True):
        tokenizer.split_special_tokens = on_object
        for in_call in (None, False, True):
            options = {} if in_call is None else {"split_special_tokens": in_call}
            split = on_object if in_call is None else in_call
            assert (index in tokenizer(text, **options).input_ids) is not split, (on_object, in_call)
    tokenizer.split_special_tokens = False
    pair = tokenizer("a", "b").input_ids
    assert pair.count(tokenizer.bos_token_id) == 1 and pair[0] == tokenizer.bos_token_id


# --- InternVL-14B ---


@pytest.fixture(scope="module")
def dual():
    return AutoProcessor.from_pretrained(INTERNVL_14B)


def test_the_longest_text_is_allowed(dual):
    tokenizer = dual.tokenizer
    count = len(tokenizer("a red panda").input_ids)
    assert tokenizer("a red panda", max_length=count).input_ids
    with pytest.raises(ValueError, match=f"Text 1 has {count} tokens .* at most {count - 1} are allowed"):
        tokenizer(["", "a red panda"], max_length=count - 1)
    tokenizer = load_like(tokenizer, model_max_length=count)
    assert tokenizer("a red panda").input_ids
    assert tokenizer("a red panda", max_length=count).input_ids
    tokenizer.model_max_length = count - 1
    with pytest.raises(ValueError, match=f"at most {count - 1} are allowed"):
        tokenizer("a red panda")
    assert tokenizer("a red panda", max_length=count).input_ids, "the call wins"


def load_like(tokenizer, **options):
    return type(tokenizer).from_pretrained(INTERNVL_14B, **options)


@pytest.mark.parametrize("on_object", [True, False])
def test_the_end_token_of_object_and_call(dual, on_object):
    tokenizer = load_like(dual.tokenizer, add_eos_token=on_object)
    end = tokenizer.eos_token_id
    whole, bare = (dual.tokenizer("a dog", prefix=prefix).input_ids[:-1] for prefix in ("summarize:", ""))
    for in_call in (None, True, False):
        ends = on_object if in_call is None else in_call
        found = tokenizer("a dog", add_eos_token=in_call).input_ids
        assert found == ([*whole, end] if ends else bare), "a prompt has no prefix"
        assert tokenizer("a dog", prefix="summarize:", add_eos_token=in_call).input_ids == whole + [end] * ends
    assert tokenizer.add_eos_token is on_object


def test_prompts_of_captions(dual):
    pictures = [Image.new("RGB", (50, 60)), Image.new("RGB", (60, 50))]
    usual = dual(images=pictures, task="caption")
    bare = dual.tokenizer("English caption:", prefix="", add_eos_token=False).input_ids
    assert usual["input_ids"] == [bare, bare]
    two = dual(images=pictures, text=("a", "a longer prompt"), task="caption")
    assert [mask[0] for mask in two["attention_mask"]] == [0, 1], "padded on the left"
    right = dual(images=pictures, text=["a", "a longer prompt"], task="caption", padding_side="right")
    assert [mask[0] for mask in right["attention_mask"]] == [1, 1]
    ended = dual(images=pictures, text="a", task="caption", add_eos_token=True, prefix="b ")
    ids = dual.tokenizer("a", prefix="b ", add_eos_token=True).input_ids
    assert ended["input_ids"] == [ids, ids] and ids[-1] == dual.tokenizer.eos_token_id
    for prompts in (("a",), ["a", "b", "c"]):
        with pytest.raises(ValueError, match=f"got {len(prompts)} prompts for 2 images"):
            dual(images=pictures, text=prompts, task="caption")


def test_pixels_of_fractions_and_of_both_settings(dual):
    levels = np.random.default_rng(0).integers(0, 256, (42, 42, 3), dtype=np.uint8)
    levels[0, 0], levels[0, 1] = 0, 255
    expected = dual(images=levels, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(dual(images=levels / 255, return_tensors="np")["pixel_values"], expected)
    plain = {"do_normalize": False, "return_tensors": "np"}
    doubled = dual(images=levels, rescale_factor=2 / 255, **plain)["pixel_values"]
    np.testing.assert_allclose(doubled, levels.transpose(2, 0, 1)[None] * (2 / 255), rtol=1e-6)
    left = dual(images=levels, do_rescale=False, **plain)["pixel_values"]
    np.testing.assert_array_equal(left, levels.transpose(2, 0, 1)[None])


def test_the_size_of_an_image_without_processor_files(tmp_path):
    for side, size in ((56, (56, 56)), ([56, 84], (56, 84)), ([84, 56], (84, 56))):
        (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"image_size": side}}))
        settings = _image_settings(tmp_path)
        assert settings["size"] == {"shortest_edge": 56}
        assert settings["crop_size"] == {"height": size[0], "width": size[1]}
    (tmp_path / "config.json").write_text(json.dumps({"force_image_size": 28, "vision_config": {"image_size": 56}}))
    assert _image_settings(tmp_path)["size"] == {"shortest_edge": 28}


# --- messages ---


@pytest.mark.parametrize(
    ("detail", "limit"), [(None, None), ("auto", None), ("high", None), ("low", 1), ("medium", ...), (0, ...)]
)
def test_the_detail_of_an_image(detail, limit):
    item = {"type": "image_url", "image_url": {"url": "u", **({} if detail is None else {"detail": detail})}}
    chat = [{"role": "user", "content": [{"type": "text", "text": "q", "image_url": None}, item]}]
    if limit is ...:
        with pytest.raises(ValueError, match="is auto, low"):
            normalized(chat)
        return
    ((message,),), batched = normalized(chat)
    tiles = {} if limit is None else {"max_patches": limit}
    assert message["content"] == [{"type": "text", "text": "q"}, {"type": "image", "url": "u", **tiles}]
    assert not batched and chat[0]["content"][1] is item and "image_url" in item, "the caller's messages stay"


def test_variables_and_options_are_told_apart():
    template = "{{ messages }}{{ image_labels }}{{ style }}"
    given = {"style": None, "image_labels": False, "max_patches": 0, "min_patches": None}
    assert split_options(template, given) == ({"style": None, "image_labels": False}, {"max_patches": 0})
    for name in ("enable_thinking", "image_labels"):
        for value in (True, False):
            with pytest.raises(ValueError, match=f"does not know `{name}`"):
                split_options("{{ messages }}", {name: value})
        assert split_options("{{ messages }}", {name: None}) == ({}, {})
    assert choose_template({"default": "1", "b": "2"}, None) == "1" and choose_template({"a": "1"}, "x") == "x"


def test_what_a_message_may_hold():
    template = "{{ messages }}"

    def check(*messages, **options):
        check_content([list(messages)], template, **options)

    answer = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    check(answer)
    for other in ({**answer, "role": "user"}, {**answer, "role": "tool"}):
        with pytest.raises(ValueError, match=r"Message 0 \((user|tool)\): unknown key 'reasoning_content'"):
            check(other)
    with pytest.raises(ValueError, match="unknown key 'reasoning_content'"):
        check(answer, thoughts=False)
    for empty in (None, "", [], {}):
        check({"role": "user", "content": "q", "other": empty})
    for value in (0, False, 0.0):
        with pytest.raises(ValueError, match="Message 1 .user.: unknown key 'other'"):
            check({"role": "user", "content": "q"}, {"role": "user", "content": "q", "other": value})
    with pytest.raises(ValueError, match=r"Conversation 1, message 1 \(user\), item 1: an item of type 'text' needs"):
        check_content(
            [[], [{"role": "user", "content": "q"}, {"role": "user", "content": ["x", {"type": "text"}]}]], template
        )
    picture = Image.new("RGB", (9, 9))
    check({"role": "user", "content": [{"type": "image", "image": picture, "url": picture}]})
    check({"role": "user", "content": [{"type": "image", "url": "p.png", "path": "p" + ".png"}]})
    with pytest.raises(ValueError, match="image and url both say which image it is"):
        check({"role": "user", "content": [{"type": "image", "image": picture, "url": picture.copy()}]})


def test_a_template_writes_its_first_token():
    assert Prompt("<s>x", data=[(3, 4)]).begins_with("<s>") and Prompt("<s>x").begins_with("<s>")
    assert not Prompt("<s>x", data=[(0, 4)]).begins_with("<s>") and not Prompt("<s>x", data=[(2, 4)]).begins_with(
        "<s>"
    )
    assert not Prompt("x<s>").begins_with("<s>") and not Prompt("<s>").begins_with(None)
