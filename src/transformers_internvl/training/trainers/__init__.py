# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The trainers, and how their runs stop and go on."""

from ...lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "checkpoints": [
            "DATA_STATE",
            "PREFIX_CHECKPOINT_DIR",
            "TRAINER_STATE_NAME",
            "check_checkpoint",
            "has_optimizer",
            "is_complete",
            "last_checkpoint",
            "read_json",
            "write_json",
        ],
        "data_trainer": ["DataTrainer"],
        "evaluation": ["EvaluatesData"],
        "mpo": ["MPOLoss", "MPOTerms", "RunningMean", "join_pairs", "pair_log_probs"],
        "mpo_trainer": ["MPOTrainer", "PairCollator", "reference_log_probs"],
        "trainer": ["InternVLTrainer", "label_count", "weight_of"],
    },
)
