# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""New tokens begin as the mean, and nothing else moves."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests import llava
from tests.parity.golden import golden_root
from tests.tiny import tiny_model
from transformers_internvl import load_tokenizer, nano_path
from transformers_internvl.conversion.surgery import vocabulary
from transformers_internvl.conversion.surgery.vocabulary import add_tokens, fill_rows


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_qwen3_tied", "nano"])
def test_rows_begin_as_the_mean(name):
    folder = nano_path() if name == "nano" else golden_root() / name
    model = AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer = load_tokenizer(nano_path() if name == "chat_qwen3_tied" else folder)
    known, rows = len(tokenizer), model.get_input_embeddings().weight.shape[0]
    known = min(known, rows)
    before = [w.detach().clone() for w in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)]
    ids = add_tokens(model, tokenizer, ["<one>", "<two>", "<img>"])
    assert list(ids) == ["<one>", "<two>"] and len(tokenizer) == max(ids.values()) + 1
    assert tokenizer.encode("<one>", add_special_tokens=False)[-1] == ids["<one>"]
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    assert model.config.get_text_config().vocab_size == after[0].shape[0] == max(rows, len(tokenizer))
    for was, now in zip(before, after, strict=True):
        assert torch.equal(now[: min(rows, min(ids.values()))], was[: min(rows, min(ids.values()))])
        torch.testing.assert_close(now[list(ids.values())], was[:known].mean(0).expand(2, -1))
    assert (after[0] is after[1]) is model.config.tie_word_embeddings


def test_spare_rows_are_taken_first():
    model = tiny_model()
    was = model.lm_head.weight.detach().clone()
    fill_rows(model, [90, 91], known=90)
    assert model.lm_head.weight.shape[0] == 99
    torch.testing.assert_close(model.lm_head.weight[[90, 91]], was[:90].mean(0).expand(2, -1))
    others = [index for index in range(99) if index not in (90, 91)]
    assert torch.equal(model.lm_head.weight[others], was[others])


def test_the_model_says_the_same():
    model = tiny_model()
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        fill_rows(model, [99, 100], known=99)
        assert torch.equal(model(input_ids=ids).logits[..., :99], before)


def test_what_cannot_be_done_is_refused(tmp_path):
    tokenizer = load_tokenizer(nano_path())
    with pytest.raises(ValueError, match="at least one character"):
        add_tokens(tiny_model(), tokenizer, ["<a>", ""])
    llava.write_folder(tmp_path, "mlp2x_gelu")
    with pytest.raises(ValueError, match="lies behind its vocabulary"):
        fill_rows(AutoModelForImageTextToText.from_pretrained(tmp_path), [40000], 10)


@pytest.mark.parametrize(("ids", "rows"), [([98], 99), ([99], 100), ([97, 100], 101)])
def test_the_vocabulary_grows_from_its_last_row_on(ids, rows):
    model = tiny_model()
    was = model.get_input_embeddings().weight.detach().clone()
    fill_rows(model, ids, known=500)  # a tokenizer that knows more than has rows
    now = model.get_input_embeddings().weight
    assert now.shape[0] == model.lm_head.weight.shape[0] == model.config.text_config.vocab_size == rows
    torch.testing.assert_close(now[ids], was.mean(0).expand(len(ids), -1))
    assert fill_rows(model, [], known=5) is None and model.lm_head.weight.shape[0] == rows


def test_the_mean_is_taken_in_float32():
    """In bfloat16 a sum of many rows stands still: 1 added to 256 is 256."""
    model = tiny_model().bfloat16()
    for weight in (model.get_input_embeddings().weight, model.lm_head.weight):
        weight.detach().fill_(1000.0)[:1] = 1008.0
    fill_rows(model, [98], known=96)
    expected = torch.tensor((1008.0 + 95 * 1000) / 96).bfloat16()
    assert (model.lm_head.weight[98] == expected).all() and (model.get_input_embeddings().weight[98] == expected).all()


def test_new_tokens_in_the_lists_of_files():
    flags = {"special": True}
    content = {"additional_special_tokens": ["<a>"], "extra_special_tokens": {"video_token": "<b>"}}
    vocabulary._into_names(content, {"<new>": 9}, flags)
    assert content == {"additional_special_tokens": ["<a>", "<new>"], "extra_special_tokens": {"video_token": "<b>"}}
    vocabulary._into_names(content, {"<plain>": 10}, {"special": False})
    assert content["additional_special_tokens"] == ["<a>", "<new>"]
    settings = {"added_tokens_decoder": {"1": {"content": "<a>"}}}
    vocabulary._into_config(settings, {"<new>": 9}, flags)
    assert settings == {"added_tokens_decoder": {"1": {"content": "<a>"}, "9": {"content": "<new>", "special": True}}}
    assert set(vocabulary._FILES) == {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    }


def test_added_tokens_are_not_normalized():
    tokenizer = load_tokenizer(nano_path())
    ids = add_tokens(tiny_model(), tokenizer, ["<One>"], special=False)
    token = tokenizer.added_tokens_decoder[ids["<One>"]]
    assert not token.normalized and not token.special
    assert tokenizer.decode([ids["<One>"]], skip_special_tokens=True) == "<One>"
    assert add_tokens(tiny_model(), tokenizer, ["<One>"]) == {}


def test_files_that_take_no_tokens_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary, "load_tokenizer", lambda folder: load_tokenizer(nano_path()))
    with pytest.raises(ValueError, match="take no new tokens: <new> are not found"):
        vocabulary.write_tokens(tmp_path, {"<new>": 5000})
