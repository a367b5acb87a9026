# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A world of drawn pictures with questions, answers and captions in English and Chinese, from seeds alone."""

from .drawing import Look
from .sample import TASKS, Sample, World, caption_question, draw_sample

__all__ = ["TASKS", "Look", "Sample", "World", "caption_question", "draw_sample"]
