# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images to tiles: `InternVLImageProcessor`.

An image becomes RGB, is resized once to the canvas of its grid (see `tiling`) and once to the thumbnail, and every
pixel is scaled and shifted once on its way into the output. Two backends do the resizing:

- `"pil"` (the default): the original pixels, bit for bit;
- `"torch"`: antialiased bicubic in one pass of torch, several times faster, on CPU or GPU, within 2 levels of 255.

Shapes: C channels, H x W image, S tile side.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, ImagesKwargs, PilBackend, TensorType
from transformers.image_utils import (
    ChannelDimension,
    ImageInput,
    PILImageResampling,
    SizeDict,
    is_valid_image,
    make_flat_list_of_images,
)
from transformers.processing_utils import Unpack
from transformers.utils import logging

from ..sources import open_image, unwrapped
from .pixels import (
    Unit,
    check_square,
    check_statistics,
    checked_size,
    decoded_rgb,
    empty_tiles,
    error_context,
    image_pixels,
    pad_to_square,
    scale_and_shift,
    to_levels,
    write_tiles,
)
from .settings import check_settings
from .tiling import check_limits, grid_tiles, select_grid, tile_budget

logger = logging.get_logger(__name__)

NORMALIZE_TYPES = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.4814546, 0.4578275, 0.40821073), (0.2686295, 0.2613025, 0.2757711)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation by the names of the original `--normalize_type`, with its digits."""

BACKENDS = ("pil", "torch")

_OWN_OPTIONS = (
    *("crop_to_patches", "min_patches", "max_patches", "use_thumbnail", "pad2square", "share_tile_budget"),
    *("backend", "return_grid"),
)
"""Those of which None in a call means what the processor is set to."""


class InternVLImageProcessorKwargs(ImagesKwargs, total=False):
    r"""
    crop_to_patches (`bool`, *optional*, defaults to `self.crop_to_patches`):
        Whether to split the image into tiles. If not, the whole image is squashed onto one.
    min_patches (`int`, *optional*, defaults to `self.min_patches`):
        Minimum number of tiles of an image, thumbnail not counted.
    max_patches (`int`, *optional*, defaults to `self.max_patches`):
        Maximum number of tiles of an image, thumbnail not counted.
    use_thumbnail (`bool`, *optional*, defaults to `self.use_thumbnail`):
        Whether the whole image follows its tiles, if there are more than one.
    pad2square (`bool`, *optional*, defaults to `self.pad2square`):
        Whether an image that is not tiled is centred on a square of the mean color first. Tiles are square already.
    share_tile_budget (`bool`, *optional*, defaults to `self.share_tile_budget`):
        Whether the images of a sample share `max_patches`: `max(1, max_patches // n)` for each of n. A sample is
        an inner list of nested images; a flat list is one sample.
    normalize_type (`str`, *optional*):
        `"imagenet"`, `"clip"` or `"siglip"`: sets `image_mean` and `image_std`, and wins over them.
    backend (`str`, *optional*, defaults to `self.backend`):
        `"pil"` (exact) or `"torch"` (faster, within 2 levels of 255).
    max_image_pixels (`int`, *optional*, defaults to `self.max_image_pixels`):
        Images with more pixels are refused before they are decoded.
    return_grid (`bool`, *optional*, defaults to `self.return_grid`):
        Whether to also return `grids`: `(columns, rows)` of every image.
    """

    crop_to_patches: bool | None
    min_patches: int | None
    max_patches: int | None
    use_thumbnail: bool | None
    pad2square: bool | None
    share_tile_budget: bool | None
    normalize_type: str | None
    backend: str | None
    max_image_pixels: int | None
    return_grid: bool | None


@dataclass(frozen=True)
class TileOptions:
    """How images become tiles: options of transformers' image processors and of `InternVLImageProcessorKwargs`."""

    do_resize: bool
    size: SizeDict
    resample: PILImageResampling | int | None
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: float | Sequence[float] | None
    image_std: float | Sequence[float] | None
    crop_to_patches: bool = True
    min_patches: int = 1
    max_patches: int = 12
    use_thumbnail: bool = True
    pad2square: bool = False
    share_tile_budget: bool = False
    backend: str = "pil"
    max_image_pixels: int | None = None
    return_grid: bool = False
    device: str | torch.device | None = None

    @classmethod
    def split(cls, kwargs: dict[str, Any]) -> tuple[TileOptions, dict[str, Any]]:
        """These options out of keyword arguments, and the other arguments."""
        names = {field.name for field in fields(cls)}
        own = {name: value for name, value in kwargs.items() if name in names}
        return cls(**own), {name: value for name, value in kwargs.items() if name not in names}

    def limits(self, sample_sizes: Sequence[int]) -> list[int]:
        """The maximum number of tiles of each image, thumbnail not counted, from the number of images per sample."""
        if self.share_tile_budget:
            return [tile_budget(self.max_patches, n) for n in sample_sizes for _ in range(n)]
        return [self.max_patches] * sum(sample_sizes)

    def tiled(self, limit: int) -> bool:
        """Whether an image with at most `limit` tiles is split at all."""
        return self.crop_to_patches and limit > 1

    def grid(self, width: int, height: int, limit: int) -> tuple[int, int]:
        """Columns and rows of an image; raises `ValueError` if its square would have too many pixels."""
        if self.tiled(limit):
            return _grid(width, height, self.size, self.min_patches, limit)
        if self.pad2square:
            check_square(width, height, self.max_image_pixels)
        return 1, 1


class InternVLImageProcessor(PilBackend):
    """Turns images into the tiles that the vision tower reads, as `dynamic_preprocess` and `build_transform` of the
    original training code do.

    A superset of transformers' `GotOcr2ImageProcessor`: same arguments, same outputs, but InternVL's values as class
    defaults. Takes PIL images, numpy arrays and torch tensors (H W C or C H W), paths, URLs, data URIs, the bytes of
    files, cells of tables (`{"bytes": ..., "path": ...}`), and lists or lists of lists of these. EXIF
    orientation is ignored and alpha dropped, as in the original code.

    White is 255, 1 in floating point numbers that all lie between 0 and 1 (they are not rescaled a second time), and
    65535 in `uint16` arrays, unless none of their values is above 255. Other values are refused. PIL images are
    converted as Pillow does: one of 16 bits (`I;16`) is clipped at 255, with a warning.

    Returns a `BatchFeature` with

    - `pixel_values`: the tiles of all images one after another, float32 `[tiles, 3, S, S]`; a list of tiles without
      `return_tensors`; uint8 if neither rescaled nor normalized;
    - `num_patches`: the number of tiles of each image, thumbnail included;
    - `grids`: with `return_grid=True`, a list of `(columns, rows)`.

    Raises `ValueError`, with the index of the image, on images that are empty, too large, broken, have the wrong
    number of channels or values that are not finite, and on limits that make no sense.
    """

    valid_kwargs = InternVLImageProcessorKwargs

    size = {"height": 448, "width": 448}
    resample = PILImageResampling.BICUBIC
    image_mean, image_std = NORMALIZE_TYPES["imagenet"]
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    crop_to_patches = True
    min_patches = 1
    max_patches = 12
    use_thumbnail = True
    pad2square = False
    share_tile_budget = False
    backend = "pil"
    max_image_pixels = 2**28  # 16384 x 16384, 1 GiB as Pillow holds it
    return_grid = False

    def __init__(self, **kwargs: Unpack[InternVLImageProcessorKwargs]):
        super().__init__(**kwargs)
        check_options(**{name: getattr(self, name) for name in ("size", "backend")})

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers', of settings that were looked at."""
        return super().from_dict(check_settings(image_processor_dict, cls), **kwargs)

    def _standardize_kwargs(self, normalize_type: str | None = None, **kwargs) -> dict:
        check_pair(kwargs.get("size"))
        kwargs |= {name: getattr(self, name) for name in _OWN_OPTIONS if kwargs.get(name, ...) is None}
        return with_statistics(super()._standardize_kwargs(**kwargs), normalize_type)

    def _validate_preprocess_kwargs(self, min_patches: int = 1, max_patches: int = 1, **kwargs) -> None:
        super()._validate_preprocess_kwargs(**kwargs)
        check_limits(min_patches, max_patches)
        check_options(**kwargs)
        check_statistics(**kwargs)
        size = kwargs["size"]
        if kwargs["crop_to_patches"] and size.height != size.width:
            raise ValueError(
                f"Tiles are square, got `size` {dict(size)}: give equal sides or `crop_to_patches=False`."
            )

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open paths, URLs, data URIs, base64 text and bytes of files; leave the rest, and all nesting, as it is."""
        given = unwrapped(image_url_or_urls)
        if isinstance(given, (list, tuple)):
            return [self.fetch_images(item) for item in given]
        if isinstance(given, (str, os.PathLike, bytes)):
            return open_image(given)
        if is_valid_image(given):
            return given
        raise TypeError(
            f"Expected an image (PIL image, array, tensor, path, URL) or lists of them, got {type(given)}."
        )

    def _preprocess_image_like_inputs(self, images: ImageInput, *args, **kwargs) -> BatchFeature:
        images = self.fetch_images(images)
        flat = make_flat_list_of_images(images)
        kwargs["sample_sizes"] = _sample_sizes(images, len(flat))
        return self._preprocess(flat, *args, **kwargs)

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        **kwargs,
    ) -> np.ndarray:
        """The pixels of one image, `[C, H, W]`: a view without a copy where that is possible."""
        return image_pixels(image, do_convert_rgb, input_data_format)

    def _preprocess(
        self,
        images: list[Any],
        *,
        return_tensors: str | TensorType | None = None,
        sample_sizes: Sequence[int] | None = None,
        **kwargs,
    ) -> BatchFeature:
        options, reading = TileOptions.split(kwargs)
        limits = options.limits(sample_sizes or [len(images)])
        grids = []  # of all images first, so that a bad one is refused before any is decoded
        for index, (image, limit) in enumerate(zip(images, limits, strict=True)):
            with error_context(f"Image {index}"):
                size = checked_size(image, reading.get("input_data_format"), options.max_image_pixels)
                grids.append(options.grid(*size, limit))
        counts = [grid_tiles(*grid, use_thumbnail=options.use_thumbnail) for grid in grids]

        parts = []
        for index, (image, limit, grid, count) in enumerate(zip(images, limits, grids, counts, strict=True)):
            with error_context(f"Image {index}"):
                resized = options.do_resize or options.tiled(limit)
                padded = options.pad2square and not options.tiled(limit)
                pixels: Any = None
                unit = Unit()
                if resized and options.backend == "pil" and not padded:  # no array is made of an image of Pillow
                    pixels = decoded_rgb(image, reading.get("do_convert_rgb"))
                if pixels is None:
                    pixels, unit = to_levels(self.process_image(image, **reading), keep_fractions=not resized)
                parts.append(_tiles(pixels, unit, count, grid if resized else None, options, padded))

        data: dict[str, Any] = {"pixel_values": _collect(parts, return_tensors), "num_patches": counts}
        if options.return_grid:
            data["grids"] = grids
        return BatchFeature(data=data, tensor_type=return_tensors, skip_tensor_conversion=["grids"])

    def get_number_of_image_patches(self, height: int, width: int, images_kwargs: dict | None = None) -> int:
        """How many tiles an image of `height x width` pixels becomes, thumbnail included, without looking at pixels.

        `images_kwargs` may override what the processor was set to, and may give `n_images`, the number of images
        that share the budget of a sample, this one included (with `share_tile_budget`).
        """
        options = {
            name: getattr(self, name)
            for name in ("crop_to_patches", "min_patches", "max_patches", "use_thumbnail", "share_tile_budget", "size")
        }
        options |= {name: value for name, value in (images_kwargs or {}).items() if value is not None}
        size = self._standardize_kwargs(size=options.get("patch_size", options["size"]))["size"]
        limit = options["max_patches"]
        if options["share_tile_budget"]:
            limit = tile_budget(limit, options.get("n_images", 1))
        if not options["crop_to_patches"] or limit == 1:
            return 1
        grid = _grid(width, height, size, options["min_patches"], limit)
        return grid_tiles(*grid, use_thumbnail=options["use_thumbnail"])


def check_pair(size: Any) -> None:
    """Raise `ValueError` for a `size` in a list that is not a height and a width."""
    if isinstance(size, (list, tuple)) and len(size) != 2:
        raise ValueError(f"`size` must give height and width, got {size!r:.100}.")


def with_statistics(kwargs: dict, normalize_type: str | None) -> dict:
    """`kwargs` with the `image_mean` and `image_std` of `normalize_type`; the shorthand itself is not kept."""
    if normalize_type is not None:
        if normalize_type not in NORMALIZE_TYPES:
            raise ValueError(f"`normalize_type` is one of {list(NORMALIZE_TYPES)}, got {normalize_type!r}.")
        kwargs["image_mean"], kwargs["image_std"] = NORMALIZE_TYPES[normalize_type]
    kwargs["normalize_type"] = None
    return kwargs


def check_options(
    size: SizeDict,
    backend: str | None = None,
    data_format: str | ChannelDimension | None = None,
    do_center_crop: bool | None = None,
    crop_size: SizeDict | None = None,
    do_pad: bool | None = None,
    **kwargs,
) -> None:
    """Raise `ValueError` for what transformers' processors have and these do not, rather than pass over it."""
    if backend not in BACKENDS:
        raise ValueError(f"`backend` is one of {list(BACKENDS)}, got {backend!r}.")
    if data_format not in (None, ChannelDimension.FIRST):
        raise ValueError(f"Tiles are [channels, height, width]; `data_format={data_format!r}` is not available.")
    if size is None or not (size.height and size.width and size.height > 0 and size.width > 0):
        raise ValueError(f"`size` must give 'height' and 'width' in pixels, got {size and dict(size)}.")
    if do_pad or (do_center_crop and crop_size != size):
        raise ValueError("Images are squashed onto tiles: `do_pad` and `do_center_crop` are not available.")


def _sample_sizes(images: Any, total: int) -> list[int]:
    """How many images each sample has: inner lists are samples, anything else is one sample."""
    if isinstance(images, list) and images and all(isinstance(item, list) for item in images):
        return [len(item) for item in images]
    return [total]


def _grid(width: int, height: int, size: SizeDict, min_patches: int, max_patches: int) -> tuple[int, int]:
    return select_grid(
        width, height, tile_size=size.height, min_tiles=min(min_patches, max_patches), max_tiles=max_patches
    )


def _tiles(
    pixels: Any, unit: Unit, count: int, grid: tuple[int, int] | None, options: TileOptions, padded: bool
) -> torch.Tensor:
    """The tiles of one image, `[count, C, S, S]`; without a grid the image as it is, `[1, C, H, W]`."""
    channels = 3 if isinstance(pixels, Image.Image) else len(pixels)
    affine = scale_and_shift(
        channels,
        unit,
        options.do_rescale,
        options.rescale_factor,
        options.do_normalize,
        options.image_mean,
        options.image_std,
    )
    if padded:
        pixels = pad_to_square(pixels, options.image_mean, unit)
    shape = pixels.shape[1:] if grid is None else (options.size.height, options.size.width)
    tiles = empty_tiles(count, channels, *shape, pixels, affine, options.device)
    write_tiles(pixels, tiles, grid, affine, options.resample, options.backend)
    return tiles


def _collect(parts: list[torch.Tensor], return_tensors: str | TensorType | None) -> Any:
    """The tiles of all images as one tensor or array if asked for one, else as a list."""
    if return_tensors is None:
        return [tile for tiles in parts for tile in tiles]
    if len({tiles.shape[1:] for tiles in parts}) > 1:
        shapes = sorted({tuple(tiles.shape[1:]) for tiles in parts})
        raise ValueError(
            f"Images of different shapes {shapes} cannot be one tensor: resize them, or do not ask for one."
        )
    pixels = parts[0] if len(parts) == 1 else torch.cat(parts)
    return pixels.cpu().numpy() if TensorType(return_tensors) == TensorType.NUMPY else pixels
