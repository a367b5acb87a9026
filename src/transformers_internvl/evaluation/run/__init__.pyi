# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .ablation import read_grid, run_grid
from .answering import Answerer, FixedAnswers, Reply, read_fixed_answers
from .answers import Answer, read_answers
from .compare import TaskComparison, compare_runs, comparison_page
from .endpoint import EndpointModel
from .extraction import Prediction, prediction_of
from .judge import Judgement, JudgeModel
from .judges import JUDGES
from .judging import Judge
from .local import LocalModel, sends_system_message
from .plots import plot_curve, plot_scores
from .ranks import Ranks, join_ranks
from .report import Result, page, release_name, result_of
from .reward import RewardModel
from .running import Wanted, best_by, evaluate, metric_of, open_task, vote
from .task import Scored, Task, answer_task, score_task

__all__ = [
    "Answer",
    "Answerer",
    "EndpointModel",
    "FixedAnswers",
    "JUDGES",
    "Judge",
    "JudgeModel",
    "Judgement",
    "LocalModel",
    "Prediction",
    "Ranks",
    "Reply",
    "Result",
    "RewardModel",
    "Scored",
    "Task",
    "TaskComparison",
    "Wanted",
    "answer_task",
    "best_by",
    "compare_runs",
    "comparison_page",
    "evaluate",
    "join_ranks",
    "metric_of",
    "open_task",
    "page",
    "plot_curve",
    "plot_scores",
    "prediction_of",
    "read_answers",
    "read_fixed_answers",
    "read_grid",
    "release_name",
    "result_of",
    "run_grid",
    "score_task",
    "sends_system_message",
    "vote",
]
