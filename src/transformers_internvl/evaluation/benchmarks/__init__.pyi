# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .asking import Asked, Asking, ask
from .benchmark import Benchmark, Published, published_scores
from .questions import Questions
from .rows import BENCHMARKS, find_benchmark, task_name
from .tables import Table, find_table, open_table

__all__ = [
    "Asked",
    "Asking",
    "BENCHMARKS",
    "Benchmark",
    "Published",
    "Questions",
    "Table",
    "ask",
    "find_benchmark",
    "find_table",
    "open_table",
    "published_scores",
    "task_name",
]
