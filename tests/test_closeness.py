# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The comparison that other tests rest on sees what it is for."""

import pytest
import torch

from tests.closeness import assert_same_results

ONES = torch.ones(3, 4)


@pytest.mark.parametrize(
    "other",
    [
        ONES * torch.nan,
        ONES.clone().index_fill(0, torch.tensor([2]), torch.nan),
        ONES * torch.inf,
        ONES + 4e-5,  # beyond one part in 10^5 and two in 10^5 absolute
        ONES - 4e-5,
        ONES[:2],
        ONES[None],
        ONES.double(),
    ],
)
def test_what_differs_is_not_the_same(other):
    for pair in ((ONES, other), (other, ONES)):
        with pytest.raises(AssertionError):
            assert_same_results(*pair)
    assert_same_results(ONES + 2e-5, ONES)
    with pytest.raises(AssertionError):  # no answer is no proof, not even twice
        assert_same_results(ONES * torch.nan, ONES * torch.nan)
