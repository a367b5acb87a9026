# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Settings of processors with which images would become NaN, infinity or nothing are refused, wherever they are."""

import math

import pytest
import torch
from PIL import Image

from transformers_internvl import InternVLImageProcessor, InternVLVideoProcessor
from transformers_internvl.processing.images.image_processing_llava import InternVLLlavaImageProcessor

IMAGE = Image.new("RGB", (30, 20), (1, 128, 255))


def tiles(**settings):
    return InternVLImageProcessor(size=28, **settings)(IMAGE, return_tensors="pt")["pixel_values"]


def tiles_by_call(**settings):
    return InternVLImageProcessor(size=28)(IMAGE, return_tensors="pt", **settings)["pixel_values"]


def frames(**settings):
    return InternVLVideoProcessor(size=28, **settings)([[IMAGE]], return_tensors="pt")["pixel_values_videos"]


def squares(**settings):
    return InternVLLlavaImageProcessor(**settings)(IMAGE, return_tensors="pt")["pixel_values"]


WAYS = [tiles, tiles_by_call, frames, squares]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("image_std", 0.0, "`image_std` must be finite, and not 0"),
        ("image_std", [1.0, 0.0, 1.0], "`image_std` must be finite, and not 0"),
        ("image_std", math.nan, "`image_std` must be finite"),
        ("image_std", 1e-300, "do not fit into float32"),
        ("image_mean", [0.5, 0.5, math.inf], "`image_mean` must be finite"),
        ("image_mean", [1e300] * 3, "do not fit into float32"),
        ("rescale_factor", math.inf, "`rescale_factor` must be finite"),
        ("rescale_factor", math.nan, "`rescale_factor` must be finite"),
        ("rescale_factor", 1e300, "do not fit into float32"),
        ("rescale_factor", 0.0, "nothing of an image is left"),
    ],
)
def test_settings_that_leave_no_numbers_are_refused(way, name, value, reason):
    with pytest.raises(ValueError, match=reason):
        way(**{name: value})


@pytest.mark.parametrize("way", WAYS)
def test_settings_that_are_not_used_are_not_looked_at(way):
    assert torch.isfinite(way(image_std=0.0, do_normalize=False)).all()
    assert torch.isfinite(way(rescale_factor=math.inf, do_rescale=False)).all()
    assert torch.isfinite(way(rescale_factor=1.0, image_std=[-2.0, 1e-3, 1e6])).all()
