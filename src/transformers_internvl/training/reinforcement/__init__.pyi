# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .policy_trainer import PolicyTrainer, as_table, askable
from .rewards import (
    REWARDS,
    Reward,
    answer_text,
    box_reward,
    boxes_in,
    choice_reward,
    completion_text,
    correctness_reward,
    format_reward,
    metric_reward,
    number_reward,
    read_rewards,
    thinking_reward,
)

__all__ = [
    "PolicyTrainer",
    "REWARDS",
    "Reward",
    "answer_text",
    "as_table",
    "askable",
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
