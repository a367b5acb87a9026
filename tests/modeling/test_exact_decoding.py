# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Decoding at its bounds: lengths at which something begins to be refused, ids without embeddings, what sees what."""

import pytest
import torch
from transformers import (
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    LogitsProcessor,
    LogitsProcessorList,
    MaxLengthCriteria,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteria,
    SuppressTokensAtBeginLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
)

from tests.tiny import tiny_batch, tiny_config, tiny_model
from transformers_internvl.modeling.pretrained.answer_decoding import AnswerCriteria, AnswerProcessors
from transformers_internvl.modeling.pretrained.generation import HidesImageTokens, embed_known, has_no_embedding
from transformers_internvl.modeling.pretrained.upstream import _short_enough

PROMPT = 20
IDS = torch.full((1, PROMPT), 5)
GREEDY = {"do_sample": False, "eos_token_id": None, "suppress_tokens": [1]}


def growing(limit: int):
    """A model whose rotary base grows with every token beyond the limit."""
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    text = {"model_type": "internlm2", "max_position_embeddings": limit, "rope_parameters": rope}
    return tiny_model(text={**text, "num_hidden_layers": 1})


def stepping(limit: int):
    """A model with long factors beyond the limit."""
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 2.5, 3.0]}
    text = {"model_type": "phi3", "original_max_position_embeddings": limit, "num_hidden_layers": 1}
    text["rope_parameters"] = {**rope, "rope_theta": 10000.0, "original_max_position_embeddings": limit}
    return tiny_model(text=text)


@pytest.mark.parametrize("make", [growing, stepping])
def test_prompts_that_may_be_split(make):
    make(PROMPT)._refuse_chunks(5, IDS, {})  # as long as the limit
    beyond = make(PROMPT - 1)
    for chunk in (PROMPT, PROMPT + 1):  # one chunk is none
        beyond._refuse_chunks(chunk, IDS, {})
    for chunk in (1, PROMPT - 1):
        with pytest.raises(ValueError, match=f"beyond {PROMPT - 1} positions.*prompt of {PROMPT}"):
            beyond._refuse_chunks(chunk, IDS, {})
    tiny_model()._refuse_chunks(1, IDS, {})


def test_embeddings_are_not_split():
    model, embeds = tiny_model(), torch.zeros(1, PROMPT, 32)
    model._refuse_chunks(PROMPT, IDS, {"inputs_embeds": embeds})
    for chunk, ids in ((PROMPT - 1, IDS), (PROMPT, IDS[:, :0]), (PROMPT + 5, IDS[:, 1:])):
        with pytest.raises(ValueError, match=rf"comes as `inputs_embeds` \(1, {PROMPT}, 32\)"):
            model._refuse_chunks(chunk, ids, {"inputs_embeds": embeds})


@pytest.mark.parametrize(
    ("make", "limit", "new", "taken"),
    [
        (growing, PROMPT + 4, 4, True),  # the longest answer ends at the limit
        (growing, PROMPT + 4, 5, False),
        (growing, PROMPT - 1, 2, False),
        (stepping, PROMPT + 4, 4, True),
        (stepping, PROMPT + 4, 5, False),
        (stepping, PROMPT, 2, False),  # the prompt has short factors, the answer long ones
        (stepping, PROMPT - 1, 2, True),  # long ones throughout
    ],
)
def test_answers_that_may_be_drafted(make, limit, new, taken):
    model = make(limit)
    options = {**GREEDY, "max_new_tokens": new, "prompt_lookup_num_tokens": 2}
    if taken:
        drafted = model.generate(input_ids=IDS, **options)
        assert torch.equal(drafted, model.generate(input_ids=IDS, **{**options, "prompt_lookup_num_tokens": None}))
    else:
        with pytest.raises(ValueError, match=f"beyond {limit} positions.*keep prompt and `max_new_tokens` within"):
            model.generate(input_ids=IDS, **options)


@pytest.mark.parametrize(("max_length", "kept"), [(26, 5), (25, 4), (23, 2), (22, 1), (21, 0), (20, 0)])
def test_drafts_end_a_token_before_the_longest_answer(max_length, kept):
    drafts = torch.arange(PROMPT + 5)[None]
    scores = torch.arange(5.0)[None, :, None].expand(1, 5, 7)

    def draft(input_ids, *args, **kwargs):
        assert args == ("a",) and kwargs == {"b": 1}
        return drafts, scores

    ids, found = _short_enough(draft, max_length, IDS, "a", b=1)
    assert torch.equal(ids, drafts[:, : PROMPT + kept]) and torch.equal(found, scores[:, :kept])
    ids, found = _short_enough(lambda input_ids: (drafts, None), max_length, IDS)
    assert torch.equal(ids, drafts[:, : PROMPT + kept]) and found is None


# --- ids without embeddings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "without"), [(None, False), (98, False), (99, True), (100, True)])
def test_the_first_id_behind_the_vocabulary_has_no_embedding(token, without):
    config = tiny_config(image_token_id=token)
    assert has_no_embedding(config) is without
    table = torch.nn.Embedding(99, 3)
    if without:
        found = embed_known(table, torch.tensor([[5, token, 7]]), config)
        assert torch.equal(found, table(torch.tensor([[5, 0, 7]])))  # `<unk>`
        seen = []

        class Spy(LogitsProcessor):
            def __call__(self, input_ids, scores):
                seen.append(input_ids.tolist())
                return scores + 1

        hidden = HidesImageTokens(LogitsProcessorList([Spy()]), config)
        assert hidden(torch.tensor([[5, token, 7]]), torch.zeros(1, 99)).unique().tolist() == [1.0]
        assert seen == [[[5, 0, 7]]]


def test_what_a_processor_adds_is_no_input():
    model, batch = tiny_model(), tiny_batch([1])
    options = {**GREEDY, "max_new_tokens": 2}
    expected = model.generate(**batch, **options)
    names = ("num_patches", "grids", "video_metadata", "mm_token_type_ids", "assistant_masks")
    assert torch.equal(
        model.generate(**batch, **dict.fromkeys((*names, "text_replacement_offsets"), [1]), **options), expected
    )
    text = {"input_ids": IDS, **options}
    images = dict.fromkeys(("pixel_values", "image_flags", "mm_encoder_outputs"))
    assert torch.equal(model.generate(**text, **images), model.generate(**text))


# --- what sees the answer alone --------------------------------------------------------------------------------------

COUNTING = [
    ExponentialDecayLengthPenalty,
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinLengthLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
    SuppressTokensAtBeginLogitsProcessor,
    UnbatchedClassifierFreeGuidanceLogitsProcessor,
]


def spy(base: type, seen: list):
    """An object of a class that only says which ids it is given."""

    def call(self, input_ids, scores):
        seen.append(input_ids.tolist())
        return scores

    return type("Spy", (base,), {"__init__": lambda self: None, "__call__": call})()


@pytest.mark.parametrize("base", [*COUNTING, RepetitionPenaltyLogitsProcessor, NoRepeatNGramLogitsProcessor])
def test_processors_that_count_see_the_prompt(base):
    whole, answer = [[1, 2, 3, 4, 5]], [[4, 5]]
    for given in (False, True):  # the user's own never see it, but for those that were told how long it is
        seen: list = []
        processor = spy(base, seen)
        AnswerProcessors([processor], [processor] if given else [], 3)(torch.tensor(whole), torch.zeros(1, 9))
        assert seen == [whole if base in COUNTING and not given else answer]


def test_a_penalty_that_knows_the_prompt_is_left_alone():
    for ignored, given, expected in ((3, True, 3), (3, False, None), (None, True, None)):
        penalty = RepetitionPenaltyLogitsProcessor(2.0, prompt_ignore_length=ignored)
        processors = AnswerProcessors([penalty], [penalty] if given else [], 3)
        assert penalty.prompt_ignore_length == expected
        scores = processors(torch.tensor([[1, 2, 3, 4, 5]]), torch.ones(1, 9))
        assert scores.tolist() == [[1, 1, 1, 1, 0.5, 0.5, 1, 1, 1]]


class Ends(StoppingCriteria):
    """Rows whose ids hold one."""

    def __init__(self, token: int):
        self.token = token

    def __call__(self, input_ids, scores, **kwargs):
        return (input_ids == self.token).any(dim=-1)


def test_criteria_see_the_answer_and_any_of_them_ends_it():
    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 5, 6], [1, 2, 7, 7]])
    criteria = AnswerCriteria([Ends(4), Ends(6), Ends(1)], [], 2)
    assert criteria(ids, None).tolist() == [True, True, False]
    for length, done in ((4, True), (5, False)):  # of `generate`: prompt and answer
        assert AnswerCriteria([MaxLengthCriteria(length)], [], 2)(ids, None).tolist() == [done] * 3
    for length, done in ((2, True), (3, False)):  # of the user: the answer
        mine = MaxLengthCriteria(length, max_position_embeddings=50)
        criteria = AnswerCriteria([mine, Ends(1)], [mine], 2)
        assert criteria(ids, None).tolist() == [done] * 3
        assert criteria[0].max_length == length + 2 and criteria[0].max_position_embeddings == 50

    class Mine(MaxLengthCriteria):
        """One of the user's that only looks like it."""

    mine = Mine(4)
    assert AnswerCriteria([mine], [mine], 2)[0] is mine
