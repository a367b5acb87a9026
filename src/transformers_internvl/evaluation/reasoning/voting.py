# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One answer out of several: majority voting, best of N, the better of two protocols.

The papers define no tie and no normalisation for majority voting; lmms-eval's filter takes equal texts and the first
that came. Best of N takes any function that scores answers, a reward model among them (`VisualPRM`).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SAMPLING = {"temperature": 0.6, "top_p": 0.95}


@dataclass(frozen=True)
class Vote:
    """The winner of a vote.

    Attributes:
        answer: the answer.
        votes: how many gave it, or its summed score.
        index: the first response that gave it.
    """

    answer: str
    votes: float
    index: int


def majority_vote(answers: Sequence[str]) -> Vote:
    """The answer that most responses gave, letter for letter; of equally many, the one that came first.

    Args:
        answers: extracted from the responses to one question, and normalised so that equal answers are equal texts.

    Source: EvolvingLMMs-Lab/lmms-eval `lmms_eval/filters/selection.py` `MajorityVoteFilter`.

    Raises:
        ValueError: there is no answer.
    """
    _some(answers)
    answer, votes = Counter(answers).most_common(1)[0]
    return Vote(answer, votes, list(answers).index(answer))


def vote_by_score(answers: Sequence[str], scores: Sequence[float]) -> Vote:
    """The answer with the highest sum of scores over the responses that gave it; of equal sums, the first.

    Raises:
        ValueError: there is no answer, or not one score for each.
    """
    _some(answers, scores)
    sums: dict[str, float] = {}
    for answer, score in zip(answers, scores, strict=True):
        sums[answer] = sums.get(answer, 0.0) + score
    answer = max(sums, key=sums.__getitem__)
    return Vote(answer, sums[answer], list(answers).index(answer))


def best_of_n(answers: Sequence[str], scores: Sequence[float]) -> Vote:
    """The answer with the highest score; of equal scores, the first. The order of VLMEvalKit's `select_best_response`.

    Args:
        answers: the responses to one question.
        scores: of each, by a reward model or any other function.

    Raises:
        ValueError: there is no answer, not one score for each, or a score is not-a-number.
    """
    _some(answers, scores)
    bad = next((number for number, score in enumerate(scores) if score != score), None)
    if bad is not None:
        raise ValueError(f"The score of answer {bad} is not a number; each must be one to choose the best of N.")
    index = max(range(len(answers)), key=scores.__getitem__)
    return Vote(answers[index], scores[index], index)


def best_of_n_settings(n: int, generation: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Arguments of `generate` for each of N responses: the first greedy, unless `generation` samples; others sampled.

    All carry the temperature 0.6 and `top_p` 0.95.

    Args:
        n: the number of responses.
        generation: further arguments, such as `max_new_tokens`.

    Source: VLMEvalKit `vlmeval/vlm/internvl/internvl_chat.py` `generate_v2`.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}.")
    settings = dict(generation or {})
    samples = bool(settings.get("do_sample", False))
    return [{**settings, **SAMPLING, "do_sample": samples or number > 0} for number in range(n)]


def max_of_direct_and_cot(direct: float, cot: float) -> tuple[float, str]:
    """The better of the scores of a whole set with direct answers and with chains of thought, and which it is.

    As the papers of InternVL 2.5 and later report MMMU. Equal scores are `direct`.
    """
    return (cot, "cot") if cot > direct else (direct, "direct")


def score_against_n(
    answers: Sequence[Sequence[str]],
    score: Callable[[Sequence[str]], float | None],
    choose: Callable[[int, Sequence[str]], str],
    numbers: Sequence[int],
) -> dict[int, float | None]:
    """A curve: the score of a set when the first n responses to each question are voted on.

    Args:
        answers: for each question, the answers of its responses, in the order of sampling.
        score: from one answer for each question to the score of the set.
        choose: from the number of a question and its first n answers to one of them.
        numbers: the values of n.

    Raises:
        ValueError: an n below 1, or above the number of answers to a question.
    """
    fewest = min(map(len, answers), default=0)
    bad = [n for n in numbers if not 1 <= n <= fewest]
    if bad:
        raise ValueError(f"`numbers` must be from 1 to {fewest}, the fewest answers to a question, got {bad}.")
    return {n: score([choose(number, given[:n]) for number, given in enumerate(answers)]) for n in numbers}


def _some(answers: Sequence[str], scores: Sequence[float] | None = None) -> None:
    if isinstance(answers, str) or not answers:
        raise ValueError(f"There must be a list of at least one answer to choose from, got {answers!r}.")
    if scores is not None and len(scores) != len(answers):
        raise ValueError(f"There must be one score for each answer, got {len(scores)} for {len(answers)}.")


__all__ = [
    "SAMPLING",
    "Vote",
    "best_of_n",
    "best_of_n_settings",
    "majority_vote",
    "max_of_direct_and_cot",
    "score_against_n",
    "vote_by_score",
]
