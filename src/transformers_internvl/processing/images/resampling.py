# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Squashing an image onto tiles: Pillow's pixels, bit for bit, by matrix products; or torch's, faster.

Pillow resamples 8-bit images in two passes, mostly columns first, and rounds after each. A pass is a product with a
banded matrix of fixed-point weights (22 fractional bits). Sums of such weights times levels fit the 53 bits of
float64, so a matrix product computes them without error, in whatever order it sums, at the speed of a BLAS. What
remains is to round as Pillow does.

    pixels  [C, H, W]   levels, uint8
    pass 1  [C, D, X]   D rows, columns resampled to the X of the canvas; a block of them sees a window of the source
    pass 2  [C, T, X]   T rows of the canvas from these, scaled, shifted and written straight into their tiles

A band of the canvas is finished before the next is begun, and takes what it needs of the source again, so that
work stays near the cache and little is held at a time, however large the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import PILImageResampling

from ..threads import run_all, thread_count

Affine = tuple[Sequence[float], Sequence[float]]
"""Scale and shift of each channel: a level v becomes `v * scale + shift`."""


@dataclass(frozen=True)
class Target:
    """Where a resized image goes: `tiles` is `[rows, columns, C, height, width]`, float32 or uint8."""

    tiles: torch.Tensor

    @property
    def size(self) -> tuple[int, int]:
        """`(width, height)` of the canvas."""
        rows, columns, _, height, width = self.tiles.shape
        return columns * width, rows * height


def resize_like_pillow(
    pixels: np.ndarray, targets: Sequence[Target], affine: Affine | None, resample: int = PILImageResampling.BICUBIC
) -> None:
    """Resize `pixels` (uint8 `[C, H, W]`) to the canvas of each target and write the canvas' tiles.

    The levels are exactly those of `PIL.Image.resize(..., resample)`, by any filter of Pillow's; `affine` scales and
    shifts them, None writes them as they are. Uses the threads of torch; the result does not depend on their number.
    """
    _, height, width = pixels.shape
    by_products = max(width, height) <= _LONGEST_SIDE and resample in FILTERS and _reproduces_pillow(resample)
    tasks: list[Callable[[], None]] = []
    for target in targets:
        if target.size == (width, height):
            tasks += _write_canvas(writable(pixels), target, affine)
        elif by_products and not _rows_first(width, height, *target.size):
            tasks += _products(pixels, target, affine, resample)
        else:  # long sides; rows first would be products of strided columns, slower than Pillow's own loops
            tasks.append(partial(_resize_by_pillow, pixels, target, affine, resample))
    run_all(tasks)


def resize_by_torch(
    pixels: torch.Tensor, targets: Sequence[Target], affine: Affine | None, resample: int = PILImageResampling.BICUBIC
) -> None:
    """As `resize_like_pillow`, by torch's antialiased resampling, on any device, within 2 levels.

    Raises `ValueError` for filters other than bicubic and bilinear.
    """
    modes = {PILImageResampling.BICUBIC: "bicubic", PILImageResampling.BILINEAR: "bilinear"}
    if resample not in modes:
        names = [filter_.name for filter_ in modes]
        raise ValueError(f"`resample={resample!r}` is not available in the torch backend: it knows {names}.")
    resize = partial(torch.nn.functional.interpolate, mode=modes[resample], antialias=True)
    if pixels.device.type == "cpu":
        _resize_bytes(pixels, targets, affine, resize)
        return
    source = pixels[None].float()  # bytes: on the CPU only
    for target in targets:
        canvas = resize(source, target.size[::-1])[0].clamp_(0, 255).round_()
        for write in _write_canvas(canvas, target, affine):
            write()


def write_levels(levels: torch.Tensor, place: torch.Tensor, affine: Affine | None) -> None:
    """Write `levels` (`[..., C, H, W]`) to `place` (same shape, its own dtype), scaled and shifted per channel."""
    if affine is None:
        place.copy_(levels)
        return
    scale, shift = (_per_channel(value, place.device) for value in affine)
    for index in np.ndindex(levels.shape[:-3]):  # by tiles, which stay in the cache
        place[index].copy_(levels[index]).mul_(scale).add_(shift)


def _per_channel(values: Sequence[float], device: torch.device | None = None) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]


def _write_canvas(canvas: torch.Tensor, target: Target, affine: Affine | None) -> list[Callable[[], None]]:
    """What cuts a canvas `[C, rows * height, columns * width]` into its tiles, tile by tile; a single one by parts."""
    rows, columns, _, height, width = target.tiles.shape
    levels = canvas.unflatten(2, (columns, width)).unflatten(1, (rows, height)).permute(1, 3, 0, 2, 4)
    parts = thread_count() if rows * columns == 1 else 1
    return [
        partial(write_levels, part, place, affine)
        for tile in np.ndindex(rows, columns)
        for part, place in zip(levels[tile].chunk(parts, 1), target.tiles[tile].chunk(parts, 1), strict=True)
    ]


def writable(pixels: np.ndarray) -> torch.Tensor:
    """A tensor on the same memory if that may be written to (torch asks for it), else on a copy."""
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy(order="K"))


# --- by torch, on bytes --------------------------------------------------------------------------------------------


def _resize_bytes(pixels: torch.Tensor, targets: Sequence[Target], affine: Affine | None, resize: Callable) -> None:
    """In Pillow's two passes and their order (torch passes over an axis whose length stays), each cut into parts.

    torch is fast where the channels of a pixel are neighbors in memory, and strides, also of the batch, show it.
    """
    source = pixels.permute(1, 2, 0).contiguous()[None].permute(0, 3, 1, 2)  # [1, C, H, W], C innermost
    first_pass, second_pass = [], []
    for target in targets:
        if target.size == (source.shape[3], source.shape[2]):
            second_pass += _write_canvas(source[0], target, affine)
            continue
        rows_first = _rows_first(source.shape[3], source.shape[2], *target.size)
        first, second = (2, 3) if rows_first else (3, 2)  # the axes that the passes change
        shape = list(source.shape)
        shape[first] = target.size[3 - first]
        halfway = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        parts = zip(*(whole.chunk(thread_count(), second) for whole in (source, halfway)), strict=True)
        first_pass += [partial(_resize_part, part, place, resize) for part, place in parts]
        lines = target.tiles.split(1, first - 2)  # of tiles: the columns, or the rows
        strips = halfway.chunk(len(lines), first)
        cut = zip(strips, lines, strict=True)
        second_pass += [partial(_finish, strip, Target(line), affine, resize) for strip, line in cut]
    run_all(first_pass)
    run_all(second_pass)


def _resize_part(source: torch.Tensor, place: torch.Tensor, resize: Callable) -> None:
    place.copy_(resize(source, place.shape[2:]))


def _finish(strip: torch.Tensor, target: Target, affine: Affine | None, resize: Callable) -> None:
    for write in _write_canvas(resize(strip, target.size[::-1])[0], target, affine):
        write()


# --- by Pillow -----------------------------------------------------------------------------------------------------


def _resize_by_pillow(levels: np.ndarray, target: Target, affine: Affine | None, resample: int) -> None:
    """For Pillow's other filters, its other order, and should it ever compute otherwise than is done here."""
    image = Image.fromarray(np.ascontiguousarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)))
    canvas = np.asarray(image.resize(target.size, resample))
    levels = writable(canvas[None] if canvas.ndim == 2 else canvas.transpose(2, 0, 1))
    for write in _write_canvas(levels, target, affine):
        write()


@cache
def _reproduces_pillow(resample: int) -> bool:
    """Whether the installed Pillow resamples as computed here. A look at a small image, once per process."""
    pixels = _probe()
    for columns, rows in ((1, 1), (3, 2), (1, 2), (3, 1), (2, 1)):  # smaller, larger, taller, flatter twice
        ours, pillows = (Target(torch.zeros(rows, columns, 3, 16, 16, dtype=torch.uint8)) for _ in range(2))
        if _rows_first(37, 29, *ours.size):
            continue  # left to Pillow itself
        _resize_by_pillow(pixels, pillows, None, resample)
        run_all(_products(pixels, ours, None, resample))
        if not torch.equal(ours.tiles, pillows.tiles):
            return False
    return True


def _rows_first(width: int, height: int, new_width: int, new_height: int) -> bool:
    """Whether Pillow resamples the rows before the columns, which shows in the rounding.

    Pillow 13 does where the height shrinks by more than twice the pixels that the width does; older ones never do.
    """
    shrinks = height - new_height
    return shrinks > 0 and shrinks > 2 * (width - new_width) and _pillow_may_do_rows_first()


@cache
def _pillow_may_do_rows_first() -> bool:
    image = Image.fromarray(np.ascontiguousarray(_probe().transpose(1, 2, 0)))
    at_once = image.resize((41, 13), PILImageResampling.BICUBIC)
    rows_first = image.resize((37, 13), PILImageResampling.BICUBIC).resize((41, 13), PILImageResampling.BICUBIC)
    return at_once.tobytes() == rows_first.tobytes()


def _probe() -> np.ndarray:
    """A small image without order, `[3, 29, 37]`."""
    mixed = np.arange(3 * 29 * 37, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
    return (mixed >> np.uint64(24)).astype(np.uint8).reshape(3, 29, 37)


# --- by matrix products --------------------------------------------------------------------------------------------

_BAND = 2**18  # numbers of the source that a band of the canvas may take at a time: 2 MiB of float64
_LARGEST_BLOCK = 2**22  # and that the rows of a block may, however large the image: 32 MiB
# Matrices are dense within a block: they take some 320 bytes for each pixel of a side, and 32 of them are kept.
_LONGEST_SIDE = 2**14


def _products(pixels: np.ndarray, target: Target, affine: Affine | None, resample: int) -> list[Callable[[], None]]:
    """What resizes to one canvas, columns first: several bands of it each."""
    channels, height, width = pixels.shape
    new_width, new_height = target.size
    column_blocks = _blocks(width, new_width, resample, _column_block(width / new_width), new_width)
    row_block = 32 if height < new_height else 16
    per_row = channels * width * max(1, height // new_height)  # numbers of the source behind a row of the canvas
    row_block = max(1, min(row_block, _LARGEST_BLOCK // per_row))
    row_blocks = _blocks(height, new_height, resample, row_block, target.tiles.shape[3])
    parts = 1 if thread_count() == 1 else 2 * thread_count()
    bands = _bands(row_blocks, _BAND // (channels * width), -(-len(row_blocks) // parts))
    runs = [bands[part * len(bands) // parts : (part + 1) * len(bands) // parts] for part in range(parts)]
    return [partial(_resize_bands, pixels, target, affine, column_blocks, run) for run in runs if run]


def _column_block(scale: float) -> int:
    """How many columns are computed at a time: a larger matrix is faster, but has more zeros."""
    return 64 if scale < 0.5 else 32 if scale < 3 else 16


def _resize_bands(
    pixels: np.ndarray,
    target: Target,
    affine: Affine | None,
    column_blocks: Sequence[_Block],
    bands: Sequence[Sequence[_Block]],
) -> None:
    channels, height, width = pixels.shape
    depth = max(band[-1].stop - band[0].start for band in bands)
    source = torch.empty(channels, depth, width, dtype=torch.float64)
    columns_done = torch.empty(channels, depth, target.size[0], dtype=torch.float64)
    products = [  # sliced once: there are many, and they are small
        (source.flatten(0, 1)[:, block.start : block.stop], block.weights_t, columns_done.flatten(0, 1)[:, block.out])
        for block in column_blocks
    ]
    resample_rows = _RowPass(target, affine, max(len(block.weights) for band in bands for block in band))
    for band in bands:
        first = min(band[0].start, height - depth)
        np.copyto(source.numpy(), pixels[:, first : first + depth])
        for window, weights, place in products:
            torch.mm(window, weights, out=place)
        columns_done.round_().clamp_(0, 255)
        for block in band:
            resample_rows(columns_done[:, block.start - first : block.stop - first], block)


def _bands(blocks: Sequence[_Block], most_rows: int, most_blocks: int) -> list[Sequence[_Block]]:
    """Runs of blocks that take `most_rows` of the source or little more: at least two blocks, as neighbors overlap."""
    bands, begin = [], 0
    for end in range(1, len(blocks) + 1):
        size = end - begin
        full = size >= 2 and (size >= most_blocks or blocks[end - 1].stop - blocks[begin].start >= most_rows)
        if full or end == len(blocks):
            bands.append(blocks[begin:end])
            begin = end
    return bands


class _RowPass:
    """Resamples the rows of one block, `[C, D, X]`, and writes them to their tiles. Holds the buffers in between."""

    def __init__(self, target: Target, affine: Affine | None, most_rows: int):
        _, columns, channels, self.tile_height, self.tile_width = target.tiles.shape
        self.tiles = target.tiles
        self.sums = torch.empty(channels, most_rows, columns * self.tile_width, dtype=torch.float64)
        self.levels = torch.empty(self.sums.shape, dtype=torch.float32)
        self.affine = affine and tuple(_per_channel(values) for values in affine)

    def __call__(self, source: torch.Tensor, block: _Block) -> None:
        height = len(block.weights)
        sums, levels = self.sums[:, :height], self.levels[:, :height]
        torch.bmm(block.weights.expand(len(source), -1, -1), source, out=sums)
        levels.copy_(sums.round_()).clamp_(0, 255)
        if self.affine is not None:
            levels.mul_(self.affine[0]).add_(self.affine[1])
        tile, row = divmod(block.out.start, self.tile_height)
        place = self.tiles[tile, :, :, row : row + height]  # [columns, C, T, width]
        place.copy_(levels.unflatten(-1, (-1, self.tile_width)).permute(2, 0, 1, 3))


@dataclass(frozen=True)
class _Block:
    """Outputs `out` of an axis are `weights` `[outputs, stop - start]` times the inputs `start:stop`."""

    out: slice
    start: int
    stop: int
    weights: torch.Tensor
    weights_t: torch.Tensor  # the same, transposed in memory


# Pillow rounds ties up, torch to even. Sums are multiples of 2^-22 below 2^9: this factor moves ties, and nothing
# else, past the middle. It takes products beyond 53 bits, but the error is far less than the 2^-32 by which it moves.
_TIE = 1 + 2.0**-31


@lru_cache(maxsize=32)
def _blocks(n_in: int, n_out: int, resample: int, size: int, tile: int) -> tuple[_Block, ...]:
    """The matrix of an axis along its band, in blocks of `size` outputs that do not straddle tiles."""
    first, weights = _weights(n_in, n_out, resample)
    count = weights.shape[1]
    blocks = []
    for begin in range(0, n_out, tile):
        for at in range(begin, begin + tile, size):
            out = slice(at, min(at + size, begin + tile))
            start, reach = int(first[out].min()), int(first[out].max()) + count
            dense = np.zeros((out.stop - out.start, reach - start))
            taps = first[out, None] + np.arange(count) - start
            dense[np.arange(len(taps))[:, None], taps] = weights[out] * _TIE
            stop = min(reach, n_in)  # what would lie beyond weighs nothing
            matrix = torch.from_numpy(np.ascontiguousarray(dense[:, : stop - start]))
            blocks.append(_Block(out, start, stop, matrix, matrix.t().contiguous()))
    return tuple(blocks)


def _bicubic(x: np.ndarray) -> np.ndarray:
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


FILTERS: dict[int, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    PILImageResampling.BICUBIC: (2.0, _bicubic),
    PILImageResampling.BILINEAR: (1.0, _bilinear),
}
"""Half width and shape of the filters whose weights are known here."""

_FIXED_POINT = 2.0**22


def _weights(n_in: int, n_out: int, resample: int) -> tuple[np.ndarray, np.ndarray]:
    """The first source index of every output `[n_out]`, and its weights `[n_out, K]`, multiples of 2^-22, as
    `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow's `Resample.c` compute them."""
    half_width, shape = FILTERS[resample]
    scale = n_in / n_out
    stretch = max(scale, 1.0)  # antialiasing: the filter is as wide as an output pixel
    support = half_width * stretch
    center = (np.arange(n_out) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), n_in)
    taps = first[:, None] + np.arange(int((stop - first).max()))
    weights = shape((taps - center[:, None] + 0.5) * (1.0 / stretch))
    weights[taps >= stop[:, None]] = 0.0
    total = np.zeros(n_out)
    for tap in range(weights.shape[1]):  # in Pillow's order: sums of floats depend on it
        total += weights[:, tap]
    weights /= total[:, None]
    return first, np.trunc(weights * _FIXED_POINT + np.copysign(0.5, weights)) / _FIXED_POINT
