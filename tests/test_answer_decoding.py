# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What sees the answer alone: against greedy decoding that is written out here, a forward of the whole row a token."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoTokenizer,
    LogitsProcessor,
    MaxLengthCriteria,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
)

from tests.parity.golden import golden_root
from transformers_internvl.nano import nano_path

NEW = 8
QUESTIONS = ["<image>\nPlease describe the image, in a few words.", "<image>\nHi?"]


@pytest.fixture
def calls(chat_setting, monkeypatch):
    """Prompts and sequences of every `generate`."""
    model, seen = chat_setting[0], []
    generate = model.generate

    def spy(**kwargs):
        sequences = generate(**kwargs)
        seen.append((kwargs, sequences))
        return sequences

    monkeypatch.setattr(model, "generate", spy)
    return seen


@torch.no_grad()
def greedy(model, ids, pixels, change, new=NEW):
    """`new` ids behind one row without padding; `change(answer, scores)` is what a step does to the scores `(V,)`."""
    answer = []
    for _ in range(new):
        row = torch.cat([ids, torch.tensor([answer], dtype=ids.dtype)], dim=1)
        scores = model(input_ids=row, pixel_values=pixels).logits[0, -1].float().clone()
        answer.append(int(change(answer, scores).argmax()))
    return answer


def penalized(answer, scores, penalty=1.8):
    for token in set(answer):
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    return scores


def without_repeated_words(answer, scores):
    scores[answer] = -torch.inf
    return scores


RULES = {
    "repetition_penalty": ({"repetition_penalty": 1.8}, penalized),
    "no_repeat_ngram_size": ({"no_repeat_ngram_size": 1}, without_repeated_words),
}


def options(model, **changes):
    """Greedy, and no end before the last token; a random model may write the id of an image token."""
    fixed = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    whole = {} if model.config.flash_mode is None else {"flash_mode": False}  # a forward compresses no tile
    return fixed | whole | {"suppress_tokens": [model.config.image_token_id]} | changes


def allowed(model, change):
    def step(answer, scores):
        scores[model.config.image_token_id] = -torch.inf
        return change(answer, scores)

    return step


@pytest.mark.parametrize("rule", RULES)
def test_chats_penalize_the_answer_alone(chat_setting, calls, rule):
    model, tokenizer, pixels = chat_setting
    changes, change = RULES[rule]
    change = allowed(model, change)
    model.chat(tokenizer, pixels[:2], QUESTIONS[0], options(model, **changes))
    kwargs, sequences = calls.pop()
    ids = kwargs["input_ids"]
    assert sequences[0, ids.shape[1] :].tolist() == greedy(model, ids, pixels[:2], change)


def test_rows_of_a_batch_are_penalized_as_if_alone(chat_setting, calls):
    model, tokenizer, pixels = chat_setting
    model.batch_chat(tokenizer, pixels[:3], QUESTIONS, options(model, repetition_penalty=1.8), num_patches_list=[2, 1])
    kwargs, sequences = calls.pop()
    length = kwargs["input_ids"].shape[1]
    assert kwargs["attention_mask"].sum(-1).unique().numel() == 2  # one row is padded
    for row, tiles in enumerate((pixels[:2], pixels[2:3])):
        ids = kwargs["input_ids"][row][kwargs["attention_mask"][row] == 1][None]
        expected = greedy(model, ids, tiles, allowed(model, penalized))
        assert sequences[row, length:].tolist() == expected


def test_the_penalty_of_the_prompt_would_have_been_seen(chat_setting, calls):
    """On these prompts: else the tests above could not fail."""
    model, tokenizer, pixels = chat_setting
    model.chat(tokenizer, pixels[:2], QUESTIONS[0], options(model, repetition_penalty=1.8))
    kwargs, sequences = calls.pop()
    prompt = kwargs["input_ids"][0].tolist()

    def prompt_too(answer, scores):
        return penalized([*prompt, *answer], scores)

    expected = greedy(model, kwargs["input_ids"], pixels[:2], allowed(model, prompt_too))
    assert sequences[0, len(prompt) :].tolist() != expected


class WatchingProcessor(LogitsProcessor):
    """Notes the ids that it is called with."""

    def __init__(self):
        self.seen = []

    def __call__(self, input_ids, scores):
        self.seen.append(input_ids.tolist())
        return scores


class WatchingCriterion(StoppingCriteria):
    """The same."""

    def __init__(self):
        self.seen = []

    def __call__(self, input_ids, scores, **kwargs):
        self.seen.append(input_ids.tolist())
        return torch.zeros(len(input_ids), dtype=torch.bool)


@pytest.fixture
def nano():
    model = AutoModel.from_pretrained(golden_root() / "chat_qwen2").eval()
    return model, AutoTokenizer.from_pretrained(golden_root() / "chat_qwen2"), _inputs(model)


def _inputs(model):
    path = golden_root() / "chat_qwen2"
    chat = json.loads((path / "chat.json").read_text())["chats"][1]
    pixels = load_file(path / "inputs.safetensors")["pixel_values"][slice(*chat["request"]["pixel_rows"])]
    ids = torch.tensor(chat["result"]["input_ids"])
    return {"pixel_values": pixels, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.mark.parametrize("beams", [1, 2])
def test_processors_and_criteria_of_the_user_see_the_answer(nano, beams):
    model, _, inputs = nano
    processor, criterion = WatchingProcessor(), WatchingCriterion()
    given = {"logits_processor": [processor], "stopping_criteria": [criterion], "num_beams": beams}
    model.generate(**inputs, **options(model, max_new_tokens=3), **given)
    assert [len(ids[0]) for ids in processor.seen] == [0, 1, 2]
    assert [len(ids[0]) for ids in criterion.seen] == [1, 2, 3]


def test_lengths_count_what_they_say(nano):
    model, _, inputs = nano
    length = inputs["input_ids"].shape[1]
    first = model.generate(**inputs, **options(model))[0, length:].tolist()
    ended = options(model, eos_token_id=first[0])
    assert model.generate(**inputs, **ended).shape[1] == length + 1
    answer = model.generate(**inputs, **ended, min_new_tokens=3)[0, length:].tolist()
    assert len(answer) >= 3 and first[0] not in answer[:3]
    forced = model.generate(**inputs, **options(model, forced_eos_token_id=5))[0, length:].tolist()
    assert len(forced) == NEW and forced[:-1] == first[:-1] and forced[-1] == 5
    assert model.generate(**inputs, **options(model, begin_suppress_tokens=[first[0]]))[0, length] != first[0]
    unset = options(model, max_new_tokens=None, max_length=length + 4)
    assert model.generate(**inputs, **unset).shape[1] == length + 4
    stop = model.generate(**inputs, **options(model), stopping_criteria=[MaxLengthCriteria(2)])
    assert stop.shape[1] == length + 2


def test_a_penalty_that_was_told_what_to_ignore_sees_the_prompt(nano):
    model, _, inputs = nano
    length = inputs["input_ids"].shape[1]
    expected = model.generate(**inputs, **options(model, repetition_penalty=1.8))
    own = RepetitionPenaltyLogitsProcessor(1.8, prompt_ignore_length=length)
    assert torch.equal(model.generate(**inputs, **options(model), logits_processor=[own]), expected)


@pytest.mark.parametrize(
    "how",
    [
        {"prompt_lookup_num_tokens": 2},
        {"assistant_model": None},
        {"prefill_chunk_size": 16},
        {"cache_implementation": "static", "disable_compile": True},
    ],
    ids=lambda how: next(iter(how)),
)
def test_every_way_of_decoding_gives_the_same_answer(nano, how):
    model, _, inputs = nano
    how = {key: model if key == "assistant_model" else value for key, value in how.items()}
    wanted = options(model, repetition_penalty=1.8)
    assert torch.equal(model.generate(**inputs, **wanted, **how), model.generate(**inputs, **wanted))


def test_a_prompt_of_embeddings_is_penalized_alike(nano):
    """Padding in front of it is no part of the answer."""
    model, _, inputs = nano
    pad = 5
    mask = torch.nn.functional.pad(inputs["attention_mask"], (pad, 0))
    with torch.no_grad():
        embeds = model.get_input_embeddings()(torch.nn.functional.pad(inputs["input_ids"], (pad, 0)))
        where = torch.nn.functional.pad(inputs["input_ids"] == model.config.image_token_id, (pad, 0))
        embeds[where] = model.extract_feature(inputs["pixel_values"]).flatten(0, 1)
    wanted = options(model, repetition_penalty=1.8)
    expected = model.generate(**inputs, **wanted)[:, inputs["input_ids"].shape[1] :]
    for one in (model, model.to_canonical()):
        assert torch.equal(one.generate(inputs_embeds=embeds, attention_mask=mask, **wanted), expected)


def test_the_canonical_layout_penalizes_the_prompt_as_upstream_does():
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(nano_path()).eval()
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    wanted = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    answer = model.generate(input_ids=ids, repetition_penalty=1.8, **wanted)[0, 6:].tolist()
    assert answer == greedy(model, ids, None, lambda new, scores: penalized([*ids[0].tolist(), *new], scores), 6)


def test_captions_of_the_dual_encoder_are_penalized_alone():
    path = golden_root() / "internvl_14b"
    model = AutoModel.from_pretrained(path).eval()
    generator = torch.Generator().manual_seed(0)
    side = model.config.vision_config.image_size[0]
    pixels = torch.randn(2, 3, side, side, generator=generator)
    ids = torch.tensor([[1, 40, 41, 42], [0, 0, 1, 43]])  # the second is padded
    wanted = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "repetition_penalty": 1.8}
    together = model.generate(pixels, ids, **wanted)

    @torch.no_grad()
    def next_scores(row, prompt, answer):
        text = torch.tensor([[*prompt, *answer]])
        embeds, mask = model._behind_queries(text, torch.ones_like(text))
        vision = model.vision_model(pixels[row : row + 1]).last_hidden_state
        outputs = model.qllama(inputs_embeds=embeds, attention_mask=mask, vision_hidden_states=vision)
        return outputs.logits[0, -1].float().clone()

    for row, prompt in enumerate(([1, 40, 41, 42], [1, 43])):
        answer = []
        for _ in range(NEW):
            answer.append(int(penalized(answer, next_scores(row, prompt, answer)).argmax()))
        assert together[row].tolist() == answer
