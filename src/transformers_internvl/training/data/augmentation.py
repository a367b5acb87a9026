# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Random JPEG: images of the web are compressed, so that those of training should be (InternVL 2.5 report, 3.4).

Every tile, the thumbnail too, is written as JPEG with a quality drawn from 75 to 100 and read again, before its levels
are scaled and shifted. Videos are left as they are.
"""

from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature

from ...processing.images.image_processing import InternVLImageProcessor
from ...processing.images.pixels import Unit, scale_and_shift

QUALITIES = (75, 100)
"""Lowest and highest JPEG quality, both drawn."""


class RandomJpeg:
    """An image processor whose tiles went through JPEG. Everything else is the processor's that it wraps.

    Args:
        image_processor: makes the tiles.
        seed: numbers from which the qualities are drawn, such as of the run, the epoch and the sample. Equal seeds
            give equal pixels, whatever else was drawn before.

    Calling it takes and returns what the processor does, with `pixel_values` `(T, 3, S, S)` as a tensor.
    """

    def __init__(self, image_processor: InternVLImageProcessor, seed: int | list[int]):
        self.image_processor = image_processor
        self.rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.image_processor, name)

    def __call__(self, images: Any, **options: Any) -> BatchFeature:
        plain = self.image_processor
        rescale, normalize, factor, mean, std = (
            getattr(plain, name) if options.get(name) is None else options[name]
            for name in ("do_rescale", "do_normalize", "rescale_factor", "image_mean", "image_std")
        )
        # Whatever white is in the images, 255 in the tiles.
        levels = {**options, "do_rescale": True, "rescale_factor": 1.0, "do_normalize": False, "return_tensors": "pt"}
        outputs = plain(images, **levels)
        tiles = torch.stack([self._degraded(tile) for tile in outputs["pixel_values"]])  # (T, 3, S, S) uint8
        affine = scale_and_shift(tiles.shape[1], Unit(), rescale, factor, normalize, mean, std)
        if affine is not None:
            scale, shift = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in affine)
            tiles = torch.addcmul(shift, tiles.float(), scale)
        outputs["pixel_values"] = tiles
        return outputs

    def _degraded(self, tile: torch.Tensor) -> torch.Tensor:
        quality = int(self.rng.integers(QUALITIES[0], QUALITIES[1] + 1))
        return torch.from_numpy(through_jpeg(tile.permute(1, 2, 0).numpy(), quality)).permute(2, 0, 1)


def through_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Pixels `(H, W, 3)` uint8 as they come back from a JPEG file of this quality."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.array(image)


__all__ = ["QUALITIES", "RandomJpeg", "through_jpeg"]
