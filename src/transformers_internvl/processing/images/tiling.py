# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How an image is split: the one grid function behind pixels, placeholders and token counts.

An image of any shape is squashed onto a canvas of `columns x rows` square tiles whose aspect ratio is closest to its
own, and the tiles are read row by row. When there is more than one, the whole image, squashed onto a single tile,
follows as a thumbnail:

    900 x 600            +---+---+---+      +---+
    image       ->       | 0 | 1 | 2 |  and | 6 |  thumbnail
                         +---+---+---+      +---+
                         | 3 | 4 | 5 |
                         +---+---+---+

Nothing here knows of pixels: sizes go in, integers come out. The rule is `dynamic_preprocess` of the original training
code (`internvl/train/dataset.py`, the same in every model card); InternVL 1.5 report, section 3.2.
"""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral

MAX_TILES = 10_000
"""The largest tile limit that is taken seriously (the largest release trains with 36 and evaluates with 40)."""


def select_grid(
    width: int, height: int, *, tile_size: int = 448, min_tiles: int = 1, max_tiles: int = 12
) -> tuple[int, int]:
    """The grid `(columns, rows)` that an image of `width x height` pixels is squashed onto.

    Among the grids of `min_tiles` to `max_tiles` tiles, thumbnail not counted, the one with the aspect ratio closest
    to the image's wins. Between equally close ones a later candidate (one with as many or more tiles) replaces the
    best so far only if the image has more than half the pixels of its canvas.

    Raises `ValueError` for a size or limit below 1, `min_tiles > max_tiles`, and limits above `MAX_TILES`.

    >>> select_grid(900, 600)
    (3, 2)
    >>> select_grid(448, 448), select_grid(896, 896)
    ((1, 1), (2, 2))
    >>> select_grid(10, 4000, max_tiles=6)
    (1, 6)
    """
    check_sizes(width=width, height=height, tile_size=tile_size)
    check_limits(min_tiles, max_tiles)
    return _closest_grid(int(width), int(height), int(tile_size), int(min_tiles), int(max_tiles))


def count_tiles(
    width: int,
    height: int,
    *,
    tile_size: int = 448,
    min_tiles: int = 1,
    max_tiles: int = 12,
    use_thumbnail: bool = True,
) -> int:
    """How many tiles an image becomes, the thumbnail included. Raises as `select_grid`.

    >>> count_tiles(900, 600), count_tiles(900, 600, use_thumbnail=False), count_tiles(448, 448)
    (7, 6, 1)
    """
    columns, rows = select_grid(width, height, tile_size=tile_size, min_tiles=min_tiles, max_tiles=max_tiles)
    return grid_tiles(columns, rows, use_thumbnail=use_thumbnail)


def grid_tiles(columns: int, rows: int, *, use_thumbnail: bool = True) -> int:
    """Tiles of a grid, the thumbnail included; a grid of one tile has no thumbnail: it would be the same image.

    >>> grid_tiles(3, 2), grid_tiles(1, 1), grid_tiles(3, 2, use_thumbnail=False)
    (7, 1, 6)
    """
    tiles = columns * rows
    return tiles + 1 if use_thumbnail and tiles > 1 else tiles


def tile_boxes(columns: int, rows: int, tile_size: int) -> list[tuple[int, int, int, int]]:
    """`(left, top, right, bottom)` of every tile on the canvas of `columns * tile_size x rows * tile_size` pixels.

    In the order of the tiles: row by row, left to right; the thumbnail has no box. Multiply by
    `image width / canvas width` and `image height / canvas height` for the region of the image.

    >>> tile_boxes(2, 1, 448)
    [(0, 0, 448, 448), (448, 0, 896, 448)]
    """
    check_sizes(columns=columns, rows=rows, tile_size=tile_size)
    return [
        (column * tile_size, row * tile_size, (column + 1) * tile_size, (row + 1) * tile_size)
        for row in range(rows)
        for column in range(columns)
    ]


def tile_budget(max_tiles: int, n_images: int) -> int:
    """The tile limit of each of `n_images` images that share `max_tiles`; thumbnails come on top.

    The rule of the original multi-image training samples. Raises `ValueError` for counts below 1.

    >>> tile_budget(12, 1), tile_budget(12, 5), tile_budget(12, 40)
    (12, 2, 1)
    """
    check_sizes(max_tiles=max_tiles, n_images=n_images)
    return max(1, max_tiles // n_images)


def check_sizes(**sizes: int) -> None:
    """Raise `ValueError`, by name, unless every size is a whole number of at least 1."""
    for name, value in sizes.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}.")


def check_limits(min_tiles: int, max_tiles: int) -> None:
    """Raise `ValueError` unless `1 <= min_tiles <= max_tiles <= MAX_TILES`."""
    check_sizes(min_tiles=min_tiles, max_tiles=max_tiles)
    if min_tiles > max_tiles:
        raise ValueError(
            f"`min_tiles` ({min_tiles}) is larger than `max_tiles` ({max_tiles}); lower one, raise the other."
        )
    if max_tiles > MAX_TILES:
        raise ValueError(f"`max_tiles` is {max_tiles}, more than the {MAX_TILES} that are supported; lower it.")


@lru_cache(maxsize=4096)
def _closest_grid(width: int, height: int, tile_size: int, min_tiles: int, max_tiles: int) -> tuple[int, int]:
    aspect_ratio = width / height
    area = width * height
    best, best_distance = (1, 1), float("inf")
    for columns, rows in _candidate_grids(min_tiles, max_tiles):
        # In floating point on purpose: which candidates count as equally close is part of the rule.
        distance = abs(aspect_ratio - columns / rows)
        if distance < best_distance:
            best, best_distance = (columns, rows), distance
        elif distance == best_distance and area > 0.5 * tile_size * tile_size * columns * rows:
            best = (columns, rows)
    return best


@lru_cache(maxsize=64)
def _candidate_grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    """All `(columns, rows)` of `min_tiles` to `max_tiles` tiles, in the order in which the original code visits them.

    They are collected in a Python set and sorted by area alone, so that among grids of equal area the order of the set
    decides, and with it the grid of an exact tie. That order follows from the values and from the order in which they
    are added (it does not vary between processes: hashes of integers are not randomized), so the same set is
    built here: added by their longer side, but without visiting every `columns x rows` up to the limit once a side.
    """
    grids: set[tuple[int, int]] = set()
    # The first round of the original loop adds all with sides up to `min_tiles`.
    for column in range(1, min_tiles + 1):
        for row in range(1, min(min_tiles, max_tiles // column) + 1):
            if column * row >= min_tiles:
                grids.add((column, row))
    # Every further round adds those with this as the longer side.
    for side in range(min_tiles + 1, max_tiles + 1):
        for column in range(1, min(side - 1, max_tiles // side) + 1):
            grids.add((column, side))
        for row in range(1, min(side, max_tiles // side) + 1):
            grids.add((side, row))
    return tuple(sorted(grids, key=lambda grid: grid[0] * grid[1]))
