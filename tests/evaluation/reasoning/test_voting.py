# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Voting, best of N and repetition, by hand."""

import pytest

from transformers_internvl.evaluation.metrics.correctness import parse_answer
from transformers_internvl.evaluation.prompts import asking_style
from transformers_internvl.evaluation.reasoning import (
    INSTRUCTIONS,
    answer_for_scorer,
    best_of_n,
    best_of_n_settings,
    detect_repetition,
    majority_vote,
    max_of_direct_and_cot,
    repeated_ngram_ratio,
    score_against_n,
    vote_by_score,
)


def test_the_first_of_equally_many_wins():
    vote = majority_vote(["B", "A", "A", "B"])
    assert (vote.answer, vote.votes, vote.index) == ("B", 2, 0)


def test_scores_add_up_by_answer_and_decide_alone_for_best_of_n():
    answers, scores = ["A", "B", "B"], [0.5, 0.3, 0.4]
    assert best_of_n(answers, scores).answer == "A"
    vote = vote_by_score(answers, scores)
    assert vote.answer == "B" and vote.votes == pytest.approx(0.7) and vote.index == 1
    assert best_of_n(["x", "y"], [1.0, 1.0]).index == 0


@pytest.mark.parametrize(
    "call, reason",
    [
        (lambda: majority_vote([]), "at least one answer"),
        (lambda: majority_vote("AB"), "a list of at least one answer"),
        (lambda: best_of_n(["a"], [1.0, 2.0]), "got 2 for 1"),
        (lambda: best_of_n(["a", "b"], [1.0, float("nan")]), "score of answer 1 is not a number"),
        (lambda: best_of_n_settings(0), "at least 1, got 0"),
        (lambda: score_against_n([["A"], ["B", "C"]], len, lambda number, given: given[0], [2]), "from 1 to 1"),
    ],
)
def test_what_is_wrong_is_said(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


def test_the_first_of_n_is_greedy():
    settings = best_of_n_settings(3, {"max_new_tokens": 9})
    assert [one["do_sample"] for one in settings] == [False, True, True]
    assert all((one["temperature"], one["top_p"], one["max_new_tokens"]) == (0.6, 0.95, 9) for one in settings)
    assert best_of_n_settings(1, {"do_sample": True})[0]["do_sample"]


def test_the_better_protocol_counts():
    assert max_of_direct_and_cot(60.0, 70.1) == (70.1, "cot")
    assert max_of_direct_and_cot(60.0, 60.0) == (60.0, "direct")


def test_a_curve_against_n():
    answers = [["A", "B", "B"], ["A", "A", "B"]]
    right = ["B", "A"]

    def score(chosen):
        return sum(one == other for one, other in zip(chosen, right, strict=True)) / len(right)

    curve = score_against_n(answers, score, lambda number, given: majority_vote(given).answer, [1, 3])
    assert curve == {1: 0.5, 3: 1.0}


def test_loops_at_the_end_are_found():
    assert detect_repetition("Wait. " * 1000) and not detect_repetition("Wait. " * 10)
    words = " ".join(f"step {number} of the long but honest work" for number in range(400))
    assert not detect_repetition(words)
    assert repeated_ngram_ratio("a b a b", 2) == pytest.approx(1 / 3)
    assert repeated_ngram_ratio("a", 2) == 0


def test_what_is_asked_for_is_what_is_read():
    responses = {
        "en": "Look.\nThink.\nFinal answer: B",
        "zh": "看。\n想。\n答案: B",
        "en_v2": "Look and think.\nAnswer: \\boxed{B}",
        "zh_v2": "先看图，再想一想，然后回答这个问题。\n答案：\\boxed{B}",
        "en_r1": "<think>Look at it carefully.</think>\n\\boxed{B}",
        "zh_r1": "<think>Look at it carefully.</think>\n\\boxed{B}",
    }
    assert responses.keys() == INSTRUCTIONS.keys()
    for version, response in responses.items():
        assert "{question}" in INSTRUCTIONS[version]
        assert parse_answer(response, version)[1] == "B"


def test_the_answer_that_the_scorer_gets():
    style = asking_style("InternVL2_5-8B", "cot")
    assert answer_for_scorer("So \\boxed{B}", "MMStar", style, use_postprocess=True) == "B"
    assert answer_for_scorer("So \\boxed{B}", "MMStar", style) == "So \\boxed{B}"
    assert answer_for_scorer("So\nFinal answer: B", "MMStar", asking_style("InternVL2_5-8B-MPO")) == "B"
    assert (
        answer_for_scorer("[[100, 200, 300, 400]]", "ScreenSpot_Mobile", asking_style("InternVL3-8B"))
        == "x=0.2, y=0.3"
    )
