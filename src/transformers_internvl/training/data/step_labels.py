# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Solutions with a score for every step become conversations from which VisualPRM learns (arXiv:2503.10291).

The score of a step is the share of continuations from there that end in the right answer (Monte Carlo). A step is
answered by `+` if its score is above a threshold, else by `-`.

Source: `tools/reasoning_data_pipeline/visualprm_data_pipeline_postprocess.py` of the original repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ...processing.text.placeholders import IMAGE
from ...processing.text.solution_steps import MINUS, PLUS, PRM_SYSTEM_PROMPT, join_steps, step_questions
from .rows import StepsRow

ScoredSteps = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class StepLabels:
    """How scores become answers.

    Attributes:
        threshold: a step is right whose score is above it, in [0, 1).
        early_stop: leave out the steps behind the first wrong one.
        whole: judge the response as one step, by the score of its last step (an outcome reward model).

    Raises:
        ValueError: a threshold outside [0, 1), under which all steps would have one label.
    """

    threshold: float = 0.0
    early_stop: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"The threshold of steps is a share in [0, 1), got {self.threshold}.")

    def turns_of(self, row: StepsRow) -> list[dict[str, str]]:
        """The conversation of a row. One image without a mark gets it in front of the question, where scores
        are made with it, too."""
        marked = row.images and IMAGE not in row.question
        return self.turns(f"{IMAGE}\n{row.question}" if marked else row.question, row.steps, row.response)

    def turns(self, question: str, steps: ScoredSteps, response: str | None = None) -> list[dict[str, str]]:
        """The conversation, in the original form of training data.

        Args:
            question: about the image.
            steps: texts and scores in [0, 1], in order.
            response: the whole solution, where it is more than its joined steps; read with `whole` only.

        Raises:
            ValueError: there is no step.
        """
        texts = [text for text, _ in steps]
        answers = [PLUS if score > self.threshold else MINUS for _, score in steps]
        if self.whole:
            texts, answers = [join_steps(texts) if response is None else response], answers[-1:]
        questions = step_questions(question, texts)
        turns = [{"from": "system", "value": PRM_SYSTEM_PROMPT}]
        for text, answer in zip(questions, answers, strict=True):
            turns += [{"from": "human", "value": text}, {"from": "gpt", "value": answer}]
            if self.early_stop and answer == MINUS:
                break
        return turns


__all__ = ["ScoredSteps", "StepLabels"]
