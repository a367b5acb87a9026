# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for a module that the source distribution lacks; `tests/modeling/test_generation.py` tests generation."""


class GenerationTesterMixin:
    """Adds no test."""
