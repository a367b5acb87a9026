# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Boxes and quadrilaterals drawn into an image."""

import pytest
from PIL import Image

from transformers_internvl.visualization import draw_regions
from transformers_internvl.visualization.regions import COLOURS


def test_outlines_lie_where_the_regions_are():
    image = Image.new("RGB", (200, 100), "white")
    drawing = draw_regions(image, [("", (20, 30, 120, 80)), ("b", (150, 40, 190, 50, 180, 90, 140, 80))])
    for place in [(20, 50), (120, 50), (70, 30), (70, 80)]:
        assert drawing.getpixel(place) == COLOURS[0]
    assert drawing.getpixel((170, 45)) == COLOURS[1]
    assert drawing.getpixel((70, 55)) == (255, 255, 255) and image.getcolors() == [(20000, (255, 255, 255))]


def test_regions_of_one_label_have_one_colour_and_labels_stay_inside():
    image = Image.new("RGB", (60, 60), "white")
    regions = [("a dog", (0, 0, 59, 59)), ("a dog", (10, 20, 50, 50)), ("cat\n", (-9, 30, 70, 40))]
    drawing = draw_regions(image, regions)
    colours = {colour for _, colour in drawing.getcolors(3600)}
    assert COLOURS[0] in colours and COLOURS[1] in colours and COLOURS[2] not in colours
    assert drawing.size == (60, 60)


def test_other_numbers_of_corners_are_refused():
    with pytest.raises(ValueError, match="4 numbers .* or 8 .*, got 5"):
        draw_regions(Image.new("RGB", (9, 9)), [("a", (1, 2, 3, 4, 5))])
