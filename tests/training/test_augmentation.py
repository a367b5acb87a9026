# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Random JPEG: the qualities that are drawn, by what seed, and that nothing else changes."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.training.data import augmentation
from transformers_internvl.training.data.augmentation import RandomJpeg, through_jpeg

SIDE = 56


@pytest.fixture
def processor():
    return InternVLImageProcessor(size={"height": SIDE, "width": SIDE}, max_patches=4)


def noise(columns=2, rows=2):
    levels = np.random.default_rng(0).integers(0, 256, (SIDE * rows, SIDE * columns, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def test_only_the_jpeg_differs(processor, monkeypatch):
    plain = processor([noise()], return_tensors="pt")
    degraded = RandomJpeg(processor, 0)([noise()], return_tensors="pt")
    assert degraded.keys() == plain.keys() and degraded["num_patches"].tolist() == [5]
    assert degraded["pixel_values"].shape == plain["pixel_values"].shape
    assert degraded["pixel_values"].dtype == torch.float32
    assert not torch.equal(degraded["pixel_values"], plain["pixel_values"])
    monkeypatch.setattr(augmentation, "through_jpeg", lambda pixels, quality: pixels.copy())
    same = RandomJpeg(processor, 0)([noise()], return_tensors="pt")
    torch.testing.assert_close(same["pixel_values"], plain["pixel_values"], rtol=0, atol=1e-6)


def test_every_tile_has_its_own_quality_from_75_to_100(processor, monkeypatch):
    drawn = []
    monkeypatch.setattr(augmentation, "through_jpeg", lambda pixels, quality: drawn.append(quality) or pixels.copy())
    for seed in range(200):
        RandomJpeg(processor, seed)([noise()])
    assert len(drawn) == 1000 and set(drawn) == set(range(75, 101))


def test_seeds(processor):
    def pixels(seed):
        return RandomJpeg(processor, seed)([noise()])["pixel_values"]

    assert torch.equal(pixels([1, 2, 3]), pixels([1, 2, 3])) and not torch.equal(pixels([1, 2, 3]), pixels([1, 2, 4]))


def test_levels(processor):
    levels = RandomJpeg(processor, 0)([noise()], do_rescale=False, do_normalize=False)["pixel_values"]
    assert levels.dtype == torch.uint8
    flat = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    assert np.array_equal(through_jpeg(flat, 75), flat)
    rough = np.asarray(noise(1, 1))
    errors = [np.abs(through_jpeg(rough, quality).astype(int) - rough).mean() for quality in (100, 75)]
    assert errors[0] < errors[1]


def test_it_is_an_image_processor(processor):
    wrapped = RandomJpeg(processor, 0)
    assert wrapped.max_patches == 4 and wrapped.get_number_of_image_patches(112, 112) == 5


@pytest.mark.parametrize("seed", [3, [5, 0, 1]])
def test_tiles_are_what_pillow_reads_back(processor, seed):
    """Each in its own orientation, with a quality of its own, in the order of the tiles; the thumbnail, too."""
    pictures = [noise(2, 1), noise(1, 2)]
    raw = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    plain, found = (make(pictures, **raw)["pixel_values"] for make in (processor, RandomJpeg(processor, seed)))
    qualities = np.random.default_rng(seed)
    assert len(plain) == len(found) == 6
    for before, after in zip(plain, found, strict=True):
        file = BytesIO()
        levels = before.to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(file, "JPEG", quality=int(qualities.integers(75, 101)))
        assert np.array_equal(np.asarray(Image.open(file)), after.permute(1, 2, 0).numpy())


def test_settings_of_a_call_and_of_the_object(processor, monkeypatch):
    monkeypatch.setattr(augmentation, "through_jpeg", lambda pixels, quality: pixels.copy())
    for options in (
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
        {"rescale_factor": 1 / 127.5},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
    ):
        plain, same = (
            make([noise()], return_tensors="pt", **options) for make in (processor, RandomJpeg(processor, 0))
        )
        torch.testing.assert_close(same["pixel_values"].float(), plain["pixel_values"].float(), rtol=0, atol=1e-5)
        assert same["num_patches"].tolist() == plain["num_patches"].tolist()
        for name, value in options.items():
            setattr(processor, name, value)
        own = RandomJpeg(processor, 0)([noise()], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(own, same["pixel_values"])
