# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
from .registration import lmms_eval_models

__all__ = ["lmms_eval_models"]
