# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Numbers of image tokens put back to where the tokens lie in the image.

A tile has `s x s` tokens. Tiles follow row by row, then the thumbnail, which shows the whole image:

    tokens of 3 x 2 tiles and a thumbnail   ->   map (2s, 3s) of the image   and   map (s, s) of the thumbnail

Shape letters: A answer tokens, s tokens along a side of a tile, n = s * s tokens of a tile.
"""

import torch

from ..processing.images.tiling import check_sizes


def token_order(side: int, version: str = "v2") -> torch.Tensor:
    """Row-major cell of every token of a tile, `(side * side,)`.

    Args:
        side: tokens along a side of a tile.
        version: of the pixel shuffle (`config.ps_version`); "v1" swaps rows and columns.
    """
    cells = torch.arange(side * side).view(side, side)
    return (cells.T if version == "v1" else cells).flatten()


def split_maps(
    values: torch.Tensor, columns: int, rows: int, *, thumbnail: bool, version: str = "v2"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Put numbers of an image's tokens where the tokens lie.

    Args:
        values: `(A, tiles * n)`, in the order of the tokens in the prompt.
        columns, rows: the grid.
        thumbnail: whether a thumbnail follows the tiles.
        version: of the pixel shuffle, see `token_order`.

    Returns:
        The map of the tiles `(A, rows * s, columns * s)`, and that of the thumbnail `(A, s, s)` or None.

    Raises:
        ValueError: the tokens are not those of so many square tiles.
    """
    check_sizes(columns=columns, rows=rows)
    count, tiles = len(values), columns * rows + thumbnail
    side = round((values.shape[-1] / tiles) ** 0.5)
    if values.dim() != 2 or side < 1 or tiles * side * side != values.shape[1]:
        raise ValueError(
            f"Expected values of shape (answer tokens, {tiles} tiles x a square number of tokens) for a grid of "
            f"{columns} x {rows}{' with a thumbnail' if thumbnail else ''}, got {tuple(values.shape)}."
        )
    cells = torch.empty_like(values).view(count, tiles, side * side)
    cells[:, :, token_order(side, version)] = values.reshape(count, tiles, side * side)
    cells = cells.view(count, tiles, side, side)  # row-major in every tile
    grid = cells[:, : columns * rows].view(count, rows, columns, side, side)
    whole = grid.permute(0, 1, 3, 2, 4).reshape(count, rows * side, columns * side)
    return whole, cells[:, -1] if thumbnail else None


def join_maps(tiles: torch.Tensor, thumbnail: torch.Tensor | None) -> torch.Tensor:
    """The sum of both maps on the grid of the tiles' tokens, `(A, rows * s, columns * s)`.

    What a token of the thumbnail has is spread evenly over the `rows * columns` cells that it shows.
    """
    if thumbnail is None:
        return tiles
    rows, columns = tiles.shape[1] // thumbnail.shape[1], tiles.shape[2] // thumbnail.shape[2]
    spread = thumbnail.repeat_interleave(rows, dim=1).repeat_interleave(columns, dim=2)
    return tiles + spread / (rows * columns)


__all__ = ["join_maps", "split_maps", "token_order"]
