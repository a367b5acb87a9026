# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is said of images that a model saw, and how regions are drawn."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from transformers_internvl import InternVLProcessor
from transformers_internvl.visualization.drawing import _outline
from transformers_internvl.visualization.seen import images_seen


@pytest.mark.parametrize("square", [True, False])
def test_only_an_image_of_one_tile_is_padded(square):
    settings = SimpleNamespace(pad2square=square, fetch_images=lambda image: image)
    items = [{"type": "image", "image": Image.new("RGB", (9, 6))} for _ in range(3)]
    inputs = {"grids": [(1, 1), (2, 1), (1, 1)], "num_patches": [1, 3, 1], "input_ids": 0}
    chat = [{"role": "user", "content": items[:2]}, {"role": "user", "content": items[2:]}]
    found = images_seen(SimpleNamespace(image_processor=settings), chat, inputs)
    assert [seen.padded for seen in found] == [square, False, square]
    assert [(seen.grid, seen.tiles) for seen in found] == [((1, 1), 1), ((2, 1), 3), ((1, 1), 1)]
    assert inputs == {"input_ids": 0}


@pytest.mark.parametrize("region", [(2, 3, 8, 7), (2, 3, 8, 3, 8, 7, 2, 7)])
def test_a_region_is_outlined_not_filled(region):
    axes = Figure().subplots()
    _outline(axes, region, "dog")
    (patch,) = axes.patches
    assert not patch.get_fill()
    assert np.array_equal(patch.get_xy()[:4], [(2, 3), (8, 3), (8, 7), (2, 7)])
    (text,) = axes.texts
    assert text.get_text() == "dog" and text.get_position() == (2, 3)


def test_a_tile_of_448_pixels_has_256_tokens():
    """A quarter of its 32 x 32 patches: the processor's default."""
    assert (
        inspect.signature(InternVLProcessor.__init__).parameters["image_seq_length"].default == (448 // 14) ** 2 // 4
    )
