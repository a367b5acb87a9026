# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .measure import Measure, Measured, Setup
from .running import MEASURES, EncoderTask, evaluate_encoder, measure_items

__all__ = [
    "EncoderTask",
    "MEASURES",
    "Measure",
    "Measured",
    "Setup",
    "evaluate_encoder",
    "measure_items",
]
