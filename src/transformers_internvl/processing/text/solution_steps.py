# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Solutions step by step, as VisualPRM reads them: every step is a user's turn, and the answer to it is `+` or `-`.

    user       ### Question:                user       {step 2}
               {question}                   assistant  +
                                            ...
               ### Solution Process:
               {step 1}
    assistant  +

Source: arXiv:2503.10291; `tools/reasoning_data_pipeline` of the original repository; the model's `split_response`.
"""

from collections.abc import Sequence

STEP_SEPARATOR = "\n\n"
PLUS, MINUS = "+", "-"

# The system message of VisualPRM's training data.
PRM_SYSTEM_PROMPT = (
    "You are an advanced AI assistant, designed to serve as a process supervision model. In this task, I will provide "
    "a problem statement followed by the first step of the solution process. For each subsequent turn, I will give "
    "you a new step in the solution. Your role is to assess whether the solution process is correct up to the current "
    "step.\n\n"
    "- In the **first round**, I will input the problem and the first step of the solution process.\n"
    "- In **each subsequent round**, I will provide the next step in the solution.\n\n"
    "For each step, you should:\n\n"
    '- Respond with **"+"** if you believe the solution process is correct up to this step.\n'
    '- Respond with **"-"** if you detect any issues or errors in the process up to this step.\n\n'
    "Please note:\n"
    '- Only respond with **"+"** or **"-"**. Do not provide any additional explanations, comments, or '
    "justifications.\n\n"
    "Your task is to verify the accuracy and correctness of each step in the given solution process."
)


def split_response(response: str, separator: str = STEP_SEPARATOR, max_steps: int | None = None) -> list[str]:
    """The steps of a response: what stands between separators, empty texts included.

    Args:
        response: the solution.
        separator: a blank line.
        max_steps: maximum number of steps. With more, groups of equally many steps that follow each other are joined
            again; there may be fewer groups than `max_steps`.

    Raises:
        ValueError: the response is no text, or `max_steps` is below 1.
    """
    if not isinstance(response, str):
        raise ValueError(f"A response is a text, got {response!r:.80}.")
    if max_steps is not None and (not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1):
        raise ValueError(f"`max_steps` is a whole number from 1, or None for any number of steps; got {max_steps!r}.")
    steps = response.split(separator)
    if max_steps is None:
        return steps
    size = -(-len(steps) // max_steps)
    return [separator.join(steps[start : start + size]) for start in range(0, len(steps), size)]


def join_steps(steps: Sequence[str], separator: str = STEP_SEPARATOR) -> str:
    """The response that [`split_response`] splits into these steps."""
    return separator.join(steps)


def step_questions(question: str, steps: Sequence[str]) -> list[str]:
    """The user's turns about a solution: the question and the first step, then step by step.

    Raises:
        ValueError: there is no step.
    """
    if not steps:
        raise ValueError("A solution has at least one step, which may be empty; got none.")
    return [f"### Question:\n{question}\n\n### Solution Process:\n{steps[0]}", *steps[1:]]


__all__ = [
    "MINUS",
    "PLUS",
    "PRM_SYSTEM_PROMPT",
    "STEP_SEPARATOR",
    "join_steps",
    "split_response",
    "step_questions",
]
