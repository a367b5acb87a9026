# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How close the results of two models with equal weights are, on any processor.

Weights of two models lie at other places in memory, and their alignment decides which kernel multiplies them: results
are equal up to rounding only. Weights, files, ids and pixels are compared bit for bit; so is one model with itself.
"""

import torch

SAME_WEIGHTS = {"rtol": 1e-5, "atol": 2e-5}


def assert_same_results(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Two models with equal weights give these on the same input."""
    torch.testing.assert_close(found, expected, **SAME_WEIGHTS)
