# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One image: from what a user passes to levels, from levels to tiles. Shared by images and video frames.

Shapes: C channels, H x W image, S tile side.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers.image_utils import ChannelDimension, PILImageResampling, infer_channel_dimension_format

from ...renamed_modules import alias_former_names
from ..sources import DECODING_ERRORS, release
from .resampling import Affine, Target, resize_by_torch, resize_like_pillow, writable, write_levels

# Gray modes of Pillow with more than 8 bits.
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")

MAX_VALUES = 2**32
"""The most values that one image or video may become: 16 GiB, some 7,000 tiles of 448 pixels."""

MAX_SIDE = 2**18
"""The longest side of an image: the weights that resample a side take 32 bytes for each of its pixels, and more."""


_LARGEST = float(np.finfo(np.float32).max)


@contextmanager
def error_context(item: str) -> Iterator[None]:
    """Say which item an error is about, as one `ValueError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except DECODING_ERRORS as error:
        raise ValueError(f"{item} cannot be decoded (broken or incomplete?): {error}") from error
    except ValueError as error:
        raise ValueError(f"{item}: {error}") from error


def checked_size(image: Any, layout: str | ChannelDimension | None, max_pixels: int | None) -> tuple[int, int]:
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
    """Raise `ValueError` if the square around a long thin image would have too many pixels."""
    side = max(width, height)
    if max_pixels is not None and side * side > max_pixels:
        raise ValueError(
            f"has {width} x {height} pixels: the square around it would have more than the {max_pixels} allowed; crop "
            "or shrink it first, or raise `max_image_pixels`"
        )


def image_pixels(image: Any, to_rgb: bool | None = True, layout: str | ChannelDimension | None = None) -> np.ndarray:
    """The pixels of one image, `[C, H, W]`: a view without a copy where that is possible.

    `to_rgb` converts as `PIL.Image.convert("RGB")` does, for arrays: gray is repeated, a fourth channel dropped.
    Gray images of Pillow with more than 8 bits are clipped at 255 as it does, with a warning if that changes them;
    fractions from 0 to 1 stay what they are. Raises `ValueError` for other shapes, and values that are not finite.
    """
    try:
        return _pixels_of(image, to_rgb, layout)
    finally:
        release(image)


def _pixels_of(image: Any, to_rgb: bool | None, layout: str | ChannelDimension | None) -> np.ndarray:
    if isinstance(image, Image.Image) and image.mode in _DEEP_MODES:
        gray = _deep_pixels(image)[None]
        return _to_rgb(gray) if to_rgb else gray
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


def _deep_pixels(image: Image.Image) -> np.ndarray:
    """Gray pixels `[H, W]` as Pillow, and the original code, convert them to RGB: above 255 is white."""
    pixels = np.asarray(image)
    if image.mode == "F" and not np.isfinite(pixels).all():
        raise ValueError("has values that are not finite (NaN or infinity)")
    low, high = pixels.min(), pixels.max()
    if image.mode == "F" and low >= 0 and high <= 1:
        return pixels
    if low < 0 or high > 255:
        warnings.warn(
            f"A gray image of Pillow's mode {image.mode!r} has values from {low} to {high}. In the original code, "
            "as in Pillow's conversion to RGB, those above 255 become white, and those below 0 black. To show 16 bits "
            "by their whole range pass `numpy.asarray(image).astype('uint16')[..., None]`.",
            stacklevel=2,
        )
    return np.clip(pixels, 0, 255).astype(np.uint8)


def decoded_rgb(image: Any, to_rgb: bool | None) -> Image.Image | None:
    """An image of Pillow that has 8 bits, decoded, in mode RGB; None for all others, see [`image_pixels`]."""
    if not isinstance(image, Image.Image) or image.mode in _DEEP_MODES or not (to_rgb or image.mode == "RGB"):
        return None
    try:
        decoded = image.convert("RGB") if image.mode != "RGB" else image
        decoded.load()
        return decoded
    finally:
        release(image)


def _decoded(image: Image.Image) -> np.ndarray:
    """As `numpy.asarray`, by bands that stay in the cache, which takes half the time for large images; writable."""
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
        if image.is_floating_point() and image.dtype not in (torch.float32, torch.float64):
            image = image.float()  # numpy has no bfloat16
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


def has_eight_bits(image: Any) -> bool:
    """Whether an image has levels from 0 to 255 by its type, or its mode."""
    if isinstance(image, Image.Image):
        return image.mode not in (*_DEEP_MODES, "1")
    return image.dtype in (np.uint8, torch.uint8)


class Unit(NamedTuple):
    """What one step of pixel values is worth.

    Attributes:
        levels: in levels from 0 to 255.
        value: in the values that the user gave.
    """

    levels: float = 1.0
    value: float = 1.0


def depth_of(images: Iterable[np.ndarray]) -> float:
    """The value that is white in images of one dtype, which are looked at together, as frames of a video are.

    - True, and 1 for floating point numbers that all lie between 0 and 1;
    - 65535 for 16 bits without a sign, unless none is above 255: such values are levels, as in Pillow;
    - 255 for all others.
    """
    bounds = [(pixels.min(), pixels.max(), pixels.dtype) for pixels in images if pixels.size]
    if not bounds:
        return 255.0
    low, high, dtype = min(low for low, _, _ in bounds), max(high for _, high, _ in bounds), bounds[0][2]
    if dtype.kind == "b" or (dtype.kind == "f" and low >= 0 and high <= 1):
        return 1.0
    return 65535.0 if _has_sixteen_bits(dtype) and high > 255 else 255.0


def _has_sixteen_bits(dtype: np.dtype) -> bool:
    return dtype.kind == "u" and dtype.itemsize == 2


def to_levels(pixels: np.ndarray, keep_fractions: bool = False, depth: float | None = None) -> tuple[np.ndarray, Unit]:
    """Pixels as levels (uint8), and what a level is worth.

    Args:
        pixels: levels from 0 to 255 of any type, fractions from 0 to 1, 16 bits, or True and False.
        keep_fractions: leave floating point pixels as they are, only checked.
        depth: what is white; None: as `depth_of` says.

    Raises `ValueError` on values that are not finite, and on others that are none of these.
    """
    kind = pixels.dtype.kind
    if pixels.dtype == np.uint8:
        return pixels, Unit()
    if kind not in "buif":
        raise ValueError(f"has values of type {pixels.dtype}; expected numbers")
    if kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("has values that are not finite (NaN or infinity)")
    depth = depth_of([pixels]) if depth is None else depth
    if kind == "f" and keep_fractions:
        return pixels.astype(np.float32, copy=False), Unit(levels=255.0 / depth)
    low, high = pixels.min(), pixels.max()
    if depth == 1 and low >= 0 and high <= 1:
        return np.rint(pixels * 255.0).astype(np.uint8), Unit(value=1 / 255)
    if depth == 65535:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8), Unit()
    if (kind == "f" and not np.array_equal(pixels, np.rint(pixels))) or low < 0 or high > 255:
        raise ValueError(
            f"has values from {low} to {high} ({pixels.dtype}); expected whole levels from 0 to 255, fractions from 0 "
            "to 1, or 16 bits as uint16. Scale other values to one of these first"
        )
    return pixels.astype(np.uint8), Unit()


def pad_to_square(pixels: np.ndarray, mean: float | Sequence[float] | None, unit: Unit) -> np.ndarray:
    """Centre the image on a square of the color `int(255 * mean)`, in levels."""
    channels, height, width = pixels.shape
    side = max(height, width)
    check_room(1, channels, side, side)
    levels = [int(255 * value) for value in np.broadcast_to(np.asarray(mean, dtype=np.float64), channels)]
    color = [level / unit.levels for level in levels]
    square = np.empty((channels, side, side), dtype=pixels.dtype)
    square[:] = np.asarray(color, dtype=pixels.dtype)[:, None, None]
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = pixels
    return square


def check_statistics(
    do_rescale: bool | None = None,
    rescale_factor: float | None = None,
    do_normalize: bool | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    **kwargs: Any,
) -> None:
    """Raise `ValueError` for settings with which levels would become NaN or infinity, or all the same.

    Arguments are those of the processors; others are not looked at.
    """
    factor = rescale_factor if do_rescale and rescale_factor is not None else 1.0
    mean = image_mean if do_normalize and image_mean is not None else 0.0
    std = image_std if do_normalize and image_std is not None else 1.0
    given = {"rescale_factor": factor, "image_mean": mean, "image_std": std}
    values = {name: np.asarray(value, dtype=np.float64).ravel().tolist() for name, value in given.items()}
    for name, found in values.items():
        if not all(map(math.isfinite, found)) or (name == "image_std" and 0 in found):
            also = ", and not 0" if name == "image_std" else ""
            raise ValueError(f"`{name}` must be finite{also}, got {given[name]!r:.100}.")
    if factor == 0:
        raise ValueError("With `rescale_factor=0` nothing of an image is left.")
    most, least = (map(abs, values[name]) for name in ("image_mean", "image_std"))
    largest = (abs(values["rescale_factor"][0]) * 255 + max(most)) / min(least)
    if not largest < _LARGEST:
        raise ValueError(
            f"With `rescale_factor` {factor}, `image_mean` {mean} and `image_std` {std} levels do not fit into "
            "float32."
        )


def scale_and_shift(
    channels: int,
    unit: Unit,
    do_rescale: bool,
    rescale_factor: float,
    do_normalize: bool,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> tuple[list[float], list[float]] | None:
    """What turns pixels of a unit into values, `pixel * scale + shift`, for each channel; None to leave them alone.

    `rescale_factor` is for levels: fractions are rescaled already, and not a second time.
    """
    factor = rescale(unit, do_rescale, rescale_factor)
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


def rescale(unit: Unit, do_rescale: bool, rescale_factor: float) -> float:
    """What pixels of a unit are multiplied with."""
    return unit.levels * rescale_factor if do_rescale else unit.value


def empty_tiles(
    count: int, channels: int, height: int, width: int, pixels: Any, affine: Affine | None, device
) -> torch.Tensor:
    """Room for tiles: float32, or if levels are left alone, of the pixels' own type."""
    check_room(count, channels, height, width)
    dtype = torch.float32
    if affine is None:
        dtype = torch.uint8 if isinstance(pixels, Image.Image) else torch.from_numpy(np.empty(0, pixels.dtype)).dtype
    return torch.empty(count, channels, height, width, dtype=dtype, device=device)


def check_room(count: int, channels: int, height: int, width: int) -> None:
    """Raise `ValueError` if so many values cannot be meant, before memory is taken for them."""
    if count * channels * height * width > MAX_VALUES:
        raise ValueError(
            f"would become {count} x {channels} x {height} x {width} values, more than the {MAX_VALUES} that one "
            "image or video may take; ask for fewer or smaller tiles or frames"
        )


def write_tiles(
    pixels: Any,
    tiles: torch.Tensor,
    grid: tuple[int, int] | None,
    affine: Affine | None,
    resample: int | None,
    backend: str,
) -> None:
    """Write one image to its `tiles`, scaled and shifted.

    Args:
        pixels: uint8 `[C, H, W]`; to be resized by the backend "pil", also an image of mode RGB.
        tiles: `[T, C, height, width]`.
        grid: columns and rows that the image is resized to; one tile more is the thumbnail. None: as it is.
        affine: for each channel.
        resample: a filter of Pillow; None: bicubic.
        backend: one of `BACKENDS`.
    """
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


alias_former_names(__name__, picture_pixels="image_pixels", picture_size="checked_size", naming="error_context")
