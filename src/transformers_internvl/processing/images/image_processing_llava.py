# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images of InternVL-Chat v1: `InternVLLlavaImageProcessor`.

One image is one square: padded to a square with the mean colour (or not), the shorter side resized, the centre cropped
out. No tiles.
"""

from typing import Any

import numpy as np
from transformers import BatchFeature, ImagesKwargs, LlavaImageProcessorPil, TensorType
from transformers.image_utils import ChannelDimension, ImageInput, SizeDict, make_flat_list_of_images
from transformers.processing_utils import Unpack

from .image_processing import NORMALIZE_TYPES, InternVLImageProcessor
from .pixels import check_square, check_statistics, checked_size, error_context, image_pixels, rescale, to_levels
from .settings import check_settings


class InternVLLlavaImageProcessor(LlavaImageProcessorPil):
    """The pixels of LLaVA's code with InternVL's numbers: transformers' class, with this package's inputs and checks.

    Takes what [`InternVLImageProcessor`] takes, and as it ignores EXIF orientation and drops alpha. `do_pad` pads to a
    square with the mean colour first (`image_aspect_ratio: pad`).

    Returns a `BatchFeature` with `pixel_values`, float32 `[images, 3, side, side]` (a list without
    `return_tensors`), and `num_patches`, 1 for every image.

    Raises `ValueError`, with the index of the image, on images that are empty, too large, broken or have the wrong
    number of channels.
    """

    size = {"shortest_edge": 336}
    crop_size = {"height": 336, "width": 336}
    image_mean, image_std = NORMALIZE_TYPES["imagenet"]
    do_pad = True
    max_image_pixels = InternVLImageProcessor.max_image_pixels

    def __init__(self, **kwargs: Unpack[ImagesKwargs]):
        super().__init__(**kwargs)

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers', of settings that were looked at."""
        return super().from_dict(check_settings(image_processor_dict, cls), **kwargs)

    fetch_images = InternVLImageProcessor.fetch_images

    def _preprocess_image_like_inputs(self, images: ImageInput, *args, **kwargs) -> BatchFeature:
        return self._preprocess(make_flat_list_of_images(self.fetch_images(images)), *args, **kwargs)

    def _validate_preprocess_kwargs(self, **kwargs) -> None:
        super()._validate_preprocess_kwargs(**kwargs)
        check_statistics(**kwargs)

    def process_image(
        self,
        image: Any,
        do_convert_rgb: bool | None = None,
        input_data_format: str | ChannelDimension | None = None,
        **kwargs,
    ) -> np.ndarray:
        """The pixels of one image, `[C, H, W]`."""
        checked_size(image, input_data_format, self.max_image_pixels)
        return image_pixels(image, do_convert_rgb, input_data_format)

    def _preprocess(
        self,
        images: list[Any],
        *,
        do_rescale: bool,
        rescale_factor: float,
        return_tensors: str | TensorType | None = None,
        **kwargs,
    ) -> BatchFeature:
        as_they_are = not (kwargs["do_resize"] or kwargs["do_pad"])
        pixels = []
        for index, image in enumerate(images):
            with error_context(f"Image {index}"):
                self._check_room(image, **kwargs)
                pixel_array = self.process_image(image, kwargs.get("do_convert_rgb"), kwargs.get("input_data_format"))
                levels, unit = to_levels(pixel_array, keep_fractions=as_they_are)
                factor = rescale(unit, do_rescale, rescale_factor)
                own = {**kwargs, "do_rescale": factor != 1, "rescale_factor": factor, "return_tensors": None}
                pixels += super()._preprocess([levels], **own)["pixel_values"]
        data = {"pixel_values": pixels, "num_patches": [1] * len(pixels)}
        return BatchFeature(data, tensor_type=return_tensors)

    def _check_room(
        self, image: Any, do_pad: bool | None, do_resize: bool, size: SizeDict, input_data_format=None, **kwargs
    ) -> None:
        """Raise `ValueError` if a long thin image would become too large on its way to the square."""
        width, height = checked_size(image, input_data_format, self.max_image_pixels)
        if do_pad:
            check_square(width, height, self.max_image_pixels)
        elif do_resize and size.shortest_edge:
            longest = size.shortest_edge * max(width, height) // min(width, height)
            if self.max_image_pixels is not None and size.shortest_edge * longest > self.max_image_pixels:
                raise ValueError(
                    f"has {width} x {height} pixels: with {size.shortest_edge} pixels on its shorter side it would "
                    f"have more than the {self.max_image_pixels} allowed; crop it first or raise `max_image_pixels`"
                )

    def get_number_of_image_patches(self, height: int, width: int, images_kwargs: dict | None = None) -> int:
        """One, whatever the image."""
        return 1


__all__ = ["InternVLLlavaImageProcessor"]
