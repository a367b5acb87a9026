# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Drawn scenes: what the mask says is what the image shows."""

import numpy as np

from lab.nano.drawing import Style
from lab.nano.scenes import CLASSES, draw_scene

STYLE = Style(min_side=90, max_side=130, smallest=0.3)


def test_a_seed_gives_one_scene():
    one, same, other = (draw_scene(seed, STYLE) for seed in ("a", "a", "b"))
    assert one.image.tobytes() == same.image.tobytes() and (one.mask == same.mask).all() and one.kinds == same.kinds
    assert one.image.size != other.image.size or one.image.tobytes() != other.image.tobytes()


def test_masks_show_the_kinds_that_there_are():
    counts = set()
    for seed in range(60):
        scene = draw_scene(seed, STYLE, max_shapes=3)
        assert scene.mask.dtype == np.uint8 and scene.mask.shape == scene.image.size[::-1]
        classes = {CLASSES[index] for index in np.unique(scene.mask)}
        assert classes == {"background", *scene.kinds}
        counts.add(len(scene.kinds))
        areas = [(scene.mask == CLASSES.index(kind)).sum() for kind in scene.kinds]
        assert areas == sorted(areas, reverse=True)
    assert counts == {1, 2, 3}


def test_the_mask_lies_where_the_shape_is():
    """Inside a mask, away from its edge, the image differs from the paper around it."""
    seen = 0
    for seed in range(40):
        scene = draw_scene(seed, STYLE, max_shapes=1)
        levels = np.asarray(scene.image, dtype=float)
        inside = scene.mask > 0
        edge = inside & ~(
            np.roll(inside, 4, 0) & np.roll(inside, -4, 0) & np.roll(inside, 4, 1) & np.roll(inside, -4, 1)
        )
        core = inside & ~edge
        paper = levels[~inside].mean(0)
        distance = np.linalg.norm(levels - paper, axis=-1)
        if np.median(distance[core]) > 60:  # filled, not only outlined
            assert np.median(distance[~inside]) < np.median(distance[core]) / 2
            seen += 1
    assert seen > 25
