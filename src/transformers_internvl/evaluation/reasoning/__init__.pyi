# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .instructions import INSTRUCTIONS
from .post_processing import answer_for_scorer, mpo_post_processing
from .repetition import (
    RepetitionFound,
    check_conversation,
    detect_repetition,
    repeated_ngram_ratio,
)
from .voting import (
    Vote,
    best_of_n,
    best_of_n_settings,
    majority_vote,
    max_of_direct_and_cot,
    score_against_n,
    vote_by_score,
)

__all__ = [
    "INSTRUCTIONS",
    "RepetitionFound",
    "Vote",
    "answer_for_scorer",
    "best_of_n",
    "best_of_n_settings",
    "check_conversation",
    "detect_repetition",
    "majority_vote",
    "max_of_direct_and_cot",
    "mpo_post_processing",
    "repeated_ngram_ratio",
    "score_against_n",
    "vote_by_score",
]
