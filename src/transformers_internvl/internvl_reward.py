# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`InternVLRewardModel`: VisualPRM, a chat model that says how good the steps of a solution are (arXiv:2503.10291).

    model = AutoModel.from_pretrained("OpenGVLab/VisualPRM-8B", dtype=torch.bfloat16).cuda()
    scores = model.score_steps("What is the sum of the angles?", image, response)
    ranked = model.select_best_response(tokenizer, question, responses, pixel_values, return_scores=True)

It has the weights of a chat model and no head for values. `config.json` names the class in `architectures`, by which
the Auto classes find it. What it computes is in `evaluation/step_scores.py`, which scores with any chat model.

Source: `InternVLRewardModel` in `modeling_internvl_chat.py` of VisualPRM-8B.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoProcessor

from .evaluation.step_scores import ALIASES, StepScorer, StepScores, read_tiles
from .internvl_chat import InternVLChatModel
from .processing.text.solution_steps import STEP_SEPARATOR, join_steps, split_response

ScoredStep = dict[str, Any]


class InternVLRewardModel(InternVLChatModel):
    """A process reward model in the original format: an [`InternVLChatModel`] with `score_steps` and
    `select_best_response`."""

    def score_steps(
        self,
        question: str,
        images: Any,
        response: str | Sequence[str],
        *,
        processor: Any = None,
        mode: str = "soft_v2",
        max_steps: int | None = None,
        early_stop: bool = False,
        batch_size: int = 8,
    ) -> Any:
        """Scores of the steps of a response, and its overall score.

        Args:
            question: `<image>` marks the place of an image; without any mark one image goes in front.
            images: an image, a list of them (PIL images, arrays, paths or URLs), or None.
            response: a solution whose steps are separated by blank lines; or several, which are scored together.
            processor: the checkpoint's. None: the one beside the weights.
            mode, max_steps, early_stop: see [`StepScorer.score`].
            batch_size: maximum number of prompts that run together.

        Returns:
            [`StepScores`], or a list of them for several responses.

        Raises:
            ValueError: as [`StepScorer`] and its `score`.
            OSError: there is no processor beside the weights.
        """
        processor = self._own_processor() if processor is None else processor
        pixel_values, tiles = read_tiles(processor, images)
        scorer = StepScorer(self, processor, batch_size=batch_size)
        responses = [response] if isinstance(response, str) else response
        options = {"mode": mode, "max_steps": max_steps, "early_stop": early_stop}
        scores = scorer.score(question, responses, pixel_values, tiles, **options)
        return scores[0] if isinstance(response, str) else scores

    def _own_processor(self) -> Any:
        known = self.__dict__.get("_processor")
        if known is None:
            known = self.__dict__["_processor"] = AutoProcessor.from_pretrained(self.name_or_path)
        return known

    # --- the original calling surface --------------------------------------------------------------------------------

    @staticmethod
    def split_response(response: str, sep: str = STEP_SEPARATOR, max_steps: int | None = None) -> list[str]:
        """The steps of a response; see [`processing.text.split_response`]."""
        return split_response(response, sep, max_steps)

    @staticmethod
    def join_steps(steps: Sequence[str], sep: str = STEP_SEPARATOR) -> str:
        """The response of these steps."""
        return join_steps(steps, sep)

    def generate_steps_with_soft_score(self, *args: Any, **kwargs: Any) -> list[ScoredStep]:
        """Steps with P(+), as the released method gives them: one pass over all steps.

        Args:
            tokenizer, question, response, pixel_values, num_patches_list, max_steps: as of `select_best_response`,
                for one response.
            orm: take the response as one step.
        """
        return self._steps_with_scores("soft_v2", *args, **kwargs)

    def generate_steps_with_soft_score_v2(self, *args: Any, **kwargs: Any) -> list[ScoredStep]:
        """The same; the name of the method in copies of the code."""
        return self._steps_with_scores("soft_v2", *args, **kwargs)

    def generate_steps_with_hard_score(self, *args: Any, **kwargs: Any) -> list[ScoredStep]:
        """What was asked about every step, with the number of the generated answer. As in the original code, the
        first one has the question in front. `early_stop`: none behind the first bad step."""
        return self._steps_with_scores("hard", *args, **kwargs)

    def _steps_with_scores(
        self,
        mode: str,
        tokenizer: Any,
        question: str,
        response: str,
        pixel_values: torch.Tensor | None,
        num_patches_list: Sequence[int] | None = None,
        max_steps: int | None = None,
        early_stop: bool = False,
        orm: bool = False,
        verbose: bool = False,
    ) -> list[ScoredStep]:
        if orm and mode == "hard":
            raise ValueError("`orm=True` is for soft scores: a whole response is scored by `version='orm_soft'`.")
        (scores,) = StepScorer(self, tokenizer).score(
            question,
            [response],
            pixel_values,
            num_patches_list,
            **_options("orm" if orm else mode, max_steps, early_stop),
        )
        texts = scores.steps if mode == "soft_v2" and not orm else scores.turns
        return [{"step": text, "score": score} for text, score in zip(texts, scores.scores, strict=True)]

    def generate_overall_score(self, steps_with_score: Sequence[ScoredStep], version: str = "hard") -> float:
        """The sum of the scores for version `hard`, else their mean."""
        scores = [step["score"] for step in steps_with_score]
        return sum(scores) if version == "hard" else sum(scores) / len(scores)

    def select_best_response(
        self,
        tokenizer: Any,
        question: str,
        response_list: Sequence[str],
        pixel_values: torch.Tensor | None,
        num_patches_list: Sequence[int] | None = None,
        max_steps: int | None = None,
        early_stop: bool = False,
        verbose: bool = False,
        version: str = "soft_v2",
        gather_func: None = None,
        return_scores: bool = False,
        batch_size: int = 8,
    ) -> list[str] | list[tuple[str, float]]:
        """Best of N: the responses, best first; those with equal scores keep their order.

        Args:
            tokenizer: the checkpoint's.
            question: see `score_steps`.
            response_list: solutions to choose from.
            pixel_values: `(T, 3, height, width)`, the tiles of every image one after the other; None for text alone.
            num_patches_list: tiles of every image; None: all tiles are one image.
            max_steps: maximum number of steps of a response; without effect in version `orm_soft`, which takes a
                response as one step.
            early_stop: no answers behind the first bad step; in version `hard`, without effect in others.
            verbose, gather_func: accepted for the original signature; have no effect.
            version: `soft_v2`, `soft`, `orm_soft` (or `orm`) or `hard`, see `evaluation.step_scores.MODES`.
            return_scores: return pairs of response and overall score.
            batch_size: maximum number of prompts that run together.

        Raises:
            ValueError: as [`StepScorer`] and its `score`.
        """
        scorer = StepScorer(self, tokenizer, batch_size=batch_size)
        options = _options(version, max_steps, early_stop)
        ranked: list[StepScores] = scorer.rank(question, response_list, pixel_values, num_patches_list, **options)
        return [(one.response, one.overall) if return_scores else one.response for one in ranked]  # type: ignore


def _options(version: str, max_steps: int | None, early_stop: bool) -> dict[str, Any]:
    """The options of a version, without those that the original code takes and does not look at in it."""
    mode = ALIASES.get(version, version)
    return {
        "mode": mode,
        "max_steps": None if mode == "orm" else max_steps,
        "early_stop": early_stop and mode == "hard",
    }


__all__ = ["InternVLRewardModel"]
