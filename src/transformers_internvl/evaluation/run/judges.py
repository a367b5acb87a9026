# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a language model that judges answers is asked, and how its reply is read: one row of `JUDGES` a metric.

The fixed texts are the benchmarks' own, in `judge_prompts.json`, with their source.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..metrics import Row
from ..metrics.mathvista import prefetch
from ..metrics.yes_no import yes_or_no_vlmevalkit

_TEMPERATURES = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Of the official code's attempts to get a reply that it can read."""


@dataclass(frozen=True)
class Judge:
    """How the answers of a benchmark are judged.

    Attributes:
        prompt: from an answered question to the text that the judge is sent.
        read: from the judge's reply to the columns that the metric reads; None where the reply cannot be read.
        unread: the columns where no reply could be read, as the official code has them.
        columns: that `prompt` needs besides `prediction`.
        decided: whether a rule decides the answer, so that the judge is not asked.
        temperatures: of the first attempt and of those that follow a reply that cannot be read.
        max_tokens: of a reply; None = as many as the judge's server allows.
        system_message: None = none.
        source: of prompt and settings, in open-compass/VLMEvalKit.
    """

    prompt: Callable[[Row], str]
    read: Callable[[str], dict[str, Any] | None]
    unread: Mapping[str, Any]
    columns: tuple[str, ...]
    source: str
    decided: Callable[[Row], bool] = lambda row: False
    temperatures: tuple[float, ...] = _TEMPERATURES
    max_tokens: int | None = None
    system_message: str | None = None


@cache
def _text(name: str) -> str:
    return "\n".join(json.loads(files(__package__).joinpath("judge_prompts.json").read_bytes())[name])


def _mathvista_prompt(row: Row) -> str:
    """`respone` and the missing line break are the official prompt's."""
    return f"{_text('mathvista')}{row['question']}\nModel respone: {row['prediction']}Extracted answer:"


def _mathvista_extraction(reply: str) -> dict[str, Any] | None:
    return {"extraction": reply.strip()} if reply.strip() else None


def _mmvet_prompt(row: Row) -> str:
    answer = str(row["answer"]).replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    return f"{_text('mmvet')}\n" + " | ".join([row["question"], answer, row["prediction"], ""])


def _mmvet_grade(reply: str) -> dict[str, Any] | None:
    grade = _number(reply)
    return {"score": grade} if grade is not None and 0 <= grade <= 1 else None


def _llavabench_prompt(row: Row) -> str:
    answers = (row["gpt4_ans"], row["prediction"])
    told = [f"[Assistant {n}]\n{text}\n\n[End of Assistant {n}]\n\n" for n, text in enumerate(answers, start=1)]
    rule = f"[System]\n{_text('llavabench')}\n\n"
    return f"[Context]\n{row['caption']}\n\n[Question]\n{row['question']}\n\n{''.join(told)}{rule}"


def _llavabench_grades(reply: str) -> dict[str, Any] | None:
    """The two numbers of the first line: of GPT-4's answer and of the model's."""
    grades = [_number(word) for word in reply.split("\n")[0].replace(",", " ").split(" ")]
    if len(grades) != 2 or grades[0] is None or grades[1] is None:
        return None
    return {"gpt4_score": grades[0], "score": grades[1]}


def _yes_no_prompt(row: Row) -> str:
    """The question mark is added to questions that have one, too, as the official code does."""
    return f"{_text('yes_no')}Question: {row['question']}?\nAnswer: {row['prediction']}\nYour output: "


def _yes_no_reading(reply: str) -> dict[str, Any] | None:
    found = yes_or_no_vlmevalkit(reply)
    return None if found == "Unknown" else {"extraction": found}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# Metric -> its judge.
JUDGES: dict[str, Judge] = {
    "mathvista_vlmevalkit": Judge(
        _mathvista_prompt,
        _mathvista_extraction,
        unread={"extraction": ""},
        columns=("question",),
        source="utils/mathvista.py",
        decided=lambda row: bool(prefetch(row, row["prediction"])),
        max_tokens=128,
    ),
    "mmvet": Judge(
        _mmvet_prompt,
        _mmvet_grade,
        unread={"score": 0.0},
        columns=("question", "answer"),
        source="utils/mmvet.py",
        max_tokens=3,
    ),
    "llavabench": Judge(
        _llavabench_prompt,
        _llavabench_grades,
        unread={"gpt4_score": -1.0, "score": -1.0},
        columns=("question", "caption", "gpt4_ans"),
        source="utils/llavabench.py",
        temperatures=(0.2,),
        system_message="You are a helpful and precise assistant for checking the quality of the answer.",
    ),
    "hallusionbench": Judge(
        _yes_no_prompt,
        _yes_no_reading,
        unread={"extraction": "Unknown"},
        columns=("question",),
        source="utils/yorn.py",
        decided=lambda row: yes_or_no_vlmevalkit(row["prediction"]) != "Unknown",
    ),
}

__all__ = ["JUDGES", "Judge"]
