# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From what a model wrote to the prediction that is scored."""

from dataclasses import dataclass

from ..benchmarks.asking import Asking
from ..benchmarks.benchmark import Benchmark
from ..prompts.vlmevalkit import asks_as_mpo
from ..prompts.vlmevalkit_sets import has_any, set_type
from ..reasoning import boxed_content, detect_repetition, final_answer, split_thoughts


@dataclass(frozen=True)
class Prediction:
    """What is scored, and what was found on the way.

    Attributes:
        text: the prediction.
        thoughts: what stood between `<think>` and `</think>`; None = nothing did.
        loops: whether the end of the answer repeats itself.
    """

    text: str
    thoughts: str | None = None
    loops: bool = False


def prediction_of(text: str, benchmark: Benchmark, asking: Asking) -> Prediction:
    """The prediction in an answer, by the way in which the question was asked.

    Thoughts are split off in every mode. Of a chain of thought what follows "Final answer:" or "Answer:" is taken, as
    the original code does where it asks in that form (MPO models, original scripts); else the content of the last
    `\\\\boxed{}`. Where there is neither, the whole answer is scored.
    """
    thoughts, answer = split_thoughts(text)
    loops = detect_repetition(text)
    scripts = (asking.prompts or benchmark.prompts) == "scripts"
    name = benchmark.dataset
    if asks_as_mpo(name, asking.style) and not scripts:
        if name is not None and (set_type(name) in ("Y/N", "MCQ") or has_any(name, ("CRPE",))):
            answer = final_answer(answer).strip()
    elif asking.style.cot:
        answer = final_answer(answer).strip() if scripts else boxed_content(answer)
    return Prediction(answer, thoughts or None, loops)


__all__ = ["Prediction", "prediction_of"]
