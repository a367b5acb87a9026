# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The search space of the first paper and the six rows that it prints."""

import pytest

from transformers_internvl.profiling.study import PUBLISHED, architecture_study, fitting_candidate

# Table 11: variant -> width, depth, MLP, heads, M parameters and "GFLOPs" as printed, and with one digit more.
TABLE_11 = {
    1: (3968, 32, 15872, 62, 6051, 1571, 6051.4, 1571.2),
    2: (3200, 48, 12800, 50, 5903, 1536, 5903.3, 1536.6),
    3: (3200, 48, 12800, 25, 5903, 1536, 5902.8, 1536.6),
    4: (2496, 48, 19968, 39, 5985, 1553, 5985.2, 1553.3),
    5: (2816, 64, 11264, 44, 6095, 1589, 6095.2, 1589.4),
    6: (2496, 80, 9984, 39, 5985, 1564, 5985.9, 1563.8),
}


@pytest.mark.parametrize("shape", PUBLISHED, ids=lambda shape: f"variant {PUBLISHED[shape][0]}")
def test_the_rows_of_the_table(shape):
    candidate = fitting_candidate(*shape)
    variant, printed_parameters, printed_macs = candidate.published
    config, result = candidate.config, candidate.profile
    width, depth, mlp, heads, *printed, parameters, macs = TABLE_11[variant]
    assert (config.hidden_size, config.num_hidden_layers) == (width, depth)
    assert (config.intermediate_size, config.num_attention_heads) == (mlp, heads)
    assert (candidate.head_dim, candidate.mlp_ratio) == (width // heads, mlp // width)
    assert round(result.parameters / 1e6, 1) == parameters
    assert round(result.macs / 1e9, 1) == macs
    # The paper rounds some figures and cuts others off.
    assert [printed_parameters, printed_macs] == printed
    assert printed_parameters in (round(parameters), int(parameters))
    assert printed_macs in (round(macs), int(macs))


def test_the_search_space():
    candidates = architecture_study(50_000_000)
    shapes = {(c.config.num_hidden_layers, c.head_dim, c.mlp_ratio) for c in candidates}
    assert len(candidates) == len(shapes) == 16
    assert {shape[0] for shape in shapes} == {32, 48, 64, 80}
    assert {shape[1:] for shape in shapes} == {(64, 4), (64, 8), (128, 4), (128, 8)}
    assert all(candidate.published is None for candidate in candidates)


@pytest.mark.parametrize("shape", [(32, 64, 4), (48, 128, 8)])
def test_no_other_width_is_closer(shape):
    budget = 300_000_000
    best = fitting_candidate(*shape, budget)
    depth, head_dim, ratio = shape
    closest = abs(best.profile.parameters - budget)
    for heads in range(1, 2 * best.config.num_attention_heads + 2):
        width = heads * head_dim
        blocks = depth * (4 + 2 * ratio) * width**2
        vectors = depth * (3 + 1 + ratio + 1 + 4 + 2) * width  # biases, norms, LayerScale
        ends = (588 + 1 + 1 + 257) * width
        assert closest <= abs(blocks + vectors + ends - budget)


def test_a_budget_that_fits_nothing():
    with pytest.raises(ValueError, match="1,000,000 parameters are too few for 32 layers with heads of 64"):
        fitting_candidate(32, 64, 4, 1_000_000)
