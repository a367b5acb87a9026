# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mean intersection over union, against counting pixel by pixel."""

import math
from types import SimpleNamespace

import pytest
import torch

from transformers_internvl.evaluation.segmentation import MeanIoU, image_for_windows, segment_image


def counted(predictions, labels, num_labels, ignore_index):
    """Pixel by pixel, as the definition reads."""
    pixels = [
        (int(p), int(t)) for p, t in zip(predictions.ravel(), labels.ravel(), strict=True) if int(t) != ignore_index
    ]
    iou = []
    for label in range(num_labels):
        both = sum(p == label and t == label for p, t in pixels)
        either = sum(p == label or t == label for p, t in pixels)
        iou.append(both / either if either else math.nan)
    return iou, sum(p == t for p, t in pixels) / len(pixels)


@pytest.mark.parametrize("ignore_index", [255, 0])
def test_it_counts_what_the_definition_says(ignore_index):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (6, 9, 7), generator=generator)
    predictions = torch.where(
        torch.rand(labels.shape, generator=generator) < 0.6,
        labels,
        torch.randint(0, 5, labels.shape, generator=generator),
    )
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = ignore_index
    score = MeanIoU(6, ignore_index)
    score.update(predictions[:2], labels[:2])
    score.update(predictions[2:], labels[2:])  # batches add up
    result = score.compute()
    iou, accuracy = counted(predictions, labels, 6, ignore_index)
    assert result.iou == pytest.approx(iou, nan_ok=True)
    assert math.isnan(result.iou[5])  # neither there nor predicted
    assert not math.isnan(result.iou[4])  # predicted, not there
    known = [value for value in iou if not math.isnan(value)]
    assert result.mean_iou == pytest.approx(sum(known) / len(known))
    assert result.pixel_accuracy == pytest.approx(accuracy)


def test_images_of_different_sizes_add_up():
    score = MeanIoU(2)
    score.update(torch.zeros(3, 3), torch.zeros(3, 3))
    score.update(torch.ones(1, 5), torch.zeros(1, 5))
    assert score.compute().iou == (9 / 14, 0.0)


def test_what_cannot_be_counted_is_refused():
    score = MeanIoU(3)
    with pytest.raises(ValueError, match="nothing to score"):
        score.compute()
    with pytest.raises(ValueError, match="differ in shape"):
        score.update(torch.zeros(2, 4, 4), torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="`labels` must be 0 to 2"):
        score.update(torch.zeros(4, 4), torch.full((4, 4), 3))
    with pytest.raises(ValueError, match="`predictions` must be 0 to 2"):
        score.update(torch.full((4, 4), -1), torch.zeros(4, 4))


def test_rows_are_labels_and_255_is_left_out():
    score = MeanIoU(3)
    score.update(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[1, 1, 1, 255]]))
    assert score.counts.tolist() == [[0, 0, 0], [2, 1, 0], [0, 0, 0]]
    assert score.compute().pixel_accuracy == pytest.approx(1 / 3)
    assert score.compute().mean_iou == pytest.approx((0 + 1 / 3) / 2)  # class 2 is neither there nor predicted
    with pytest.raises(ValueError, match="`labels` must be 0 to 2 .*got 254 to 254"):
        score.update(torch.tensor([0]), torch.tensor([254]))
    with pytest.raises(ValueError, match="`predictions` must be 0 to 2 .*got 0 to 3"):
        score.update(torch.tensor([0, 3]), torch.tensor([0, 2]))
    assert int(score.counts.sum()) == 3


def test_a_single_pixel_is_a_score():
    score = MeanIoU(2)
    score.update(torch.tensor([1]), torch.tensor([1]))
    assert score.compute().mean_iou == score.compute().pixel_accuracy == 1.0


class EveryPixelItsOwn(torch.nn.Module):
    """A model of two classes, whose scores are the first two channels of the pixels; keeps the windows."""

    device, dtype, config = torch.device("cpu"), torch.float32, SimpleNamespace(num_labels=2)

    def __init__(self):
        super().__init__()
        self.windows = []

    def forward(self, pixel_values):
        self.windows.append(tuple(pixel_values.shape[-2:]))
        return SimpleNamespace(logits=pixel_values[:, :2])


@pytest.mark.parametrize(("size", "windows"), [((8, 8), 1), ((8, 11), 2), ((13, 9), 6), ((14, 8), 3)])
def test_windows_cover_an_image_and_are_averaged(size, windows):
    """Scores of a pixel are the same in every window, so that their mean is that score."""
    pixels = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    model = EveryPixelItsOwn()
    found = segment_image(model, pixels, size, side=8, stride=3)
    assert torch.equal(found, pixels[:2].argmax(dim=0)) and model.windows == [(8, 8)] * windows
    for smaller in (pixels[:, 1 - 8 :], pixels[..., 1 - 8 :]):
        with pytest.raises(ValueError, match="smaller than a window of 8"):
            segment_image(model, smaller, size, side=8, stride=3)


def test_an_image_is_resized_to_a_window():
    levels = torch.randint(0, 256, (3, 21, 28), generator=torch.Generator().manual_seed(0))
    assert torch.equal(image_for_windows(levels, side=21, multiple=7), levels.float())  # neither step does anything
    for (height, width), expected in (((20, 30), (14, 21)), ((30, 20), (21, 14)), ((28, 43), (14, 28))):
        resized = image_for_windows(torch.full((3, height, width), 77), side=14, multiple=7)
        assert resized.shape == (3, *expected) and (resized == 77).all()
    assert image_for_windows(levels, side=14, multiple=7).frac().eq(0).all()  # whole levels
