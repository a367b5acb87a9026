# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores of answers by a reward model (VisualPRM), for best of N."""

from collections.abc import Sequence
from typing import Any

import torch

from ..step_scores import StepScorer
from .local import prepared_images
from .task import Task


class RewardModel:
    """Scores the answers to the questions of a task by their steps, as [`best_by`] takes it.

    Args:
        model, processor: of the reward model.
        task: whose questions are answered.
        mode: see [`StepScorer.score`].
    """

    def __init__(self, model: Any, processor: Any, task: Task, *, mode: str = "soft_v2"):
        self.scorer, self.processor, self.task, self.mode = StepScorer(model, processor), processor, task, mode

    def __call__(self, position: int, answers: Sequence[str]) -> list[float]:
        """One score for each answer, which was given to the question at this position."""
        if not answers:
            return []
        asked = self.task.asked(position)
        made = [
            self.processor.image_processor(
                image,
                crop_to_patches=True,
                min_patches=1,
                max_patches=rule.max_tiles,
                use_thumbnail=rule.use_thumbnail,
                return_tensors="pt",
            )["pixel_values"]
            for image, rule in zip(prepared_images(asked), asked.request.images, strict=True)
        ]
        tiles = [pixels.reshape(-1, *pixels.shape[-3:]) for pixels in made]  # (tiles of an image, 3, side, side)
        pixel_values = torch.cat(tiles) if tiles else None
        counts = None if asked.request.counts == "none" else [len(pixels) for pixels in tiles]
        found = self.scorer.score(asked.request.question, list(answers), pixel_values, counts, mode=self.mode)
        return [one.overall for one in found]


__all__ = ["RewardModel"]
