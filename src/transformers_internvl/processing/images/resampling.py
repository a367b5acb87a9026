# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Resizing an image onto tiles: Pillow's pixels, bit for bit, or torch's, faster.

Both resample in two passes, mostly columns first, and round to 8 bits after each. A pass treats the lines along its
axis independently, so each is split among threads, which Pillow and torch let run side by side:

    image   [H, W]   levels, uint8
    pass 1  [H, w]   strips of rows, columns resampled to the w of the canvas
    pass 2  [h, w]   strips of columns, rows resampled, scaled, shifted and written to their tiles
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, pairwise

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import PILImageResampling

from ..threads import run_all, thread_count

_WORTH_SPLITTING = 2**20
"""Pixels of a tile that several threads write faster than one: to meet takes longer than to write a tile of 448."""

_STRIP = 2**20
"""The most pixels of a strip of the first pass: a copy of 4 MiB stays in the cache and is not mapped anew."""

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
    source: Image.Image | np.ndarray,
    targets: Sequence[Target],
    affine: Affine | None,
    resample: int = PILImageResampling.BICUBIC,
) -> None:
    """Resize an image to the canvas of each target and write the canvas' tiles.

    The levels are exactly those of `PIL.Image.resize(..., resample)`; `affine` scales and shifts them, None writes
    them as they are. Uses the threads of torch; the result does not depend on their number.

    Args:
        source: an image of mode RGB, or uint8 `[C, H, W]`.
        targets: with C channels.
        affine: for each channel.
        resample: a filter of Pillow.
    """
    if isinstance(source, np.ndarray) and len(source) not in (1, 3):  # Pillow would take a channel for alpha
        for index in range(len(source)):
            channel = [Target(target.tiles[:, :, index : index + 1]) for target in targets]
            own = affine and (affine[0][index : index + 1], affine[1][index : index + 1])
            resize_like_pillow(source[index : index + 1], channel, own, resample)
        return
    image = source if isinstance(source, Image.Image) else _image_of(source)
    first_pass: list[Callable[[], None]] = []
    second_pass: list[Callable[[], None]] = []
    for target in targets:
        if target.size == image.size:
            second_pass += _write_canvas(_levels_of(image), target, affine)
        elif thread_count() == 1:
            second_pass.append(partial(_finish_by_pillow, image, None, target, affine, resample))
        else:
            first, second = _two_passes(image, target, affine, resample)
            first_pass += first
            second_pass += second
    run_all(first_pass)
    run_all(second_pass)


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
    if place.device.type != "cpu":
        place.copy_(levels)
        if affine is not None:
            scale, shift = (torch.tensor(values, dtype=place.dtype, device=place.device) for values in affine)
            place.mul_(scale[:, None, None]).add_(shift[:, None, None])
        return
    levels_, place_ = levels.numpy(), place.numpy()
    for index in np.ndindex(place_.shape[:-2]):
        _write_channel(levels_[index], place_[index], affine, index[-1])


def _write_channel(levels: np.ndarray, place: np.ndarray, affine: Affine | None, channel: int) -> None:
    """One channel `[H, W]` of a tile, which stays in the cache, by numpy: none of its steps waits for a thread."""
    np.copyto(place, np.ascontiguousarray(levels))  # neighbors in memory are cast many at a time
    if affine is not None:
        np.multiply(place, place.dtype.type(affine[0][channel]), out=place)
        np.add(place, place.dtype.type(affine[1][channel]), out=place)


def _write_canvas(canvas: torch.Tensor, target: Target, affine: Affine | None) -> list[Callable[[], None]]:
    """What writes a canvas `[C, rows * height, columns * width]` to its tiles, one by one; to a large one by parts."""
    rows, columns, _, height, width = target.tiles.shape
    parts = thread_count() if rows * columns == 1 and height * width >= _WORTH_SPLITTING else 1
    writes: list[Callable[[], None]] = []
    for row, column in np.ndindex(rows, columns):
        levels = canvas[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
        pairs = zip(levels.chunk(parts, 1), target.tiles[row, column].chunk(parts, 1), strict=True)
        writes += [partial(write_levels, part, place, affine) for part, place in pairs]
    return writes


def writable(pixels: np.ndarray) -> torch.Tensor:
    """A tensor on the same memory if that may be written to (torch asks for it), else on a copy."""
    return torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy(order="K"))


# --- by torch, on bytes --------------------------------------------------------------------------------------------


def _resize_bytes(pixels: torch.Tensor, targets: Sequence[Target], affine: Affine | None, resize: Callable) -> None:
    """In Pillow's two passes and their order (torch passes over an axis whose length stays), each split into parts.

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
        pairs = zip(strips, lines, strict=True)
        second_pass += [partial(_finish, strip, Target(line), affine, resize) for strip, line in pairs]
    run_all(first_pass)
    run_all(second_pass)


def _resize_part(source: torch.Tensor, place: torch.Tensor, resize: Callable) -> None:
    place.copy_(resize(source, place.shape[2:]))


def _finish(strip: torch.Tensor, target: Target, affine: Affine | None, resize: Callable) -> None:
    for write in _write_canvas(resize(strip, target.size[::-1])[0], target, affine):
        write()


# --- by Pillow -----------------------------------------------------------------------------------------------------


def _image_of(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)))


def _levels_of(image: Image.Image) -> torch.Tensor:
    """`[C, H, W]`, channel by channel in memory: Pillow takes them apart faster than numpy transposes."""
    bands = [image.tobytes("raw", band) for band in image.getbands()]
    levels = bytearray().join(bands)  # torch asks for memory that may be written to
    return torch.frombuffer(levels, dtype=torch.uint8).view(len(bands), image.height, image.width)


def _two_passes(
    image: Image.Image, target: Target, affine: Affine | None, resample: int
) -> tuple[Sequence[Callable[[], None]], Sequence[Callable[[], None]]]:
    """What resizes to one canvas, in Pillow's passes and their order, each split into strips along the other axis."""
    rows_first = _rows_first(*image.size, *target.size)
    size = (image.width, target.size[1]) if rows_first else (target.size[0], image.height)
    halfway = Image.new(image.mode, size)
    length = image.width if rows_first else image.height
    count = max(thread_count(), -(-image.width * image.height // _STRIP))
    ends = [length * part // count for part in range(count + 1)]
    first = [
        partial(_resize_strip, image, halfway, _box(begin, end, image, rows_first), strip, resample)
        for begin, end in pairwise(ends)
        if all(strip := (end - begin, halfway.height) if rows_first else (halfway.width, end - begin))
    ]
    lines = _lines(target, rows_first)
    ends = [0, *accumulate(line.size[1 if rows_first else 0] for line in lines)]
    boxes = [_box(begin, end, halfway, not rows_first) for begin, end in pairwise(ends)]
    second = [
        partial(_finish_by_pillow, halfway, box, line, affine, resample)
        for box, line in zip(boxes, lines, strict=True)
    ]
    return first, second


def _box(begin: int, end: int, image: Image.Image, columns: bool) -> tuple[int, int, int, int]:
    """`(left, top, right, bottom)` of some columns of an image, or of some rows."""
    return (begin, 0, end, image.height) if columns else (0, begin, image.width, end)


def _lines(target: Target, rows: bool) -> list[Target]:
    """A canvas in its columns of tiles, or rows of tiles; a single one in as many parts as there are threads."""
    grid, side = (0, 3) if rows else (1, 4)
    single = target.tiles.shape[grid] == 1
    parts = target.tiles.chunk(thread_count(), side) if single else target.tiles.split(1, grid)
    return [Target(part) for part in parts]


def _resize_strip(
    image: Image.Image, halfway: Image.Image, box: tuple[int, int, int, int], size: tuple[int, int], resample: int
) -> None:
    """The first pass on the strip `box` of an image, into the same lines of `halfway`."""
    halfway.paste(image.crop(box).resize(size, resample), box[:2])


def _finish_by_pillow(
    image: Image.Image, box: tuple[int, int, int, int] | None, target: Target, affine: Affine | None, resample: int
) -> None:
    """Resize a strip of an image, or all of it, to a canvas and write its tiles."""
    strip = image if box is None else image.crop(box)
    for write in _write_canvas(_levels_of(strip.resize(target.size, resample)), target, affine):
        write()


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
