# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images with one very long side: exact up to a length, within little memory and time, and refused beyond it."""

import time

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from transformers_internvl import InternVLImageProcessor, InternVLVideoProcessor
from transformers_internvl.processing.images.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.images.pixels import MAX_SIDE
from transformers_internvl.processing.images.resampling import Target, resize_like_pillow

SIDE = 28


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("length", [2**14, 100_000])
@pytest.mark.parametrize("upright", [False, True])
def test_long_sides_are_resized_as_pillow_does(length, upright):
    image = noise(length, 3)
    image = image.transpose(Image.Transpose.ROTATE_90) if upright else image
    columns, rows = (1, 4) if upright else (4, 1)
    canvas = np.asarray(image.resize((columns * SIDE, rows * SIDE), Image.Resampling.BICUBIC))
    expected = canvas.reshape(rows, SIDE, columns, SIDE, 3).transpose(0, 2, 4, 1, 3)
    target = Target(torch.zeros(expected.shape, dtype=torch.uint8))
    resize_like_pillow(np.asarray(image).transpose(2, 0, 1), [target], None)
    np.testing.assert_array_equal(target.tiles.numpy(), expected)


@pytest.mark.parametrize("backend", ["pil", "torch"])
@pytest.mark.parametrize("size", [(MAX_SIDE, 1), (1, MAX_SIDE)])
def test_the_longest_sides_take_little(size, backend):
    """Such an image has a quarter of a million pixels: as a square it would be 512 pixels wide."""
    processor, before = InternVLImageProcessor(backend=backend), psutil.Process().memory_info().rss
    processor(noise(448, 448))
    start = time.process_time()
    tiles = processor(Image.new("L", size, 7), return_tensors="pt")["pixel_values"]
    assert time.process_time() - start < 5 and tiles.shape == (13, 3, 448, 448)
    assert psutil.Process().memory_info().rss - before < 250 << 20


class NotDecoded(Image.Image):
    """An image that must not be looked at."""

    def __init__(self, width: int, height: int):
        super().__init__()
        self._size, self._mode = (width, height), "L"

    def load(self):
        raise AssertionError("decoded")


@pytest.mark.parametrize("size", [(64_000_000, 1), (1, 64_000_000), (4_000_000, 1), (MAX_SIDE + 1, 60)])
def test_longer_ones_are_refused_before_they_are_decoded(size):
    for read in (
        InternVLImageProcessor(size=SIDE),
        InternVLImageProcessor(size=SIDE, backend="torch"),
        InternVLImageProcessor(size=SIDE, crop_to_patches=False),
        InternVLImageProcessor(size=SIDE, do_resize=False, crop_to_patches=False, max_image_pixels=None),
        InternVLLlavaImageProcessor(),
        lambda picture: InternVLVideoProcessor(size=SIDE)([[picture]]),
    ):
        with pytest.raises(ValueError, match=f"a side longer than {MAX_SIDE}; crop or shrink it first"):
            read(NotDecoded(*size))
    with pytest.raises(ValueError, match=f"Image 1: .*a side longer than {MAX_SIDE}"):
        InternVLImageProcessor(size=SIDE)([noise(9, 9), NotDecoded(*size)])
    with pytest.raises(ValueError, match=f"a side longer than {MAX_SIDE}"):
        InternVLImageProcessor(size=SIDE)(np.broadcast_to(np.uint8(0), (*size, 3)))


@pytest.mark.parametrize("size", [(100_000, 1), (1, 100_000), (2**14 + 1, 2)])
def test_squares_around_thin_images_are_bounded(size):
    squares = InternVLImageProcessor(size=SIDE, crop_to_patches=False, pad2square=True)
    for read in (squares, InternVLLlavaImageProcessor(do_pad=True)):
        with pytest.raises(ValueError, match="the square around it would have more than the 268435456 allowed"):
            read([NotDecoded(*size)])
    assert len(squares([noise(300, 2)])["pixel_values"]) == 1


def test_a_short_side_that_is_made_longer_is_bounded():
    with pytest.raises(ValueError, match="336 pixels on its shorter side it would have more than the 268435456"):
        InternVLLlavaImageProcessor(do_pad=False)([NotDecoded(100_000, 1)])
    assert (
        InternVLLlavaImageProcessor(do_pad=False)([noise(60, 2)], return_tensors="pt")["pixel_values"].shape[3] == 336
    )
