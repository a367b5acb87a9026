# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One picture: from what a user passes to levels, from levels to tiles. Shared by pictures and video frames.

Shapes: C channels, H x W picture, S tile side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import ChannelDimension, PILImageResampling, infer_channel_dimension_format

from .resampling import Affine, Target, resize_by_torch, resize_like_pillow, writable, write_levels
from .sources import DECODING_ERRORS

MAX_VALUES = 2**32
"""The most values that one picture or video may become: 16 GiB, some 7,000 tiles of 448 pixels."""

MAX_SIDE = 2**18
"""The longest side of a picture: the weights that resample a side take 32 bytes for each of its pixels, and more."""


@contextmanager
def naming(item: str) -> Iterator[None]:
    """Say which item an error is about, as one `ValueError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except DECODING_ERRORS as error:
        raise ValueError(f"{item} cannot be decoded (broken or cut off?): {error}") from error
    except ValueError as error:
        raise ValueError(f"{item}: {error}") from error


def picture_size(image: Any, layout: str | ChannelDimension | None, max_pixels: int | None) -> tuple[int, int]:
    """`(width, height)`, before anything is decoded. Raises `ValueError` if there is nothing, or too much."""
    if isinstance(image, Image.Image):
        width, height = image.size
    else:
        shape = tuple(image.shape)
        if len(shape) == 3:
            layout = layout or infer_channel_dimension_format(image, num_channels=(1, 3, 4))
            shape = shape[1:] if layout == ChannelDimension.FIRST else shape[:2]
        height, width = shape
    check_pixels(width, height, max_pixels)
    return width, height


def check_pixels(width: int, height: int, max_pixels: int | None) -> None:
    """Raise `ValueError` if there is nothing to see, or too much."""
    if width < 1 or height < 1:
        raise ValueError(f"has no pixels ({width} x {height})")
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"has {width} x {height} pixels, a side longer than {MAX_SIDE}; crop or shrink it first")
    if max_pixels is not None and width * height > max_pixels:
        raise ValueError(
            f"has {width} x {height} pixels, more than the {max_pixels} allowed; shrink it first or raise "
            "`max_image_pixels`"
        )


def check_square(width: int, height: int, max_pixels: int | None) -> None:
    """Raise `ValueError` if the square around a long thin picture would have too many pixels."""
    side = max(width, height)
    if max_pixels is not None and side * side > max_pixels:
        raise ValueError(
            f"has {width} x {height} pixels: the square around it would have more than the {max_pixels} allowed; crop "
            "or shrink it first, or raise `max_image_pixels`"
        )


def picture_pixels(image: Any, to_rgb: bool | None = True, layout: str | ChannelDimension | None = None) -> np.ndarray:
    """The pixels of one picture, `[C, H, W]`: a view without a copy where that is possible.

    `to_rgb` converts as `PIL.Image.convert("RGB")` does, for arrays: gray is repeated, a fourth channel dropped.
    Raises `ValueError` for other shapes.
    """
    if isinstance(image, Image.Image):
        pixels = _decoded(image.convert("RGB") if to_rgb and image.mode != "RGB" else image)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    pixels = _as_array(image)
    if pixels.ndim == 2:
        pixels = pixels[None]
    elif pixels.ndim == 3:
        layout = layout or infer_channel_dimension_format(pixels, num_channels=(1, 3, 4))
        pixels = pixels if layout == ChannelDimension.FIRST else pixels.transpose(2, 0, 1)
    else:
        raise ValueError(f"expected 2 or 3 dimensions, got shape {pixels.shape}")
    return _to_rgb(pixels) if to_rgb else pixels


def _decoded(image: Image.Image) -> np.ndarray:
    """As `numpy.asarray`, by bands that stay in the cache, which takes half the time for large pictures; writable."""
    if image.mode != "RGB":
        return np.asarray(image)
    width, height = image.size
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, 2**18 // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def _as_array(image: Any) -> np.ndarray:
    if isinstance(image, torch.Tensor):
        image = image.detach()
        if image.dtype in (torch.bfloat16, torch.float16):
            image = image.float()
        return image.cpu().numpy()
    return np.asarray(image)


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """`[C, H, W]` of 1, 3 or 4 channels to 3: gray is repeated, alpha dropped."""
    channels = len(pixels)
    if channels == 1:
        return np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    if channels not in (3, 4):
        raise ValueError(f"has {channels} channels; expected 1 (gray), 3 (RGB) or 4 (RGB and alpha)")
    return pixels[:3]


def to_levels(pixels: np.ndarray, keep_fractions: bool = False) -> tuple[np.ndarray, float]:
    """Pixels as levels (uint8), and what one level was worth before: 1, or 1/255 for fractions between 0 and 1.

    `keep_fractions` leaves floating point pixels as they are, only checked. Raises `ValueError` on values that are
    not finite, and on others that are neither levels from 0 to 255 nor fractions.
    """
    if pixels.dtype == np.uint8:
        return pixels, 1.0
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("has values that are not finite (NaN or infinity)")
    if pixels.dtype.kind == "f" and keep_fractions:
        return pixels.astype(np.float32, copy=False), 1.0
    low, high = pixels.min(), pixels.max()
    whole = pixels.dtype.kind in "bui" or np.array_equal(pixels, np.rint(pixels))
    if not whole and low >= 0 and high <= 1:
        return np.rint(pixels * 255.0).astype(np.uint8), 1 / 255
    if not whole or low < 0 or high > 255:
        raise ValueError(
            f"has values from {low} to {high}; expected whole levels from 0 to 255, or fractions from 0 to 1 with "
            "`do_rescale=False`"
        )
    return pixels.astype(np.uint8), 1.0


def pad_to_square(pixels: np.ndarray, mean: float | Sequence[float] | None) -> np.ndarray:
    """Centre the picture on a square of the color `int(255 * mean)`."""
    channels, height, width = pixels.shape
    side = max(height, width)
    check_room(1, channels, side, side)
    color = [int(255 * value) for value in np.broadcast_to(np.asarray(mean, dtype=np.float64), channels)]
    square = np.empty((channels, side, side), dtype=pixels.dtype)
    square[:] = np.asarray(color, dtype=pixels.dtype)[:, None, None]
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = pixels
    return square


def scale_and_shift(
    channels: int,
    unit: float,
    do_rescale: bool,
    rescale_factor: float,
    do_normalize: bool,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> tuple[list[float], list[float]] | None:
    """What turns a level into its value, `level * scale + shift`, for each channel; None to leave levels alone."""
    factor = unit * rescale_factor if do_rescale else unit
    if not do_normalize and factor == 1:
        return None
    means, stds = np.zeros(channels), np.ones(channels)
    if do_normalize:
        given = [np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in (mean, std)]
        if {len(value) for value in given} - {1, channels}:
            counts = " and ".join(str(len(value)) for value in given)
            raise ValueError(f"has {channels} channels, but `image_mean` and `image_std` have {counts} values")
        means, stds = means + given[0], stds * given[1]
    return (factor / stds).tolist(), (-means / stds).tolist()


def empty_tiles(
    count: int, channels: int, height: int, width: int, pixels: np.ndarray, affine: Affine | None, device
) -> torch.Tensor:
    """Room for tiles: float32, or if levels are left alone, of the pixels' own type."""
    check_room(count, channels, height, width)
    dtype = torch.from_numpy(np.empty(0, pixels.dtype)).dtype if affine is None else torch.float32
    return torch.empty(count, channels, height, width, dtype=dtype, device=device)


def check_room(count: int, channels: int, height: int, width: int) -> None:
    """Raise `ValueError` if so many values cannot be meant, before memory is taken for them."""
    if count * channels * height * width > MAX_VALUES:
        raise ValueError(
            f"would become {count} x {channels} x {height} x {width} values, more than the {MAX_VALUES} that one "
            "picture or video may take; ask for fewer or smaller tiles or frames"
        )


def write_tiles(
    pixels: np.ndarray,
    tiles: torch.Tensor,
    grid: tuple[int, int] | None,
    affine: Affine | None,
    resample: int | None,
    backend: str,
) -> None:
    """Write one picture (uint8 `[C, H, W]`) to its `tiles`, scaled and shifted: resized to the grid and, if there is
    one tile more than the grid has, the thumbnail; without a grid, as it is."""
    if grid is None:
        write_levels(writable(pixels), tiles[0], affine)
        return
    filter_ = PILImageResampling.BICUBIC if resample is None else resample
    columns, rows = grid
    targets = [Target(tiles[: columns * rows].unflatten(0, (rows, columns)))]
    if len(tiles) > columns * rows:
        targets.append(Target(tiles[None, columns * rows :]))
    if backend == "torch":
        resize_by_torch(writable(pixels).to(tiles.device), targets, affine, filter_)
    elif tiles.device.type == "cpu":
        resize_like_pillow(pixels, targets, affine, filter_)
    else:
        on_cpu = torch.empty(tiles.shape, dtype=tiles.dtype)
        write_tiles(pixels, on_cpu, grid, affine, resample, backend)
        tiles.copy_(on_cpu)
