# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .checkpoints import (
    DATA_STATE,
    PREFIX_CHECKPOINT_DIR,
    TRAINER_STATE_NAME,
    check_checkpoint,
    has_optimizer,
    is_complete,
    last_checkpoint,
)
from .data_trainer import DataTrainer
from .evaluation import EvaluatesData
from .gspo import PAPER_CLIP, RELEASED_CLIP, GSPOLoss, GSPOTerms, answer_log_probs, group_advantages
from .mpo import MPOLoss, MPOTerms, RunningMean, join_pairs, pair_log_probs
from .mpo_trainer import MPOTrainer, PairCollator, reference_log_probs
from .reference import ReferenceTrainer, evaluating
from .trainer import InternVLTrainer, label_count, weight_of
from .vico import ConsistencyTrainer, RatioWindow, RouterTrainer, answer_logits, divergences, tiles_of_images

__all__ = [
    "ConsistencyTrainer",
    "DATA_STATE",
    "DataTrainer",
    "EvaluatesData",
    "GSPOLoss",
    "GSPOTerms",
    "InternVLTrainer",
    "MPOLoss",
    "MPOTerms",
    "MPOTrainer",
    "PAPER_CLIP",
    "PREFIX_CHECKPOINT_DIR",
    "PairCollator",
    "RELEASED_CLIP",
    "RatioWindow",
    "ReferenceTrainer",
    "RouterTrainer",
    "RunningMean",
    "TRAINER_STATE_NAME",
    "answer_log_probs",
    "answer_logits",
    "check_checkpoint",
    "divergences",
    "evaluating",
    "group_advantages",
    "has_optimizer",
    "is_complete",
    "join_pairs",
    "label_count",
    "last_checkpoint",
    "pair_log_probs",
    "reference_log_probs",
    "tiles_of_images",
    "weight_of",
]
