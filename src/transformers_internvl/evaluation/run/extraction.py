# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""From what a model wrote to the prediction that is scored."""

from dataclasses import dataclass

from ...processing.chat_templates import split_thinking
from ..benchmarks.asking import Asking
from ..benchmarks.benchmark import Benchmark
from ..metrics.extraction import boxed_content, final_answer
from ..reasoning import answer_for_scorer, detect_repetition


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

    Thoughts are split off in every mode. Of a chain of thought what follows "Final answer:" or "Answer:" is taken,
    where the original code asks in that form (MPO models, original scripts); else the content of the last box. The
    whole answer is scored where there is neither.
    """
    thoughts, answer = split_thinking(text) if "<think>" in text or "</think>" in text else ("", text)
    loops = bool(detect_repetition(text))
    if asking.prompts_for(benchmark) == "scripts" and benchmark.script is not None:
        answer = final_answer(answer).strip() if asking.style.cot else answer
    elif benchmark.dataset is not None:
        answer = answer_for_scorer(answer, benchmark.dataset, asking.style, use_postprocess=True)
    elif asking.style.cot:
        answer = boxed_content(answer)
    return Prediction(answer, thoughts or None, loops)


__all__ = ["Prediction", "prediction_of"]
