# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rewards of answers, as functions with TRL's signature, by the rules of the metrics of `evaluation`.

    box_reward(completions=["<box>[[100, 100, 500, 500]]</box>"], answer=["[100, 100, 500, 500]"])     # [1.0]

`completions` are texts, or lists with one message; every other argument is a column of the data, one value for each
completion. A reward is None where the row has no answer of its kind, so that several functions share mixed data.

What is compared is the final answer: behind thoughts, in the last `\\boxed{}`, or behind `Final answer:`.
"""

import importlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from ...evaluation.metrics.choices import build_choices, can_infer
from ...evaluation.metrics.correctness import LETTERS, check_answer, math_score, modes_of, multi_choice_score
from ...evaluation.metrics.extraction import boxed_content, final_answer, split_thoughts
from ...evaluation.metrics.grounding import Box, intersection_over_union
from ...evaluation.metrics.table import METRICS, score_answers

Reward = Callable[..., list[float | None]]

_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_BOX = re.compile(r"\[\s*" + r"\s*,\s*".join([f"({_NUMBER})"] * 4) + r"\s*\]")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")  # the comma of 1,000
_MARKED = re.compile(r"(?:Final answer:|Answer:)\s*\S[^\n]*\s*$", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\{\s*[^\s}]")


def completion_text(completion: Any) -> str:
    """The text of a completion: of the message, where it is a list with one."""
    return completion if isinstance(completion, str) else completion[0].get("content") or ""


def answer_text(response: str) -> str:
    """The final answer in a response; empty where it never leaves its thoughts."""
    _, said = split_thoughts(response)
    boxed = boxed_content(said)
    return (boxed if boxed != said else final_answer(said)).strip()


def boxes_in(value: Any) -> list[Box]:
    """The boxes `[x1, y1, x2, y2]` of a text, or of a list of numbers or of lists of them."""
    return [tuple(map(float, found)) for found in _BOX.findall(value if isinstance(value, str) else str(value))]  # type: ignore[misc]


def box_reward(completions: Sequence[Any], answer: Sequence[Any], **columns: Any) -> list[float | None]:
    """Intersection over union of the boxes, from 0 to 1; of several, of the best pairs, by the larger number of boxes.

    Args:
        completions: the answers.
        answer: boxes as a text or as numbers, in the coordinates that the model writes (InternVL: 0 to 1000).
        columns: not read.
    """
    return [
        _overlap(boxes_in(answer_text(completion_text(completion))), right) if (right := boxes_in(known)) else None
        for completion, known in zip(completions, answer, strict=True)
    ]


def _overlap(found: list[Box], right: list[Box]) -> float:
    pairs = sorted(
        ((intersection_over_union(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(right)), reverse=True
    )
    used_found: set[int] = set()
    used_right: set[int] = set()
    total = 0.0
    for overlap, i, j in pairs:
        if i not in used_found and j not in used_right:
            used_found.add(i)
            used_right.add(j)
            total += overlap
    return total / max(len(found), len(right))


def choice_reward(completions: Sequence[Any], answer: Sequence[Any], **columns: Any) -> list[float | None]:
    """1 where the chosen option is the right one, else 0.

    Args:
        completions: the answers.
        answer: the letter of the right option, or its text where the row has options.
        columns: `choices`, the options as a list or by letter; or their texts in columns `A`, `B`, ... Without options
            the answer must be a letter, and so must the prediction be: `B`, `(B)`, `B. text`.
    """
    rewards: list[float | None] = []
    for number, (completion, known) in enumerate(zip(completions, answer, strict=True)):
        choices = _choices({name: column[number] for name, column in _columns(columns, len(completions)).items()})
        right = str(known).strip() if known is not None else ""
        letters = [letter for letter, text in choices.items() if right in (letter, str(text).strip())]
        said = answer_text(completion_text(completion))
        if choices:
            rewards.append(float(can_infer(said, choices) == letters[0]) if letters else None)
        elif len(right) == 1 and right.upper() in LETTERS:
            rewards.append(float(multi_choice_score(said, right)))
        else:
            rewards.append(None)
    return rewards


def _choices(row: dict[str, Any]) -> dict[str, Any]:
    choices = row.get("choices")
    if isinstance(choices, dict):
        return choices
    if isinstance(choices, (list, tuple)):
        return dict(zip(LETTERS, choices, strict=False))
    found = build_choices(row)
    return found if len(found) > 1 else {}


def _columns(columns: dict[str, Any], count: int) -> dict[str, Any]:
    """Those of the arguments that are columns of the data."""
    return {name: values for name, values in columns.items() if isinstance(values, list) and len(values) == count}


def number_reward(completions: Sequence[Any], answer: Sequence[Any], **columns: Any) -> list[float | None]:
    """1 where the last number of the final answer is the right one within 0.1 %, without units; else 0.

    Args:
        completions: the answers.
        answer: a number, or a text that is one.
        columns: not read.
    """
    rewards: list[float | None] = []
    for completion, known in zip(completions, answer, strict=True):
        right = _GROUPED.sub("", str(known).strip()) if known is not None else ""
        if not _is_number(right):
            rewards.append(None)
            continue
        said = _GROUPED.sub("", answer_text(completion_text(completion)))
        found = re.findall(_NUMBER, said)
        rewards.append(float(math_score(said, right) or bool(found and math_score(found[-1], right))))
    return rewards


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def correctness_reward(completions: Sequence[Any], answer: Sequence[Any], **columns: Any) -> list[float | None]:
    """1 where the final answer is correct as MPO's data pipeline decides, by text, letter, number or formula; else 0.

    Args:
        completions: the answers.
        answer: the right one, or a list of accepted ones.
        columns: `data_set`, a name by which the modes of comparison are chosen (`modes_of`).

    Raises:
        ImportError: `math-verify` is missing (extra `evaluation`).
    """
    names = columns.get("data_set") or [None] * len(completions)
    rewards: list[float | None] = []
    for completion, known, name in zip(completions, answer, names, strict=True):
        listed = known if isinstance(known, (list, tuple)) else [known]
        accepted = [str(text) for text in listed if text is not None]
        said, modes = answer_text(completion_text(completion)), modes_of(str(name or ""))
        rewards.append(float(any(check_answer(said, right, modes) for right in accepted)) if accepted else None)
    return rewards


def format_reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
    r"""1 where a response marks its answer, in a `\boxed{}` or behind `Final answer:` in its last line; else 0."""
    said = [split_thoughts(completion_text(completion))[1] for completion in completions]
    return [float(bool(_BOXED.search(text) or _MARKED.search(text))) for text in said]


def thinking_reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """1 where a response is `<think>`, thoughts, `</think>` and an answer, each once; else 0."""
    rewards: list[float | None] = []
    for completion in completions:
        text = completion_text(completion).strip()
        once = text.startswith("<think>") and text.count("<think>") == text.count("</think>") == 1
        thoughts, said = split_thoughts(text)
        rewards.append(float(once and bool(thoughts) and bool(said)))
    return rewards


def metric_reward(name: str) -> Reward:
    """The reward of a metric of `METRICS` that scores every answer: its score, from 0 to 1.

    Args:
        name: of the metric. Its columns are those of the data.

    Raises:
        ValueError: there is no such metric; when called, one that scores whole sets alone.
    """
    if name not in METRICS:
        raise ValueError(f"There is no metric {name!r}; there are {', '.join(sorted(METRICS))}.")
    needed = METRICS[name].columns

    def reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        given = _columns(columns, len(completions))
        rewards: list[float | None] = []
        for number, completion in enumerate(completions):
            row = {column: values[number] for column, values in given.items() if values[number] is not None}
            if any(column not in row for column in needed):
                rewards.append(None)
                continue
            scores = score_answers(name, [{**row, "prediction": answer_text(completion_text(completion))}])
            if not scores.samples:
                raise ValueError(f"Metric {name!r} scores whole sets, and no single answer: choose another one.")
            rewards.append(scores.samples[0])
        return rewards

    reward.__name__ = f"{name}_reward"
    return reward


REWARDS: dict[str, Reward] = {
    "box": box_reward,
    "choice": choice_reward,
    "correctness": correctness_reward,
    "format": format_reward,
    "number": number_reward,
    "thinking": thinking_reward,
}
"""Name, as `internvl train --reward` takes it -> the function."""


def read_rewards(names: str | Sequence[str]) -> list[Reward]:
    """The functions of names.

    Args:
        names: separated by commas, or a list. A name of `REWARDS`, `metric:NAME` of `evaluation.metrics.METRICS`, or
            `module:function` of your own code, which is imported.

    Raises:
        ValueError: there is no such reward.
    """
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    return [_read_reward(name) for name in names if name]


def _read_reward(name: str) -> Reward:
    if name in REWARDS:
        return REWARDS[name]
    module, _, function = name.partition(":")
    if module == "metric":
        return metric_reward(function)
    if not function:
        raise ValueError(
            f"There is no reward {name!r}; there are {', '.join(REWARDS)}, `metric:NAME` of the metrics, and "
            "`module:function` of your own."
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"Reward {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"Reward {name!r} is no function, but {found!r:.80}.")
    return found


__all__ = [
    "REWARDS",
    "Reward",
    "answer_text",
    "box_reward",
    "boxes_in",
    "choice_reward",
    "completion_text",
    "correctness_reward",
    "format_reward",
    "metric_reward",
    "number_reward",
    "read_rewards",
    "thinking_reward",
]
