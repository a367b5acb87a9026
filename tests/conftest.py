# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every test runs offline, with our classes registered."""

import os

# The models here are so small that a second thread mostly waits, on a busy machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import transformers_internvl  # noqa: E402, F401
