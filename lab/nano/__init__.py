# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The embedded model: the drawings that it learns, its training and its evaluation; and InternVL-14B in miniature.

`python -m lab.nano.training --out DIR` trains the embedded model, `python -m lab.nano.evaluation` says how often it is
right. Both run from the root of the repository.
"""
