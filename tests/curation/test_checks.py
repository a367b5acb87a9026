# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The step `images` at its bounds: sides, ratios, and which of several images is named."""

from io import BytesIO

import pytest
from PIL import Image

from transformers_internvl.curation.checks import Images, ImagesOptions
from transformers_internvl.curation.documents import StepPlace


def picture(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def step(**options) -> Images:
    return Images(StepPlace("out", 1, "images"), ImagesOptions(**options))


SMALL = ("small image", "its shorter side has 7 pixels, expected 8")
LONG = ("long image", "41 to 20 pixels, expected 2 to 1")


@pytest.mark.parametrize(
    ("size", "options", "found"),
    [
        ((8, 8), {}, None),
        ((8, 9), {}, None),
        ((7, 20), {}, SMALL),
        ((20, 7), {}, SMALL),
        ((7, 7), {"min_side": 7}, None),
        ((20, 40), {"max_ratio": 2.0}, None),
        ((20, 41), {"max_ratio": 2.0}, LONG),
        ((41, 20), {"max_ratio": 2.0}, LONG),
        ((8, 1600), {}, None),
        ((8, 1601), {}, ("long image", "1601 to 8 pixels, expected 200 to 1")),
    ],
)
def test_sides_of_images(size, options, found):
    finding = step(**options)._examine(picture(*size))
    assert finding is None if found is None else (finding.reason, finding.detail) == found


def test_an_image_that_is_none():
    assert step()._examine(b"no image").reason == "broken image"
    assert step()._examine(picture(9, 9)[:40]).reason == "broken image"
