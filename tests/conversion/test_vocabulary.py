# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""New tokens begin as the mean, and nothing else moves."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests import llava
from tests.parity.golden import golden_root
from tests.tiny import tiny_model
from transformers_internvl import load_tokenizer, nano_path
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
