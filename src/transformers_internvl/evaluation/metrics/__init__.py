# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores of answers, as the official scorers of the benchmarks compute them. `METRICS` is the table of all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
