# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Numbers that follow from `config.json`: checked against integers and lists."""

import pytest

from transformers_internvl.hub.config_values import hidden_state_index, tokens_per_tile


@pytest.mark.parametrize("factor", [1, 2, 3, 7, 14, 49])
def test_a_pixel_shuffle_divides_the_patches_by_the_square_of_its_factor(factor):
    for rows, columns in ((1, 1), (1, 3), (4, 2), (16, 16), (20, 20)):
        assert tokens_per_tile(rows * factor, columns * factor, 1 / factor) == rows * columns
    assert tokens_per_tile(3, 5) == 15


def test_the_first_number_is_rounded_down_as_in_the_original_code():
    assert tokens_per_tile(17, 17, 0.5) == 72  # 72.25
    assert tokens_per_tile(15, 13, 0.5) == 48  # 48.75


def test_layers_count_from_the_front_as_indices_of_all_hidden_states():
    states = list(range(6))  # embeddings and five blocks
    for layer in range(-6, 6):
        assert hidden_state_index(layer, 5) == hidden_state_index([layer, 1], 5) == states[layer]
