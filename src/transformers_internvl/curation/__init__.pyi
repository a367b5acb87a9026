# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .heuristics import Finding, HeuristicRules, RepetitionRules
from .pipeline import STEPS, Pipeline, check_pipeline, read_pipeline, stages_of
from .protected import Protected, protect
from .rows import answers_of, images_of, plain_text, texts_of
from .running import run_pipeline
from .translating import RULES

__all__ = [
    "Finding",
    "HeuristicRules",
    "Pipeline",
    "Protected",
    "RULES",
    "RepetitionRules",
    "STEPS",
    "answers_of",
    "check_pipeline",
    "images_of",
    "plain_text",
    "protect",
    "read_pipeline",
    "run_pipeline",
    "stages_of",
    "texts_of",
]
