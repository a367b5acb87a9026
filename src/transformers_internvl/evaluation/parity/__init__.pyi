# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .cases import Case, draw_cases
from .comparison import CaseComparison, compare, report
from .environment import make_environment, requirements, run_original
from .ours import run_ours

__all__ = [
    "Case",
    "CaseComparison",
    "compare",
    "draw_cases",
    "make_environment",
    "report",
    "requirements",
    "run_original",
    "run_ours",
]
