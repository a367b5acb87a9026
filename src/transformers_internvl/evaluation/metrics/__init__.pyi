# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .metric import Metric, Row, Scores
from .table import METRICS, score_answers

__all__ = ["METRICS", "Metric", "Row", "Scores", "score_answers"]
