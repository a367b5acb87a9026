# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""TRL's `GRPOTrainer` for chat models: GSPO as InternVL3.5's scripts have it, and GRPO.

    questions = Questions(read_sets("questions.jsonl"), check=askable(processor))
    arguments = GRPOConfig("out", **rollouts(recipe, "gspo"), ...)
    trainer = PolicyTrainer(model, [choice_reward], arguments, train_dataset=as_table(questions, processor),
                            processing_class=processor)
    trainer.train()

TRL samples the answers, by transformers or by a vLLM server (`use_vllm`), calls the rewards, and computes ratios and
loss. With `loss_type="grpo"` and `importance_sampling_level="sequence"` that loss and its gradient are those of
[`GSPOLoss`], which a test compares. Advantages are those of [`group_advantages`]: TRL adds 1e-4 to a deviation, the
original code 1e-6.

This module needs TRL, as the extra `reinforcement` brings it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import datasets
import torch
from trl import GRPOTrainer

from ...evaluation.run.local import breaks_lines
from ...processing.text.placeholders import IMAGE
from ..data.questions import Question, Questions, prompt_of, refuse_few
from ..trainers.gspo import group_advantages
from ..trainers.saving import SavesModels
from .rewards import REWARDS, Reward


class PolicyTrainer(SavesModels, GRPOTrainer):
    """`GRPOTrainer` with the advantages of the original code, and checkpoints as this package writes them.

    The advantages are computed where `scale_rewards="group"` (the default) and rewards are added up; with any other
    setting they are TRL's. A question none of whose answers could be rewarded teaches nothing.

    Of each epoch TRL leaves out the questions that do not fill a rollout.

    Raises:
        ValueError: there are fewer questions than are asked at once.
    """

    _rewards: torch.Tensor | None = None  # of all processes, (answers, functions)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if hasattr(self.train_dataset, "__len__"):
            refuse_few(len(self.train_dataset), self.args.generation_batch_size // self.num_generations)

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        *others, images, of_tools = super()._generate(prompts)
        # TRL has None for a prompt without images beside others with some, which image processors do not know.
        return *others, images and [each or [] for each in images], of_tools

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        exact = self.scale_rewards == "group" and self.multi_objective_aggregation == "sum_then_normalize"
        if exact and self._rewards is not None:
            own = len(output["advantages"])
            first = self.accelerator.process_index * own
            output["advantages"] = self._advantages(self._rewards)[first : first + own]
        return output

    def _advantages(self, rewards: torch.Tensor) -> torch.Tensor:
        """Of the answers `(A,)`, from the rewards `(A, functions)`; 0 where no function has rewarded an answer."""
        count = self.num_generations if self.model.training else self.num_generations_eval
        unknown = rewards.isnan().all(dim=1)  # (A,)
        totals = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        groups = torch.arange(len(totals), device=totals.device) // count
        advantages = torch.zeros_like(totals)
        known = ~unknown
        if known.any():
            advantages[known] = group_advantages(totals[known], groups[known])
        alone = torch.bincount(groups[known], minlength=int(groups.max()) + 1)[groups] < 2
        return advantages.masked_fill(alone, 0.0)


def as_table(questions: Questions, processor: Any) -> datasets.Dataset:
    """Questions as the table that TRL takes: `prompt`, `images`, `answer` and the rows' further fields.

    Images are decoded when a row is read.

    Args:
        questions: as [`askable`] has checked them.
        processor: whose chat template is used.
    """
    names = sorted({name for question in questions.questions for name in question.fields})
    table = datasets.Dataset.from_dict({"row": list(range(len(questions)))})
    return table.with_transform(partial(_columns, questions=questions, names=names, breaks=breaks_lines(processor)))


def _columns(batch: dict[str, list[int]], questions: Questions, names: list[str], breaks: bool) -> dict[str, Any]:
    rows = [questions[row] for row in batch["row"]]
    columns: dict[str, list[Any]] = {
        "prompt": [prompt_of(row, breaks) for row in rows],
        "images": [list(row.images) for row in rows],
        "answer": [row.answer for row in rows],
    }
    return {**columns, **{name: [row.fields.get(name) for row in rows] for name in names}}


def askable(processor: Any, rewards: list[Reward]) -> Callable[[Question], str | None]:
    """A check of [`Questions`]: why a question cannot be asked by TRL, or its answers not rewarded; None if they can.

    Args:
        processor: of the model.
        rewards: the functions. What functions of your own need of an answer is not checked.
    """
    own = [*REWARDS.values()]
    places = (IMAGE, processor.image_token)
    taken = {"prompt", "images", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"}

    def check(question: Question) -> str | None:
        texts = [item["text"] for message in question.messages for item in message["content"] if "text" in item]
        for place in places:
            if any(place in text for text in texts):
                return f"a text has {place!r}, which TRL takes for the place of an image: write it in another way"
        if other := taken & question.fields.keys():
            return f"`{other.pop()}` is the name of an argument of rewards: rename that field"
        if any(reward not in own for reward in rewards):
            return None
        columns = {name: [value] for name, value in {**question.fields, "answer": question.answer}.items()}
        if all(reward(completions=["none"], **columns)[0] is None for reward in rewards):
            names = ", ".join(reward.__name__ for reward in rewards)
            return f"none of {names} knows what to do with the answer {question.answer!r:.80}"
        return None

    return check


__all__ = ["PolicyTrainer", "as_table", "askable"]
