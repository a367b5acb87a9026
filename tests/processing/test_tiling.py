# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_internvl.processing.images import tiling
from transformers_internvl.processing.images.tiling import (
    MAX_TILES,
    count_tiles,
    grid_tiles,
    select_grid,
    tile_boxes,
    tile_budget,
)

sides, limits = st.integers(1, 5000), st.integers(1, 40)


def test_examples_in_docstrings():
    assert doctest.testmod(tiling).failed == 0


@settings(max_examples=200)
@given(sides, sides, limits, limits)
def test_grid_keeps_the_limits_and_no_other_is_closer(width, height, low, high):
    low, high = sorted((low, high))
    columns, rows = select_grid(width, height, min_tiles=low, max_tiles=high)
    assert low <= columns * rows <= high
    distance = abs(width / height - columns / rows)
    for other in range(1, high + 1):
        for below in range(1, high // other + 1):
            if other * below >= low:
                assert distance <= abs(width / height - other / below)


@pytest.mark.parametrize("low", [1, 2, 5, 12])
@pytest.mark.parametrize("high", [12, 13, 40])
def test_candidates_come_in_the_order_of_the_plain_loop(low, high):
    """The shortcut adds the same grids in the same order as the original loop over every side."""
    grids = {
        (column, row)
        for side in range(low, high + 1)
        for column in range(1, side + 1)
        for row in range(1, side + 1)
        if low <= column * row <= high
    }
    assert tiling._candidate_grids(low, high) == tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))


@settings(max_examples=100)
@given(sides, sides, limits, st.booleans())
def test_count_is_the_grid_and_its_thumbnail(width, height, high, thumbnail):
    columns, rows = select_grid(width, height, max_tiles=high)
    count = count_tiles(width, height, max_tiles=high, use_thumbnail=thumbnail)
    assert count == grid_tiles(columns, rows, use_thumbnail=thumbnail)
    assert count - columns * rows == (1 if thumbnail and columns * rows > 1 else 0)


def test_boxes_cover_the_canvas_once_in_reading_order():
    canvas = np.full((2 * 7, 3 * 7), -1)
    for index, (left, top, right, bottom) in enumerate(tile_boxes(3, 2, 7)):
        assert (canvas[top:bottom, left:right] == -1).all()
        canvas[top:bottom, left:right] = index
    assert canvas[::7, ::7].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (canvas >= 0).all()


def test_extreme_shapes():
    assert select_grid(1, 5000) == (1, 12)
    assert select_grid(10_000, 3, max_tiles=MAX_TILES)[1] == 1
    assert select_grid(np.int64(900), np.int64(600)) == (3, 2)


def test_budget_is_shared_and_never_nothing():
    assert [tile_budget(12, n) for n in (1, 2, 5, 12, 13)] == [12, 6, 2, 1, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select_grid(0, 10), "`width`.*got 0"),
        (lambda: select_grid(10, -3), "`height`.*got -3"),
        (lambda: select_grid(10.5, 10), "`width`.*whole number"),
        (lambda: select_grid(10, 10, tile_size=0), "`tile_size`"),
        (lambda: select_grid(10, 10, min_tiles=0), "`min_tiles`"),
        (lambda: select_grid(10, 10, min_tiles=7, max_tiles=6), r"`min_tiles` \(7\).*`max_tiles` \(6\)"),
        (lambda: select_grid(10, 10, max_tiles=MAX_TILES + 1), "more than the 10000"),
        (lambda: tile_budget(12, 0), "`n_images`"),
        (lambda: tile_boxes(0, 1, 448), "`columns`"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "max_tiles, n_images, named", [(0, 1, "max_tiles"), (12, 0, "n_images"), (1.5, 1, "max_tiles")]
)
def test_a_shared_budget_looks_at_both_counts(max_tiles, n_images, named):
    with pytest.raises(ValueError, match=f"`{named}`"):
        tiling.tile_budget(max_tiles, n_images)
