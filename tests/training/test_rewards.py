# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rewards by hand: what each function gives for right, wrong and unreadable answers, and for rows of another kind."""

import pytest

from transformers_internvl.evaluation.metrics.metric import Scores
from transformers_internvl.training.reinforcement import rewards
from transformers_internvl.training.reinforcement.rewards import (
    REWARDS,
    answer_text,
    box_reward,
    choice_reward,
    correctness_reward,
    format_reward,
    metric_reward,
    number_reward,
    read_rewards,
    thinking_reward,
)


@pytest.mark.parametrize(
    "response, answer",
    [
        ("B", "B"),
        ("<think>C or B?</think> B ", "B"),
        ("<think>C, no, B", ""),  # cut off within its thoughts
        ("So\nFinal answer: B", "B"),
        (r"Hence \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"<think>\boxed{1}</think>The answer is \boxed{2}", "2"),
    ],
)
def test_the_final_answer(response, answer):
    assert answer_text(response) == answer
    assert choice_reward([[{"role": "assistant", "content": response}]], ["B"]) == [float(answer == "B")]


def test_boxes_are_rewarded_by_their_overlap():
    said = [
        "<ref>dog</ref><box>[[100, 100, 500, 500]]</box>",
        "[100, 100, 300, 500]",  # half of it
        "nothing is there",
        "[[600, 600, 700, 700]]",
        "[[0, 0, 10, 10], [20, 20, 30, 30]]",  # of two true boxes the second and a wrong one
        "[[0, 0, 10, 10]]",
    ]
    one, two = "[[100, 100, 500, 500]]", [[20, 20, 30, 30], [50, 50, 60, 60]]
    assert box_reward(said, [one, one, one, one, two, "no box"]) == [1.0, 0.5, 0.0, 0.0, 0.5, None]
    assert box_reward(["[[0, 0, 10, 10], [0, 0, 10, 10]]"], ["[0, 0, 10, 10]"]) == [0.5]  # the other one is too much


def test_choices_by_letter_and_by_text():
    said = ["B", "(B) a cat", "The answer is B", "a cat", "C", "a cat or a dog"]
    assert choice_reward(said, ["B"] * 6) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]  # without options: letters alone
    options = [["a dog", "a cat"]] * 6
    assert choice_reward(said, ["B"] * 6, choices=options) == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert choice_reward(said, ["a cat"] * 6, A=["a dog"] * 6, B=["a cat"] * 6) == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert choice_reward(["B", "B"], ["a bird", None]) == [None, None]


def test_numbers_with_units_and_commas():
    said = ["1,234", "about 1234 cm", "It is 12 + 22 = 34.0", "33", "", "Final answer: 50%"]
    assert number_reward(said, [1234, "1234", 34, "34", 1, 50]) == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert number_reward(["3", "3", "3"], ["three", None, "nan"]) == [None] * 3
    assert number_reward(["1000.5", "1002"], [1000, 1000]) == [1.0, 0.0]  # within 0.1 %


def test_correctness_is_that_of_the_preference_pipeline():
    said, answers = ["Answer: 1/2", "a Cat", "17", "x"], ["0.5", ["a dog", "a cat"], "17.0", None]
    assert correctness_reward(said, answers) == [1.0, 1.0, 1.0, None]
    assert correctness_reward(["104", "104"], ["100", "100"], data_set=["chartqa_train", None]) == [1.0, 0.0]


def test_formats():
    said = [r"So \boxed{3}", "Reasons\nFinal answer: 3", "3", r"\boxed{}", "Final answer: 3\nor not", "Answer:"]
    assert format_reward(said) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    said = ["<think>a</think>b", "<think>a</think>", "<think></think>b", "b", "<think>a</think><think>b</think>c"]
    assert thinking_reward(said) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_metrics_as_rewards(monkeypatch):
    reward = metric_reward("anls")
    assert reward.__name__ == "anls_reward"
    assert reward(["red fox", "red box", "sky"], answer=[["red fox"]] * 3) == pytest.approx([1.0, 1 - 1 / 7, 0.0])
    assert reward(["red fox"], answer=[None]) == [None]
    monkeypatch.setattr(rewards, "score_answers", lambda name, rows: Scores(1.0))
    with pytest.raises(ValueError, match="'anls' scores whole sets"):
        reward(["red fox"], answer=["red fox"])


def test_names_of_rewards():
    assert read_rewards("box, format") == [box_reward, format_reward]
    assert read_rewards(["metric:anls"])[0].__name__ == "anls_reward"
    assert read_rewards("os.path:join")[0].__name__ == "join"
    for name, reason in (
        ("boxes", f"There is no reward 'boxes'; there are {', '.join(REWARDS)}"),
        ("metric:none", "There is no metric 'none'"),
        ("no.such:thing", "cannot be imported"),
        ("os:sep", "is no function"),
    ):
        with pytest.raises(ValueError, match=reason):
            read_rewards(name)
