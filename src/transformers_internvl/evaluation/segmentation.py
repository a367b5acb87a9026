# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mean intersection over union, added up over a whole data set as mmsegmentation's `mIoU` does.

Shape letters: T images, N classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class SegmentationScore:
    """`iou`: N floats, intersection over union per class, NaN where a class is neither there nor predicted.

    `mean_iou`: their mean, those aside. `pixel_accuracy`: share of the labelled pixels that are right.
    """

    iou: tuple[float, ...]
    mean_iou: float
    pixel_accuracy: float


class MeanIoU:
    """Counts pixels batch by batch. All pixels weigh the same.

    Args:
        num_labels: N.
        ignore_index: label of pixels that do not count.
    """

    def __init__(self, num_labels: int, ignore_index: int = 255):
        self.num_labels, self.ignore_index = num_labels, ignore_index
        self.counts = torch.zeros(num_labels, num_labels, dtype=torch.int64)  # [label, prediction]

    def update(self, predictions: torch.Tensor, labels: torch.Tensor) -> None:
        """Add images: classes (int), predicted and true, of one shape `(..., height, width)`.

        Raises:
            ValueError: shapes differ, or a class is outside of 0 to N - 1.
        """
        if predictions.shape != labels.shape:
            raise ValueError(f"Predictions {(*predictions.shape,)} and labels {(*labels.shape,)} differ in shape.")
        counted = labels != self.ignore_index
        labels, predictions = labels[counted].long(), predictions[counted].long()
        for name, classes in (("labels", labels), ("predictions", predictions)):
            if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < self.num_labels:
                raise ValueError(
                    f"`{name}` must be 0 to {self.num_labels - 1} (or {self.ignore_index} where a label is to be "
                    f"ignored), got {int(classes.min())} to {int(classes.max())}."
                )
        cells = torch.bincount(labels * self.num_labels + predictions, minlength=self.num_labels**2)
        self.counts += cells.view_as(self.counts).to(self.counts.device)

    def add_cells(self, cells: Iterable[Sequence[int]]) -> None:
        """Add pixels that were counted before: triples of class, predicted class and number, as [`cells`] gives."""
        for label, prediction, number in cells:
            self.counts[label, prediction] += number

    def cells(self) -> list[list[int]]:
        """What was counted: class, predicted class and number of pixels, where there are any."""
        return [[*map(int, place), int(self.counts[tuple(place)])] for place in self.counts.nonzero()]

    def compute(self) -> SegmentationScore:
        """The score of all images so far.

        Raises:
            ValueError: there was no labelled pixel.
        """
        total = int(self.counts.sum())
        if not total:
            raise ValueError("No labelled pixel was counted: there is nothing to score.")
        hits = self.counts.diag()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        iou = hits.double() / union  # 0 / 0 is NaN
        return SegmentationScore(tuple(iou.tolist()), float(iou.nanmean()), int(hits.sum()) / total)


@torch.no_grad()
def segment_image(
    model: Any, pixels: torch.Tensor, size: tuple[int, int], *, side: int = 504, stride: int = 322
) -> torch.Tensor:
    """The class of every pixel of an image, in windows whose scores are averaged where they overlap.

    Args:
        model: such as [`InternVLVisionForSemanticSegmentation`], with `logits` `(T, N, height, width)` and
            `config.num_labels`.
        pixels: `(3, height, width)`, normalized; both sides at least `side`.
        size: height and width of the result, to which the scores are resized bilinearly.
        side: of the square windows, in pixels.
        stride: from window to window; the last ones end at the border.

    Returns:
        `(height, width)`, integers, on the CPU.

    Raises:
        ValueError: an image that is smaller than a window.

    Source: mmsegmentation 0.30 `slide_inference`, with the settings of `segmentation/configs/intern_vit_6b`.
    """
    height, width = pixels.shape[-2:]
    if min(height, width) < side:
        raise ValueError(
            f"An image of {height} x {width} pixels is smaller than a window of {side}: enlarge it first."
        )
    total = torch.zeros(model.config.num_labels, height, width)
    counts = torch.zeros(height, width)
    for top in _starts(height, side, stride):
        for left in _starts(width, side, stride):
            window = pixels[None, :, top : top + side, left : left + side].to(model.device, model.dtype)
            logits = model(pixel_values=window).logits[0].float().cpu()  # (N, side, side)
            total[:, top : top + side, left : left + side] += logits
            counts[top : top + side, left : left + side] += 1
    return interpolate((total / counts)[None], size=size, mode="bilinear", align_corners=False)[0].argmax(dim=0)


def _starts(length: int, side: int, stride: int) -> Iterator[int]:
    """Where windows begin along a side."""
    for number in range(max(length - side + stride - 1, 0) // stride + 1):
        yield min(number * stride, length - side)


def image_for_windows(levels: torch.Tensor, *, side: int = 504, multiple: int = 14) -> torch.Tensor:
    """An image resized so that its shorter side is that of a window, and both are multiples of a patch.

    Both steps are bilinear without smoothing and end in whole levels, as OpenCV's do.

    Args:
        levels: `(3, height, width)`, 0 to 255.
        side: of the shorter side.
        multiple: of both sides, rounded up.

    Returns:
        `(3, height, width)`, float32, 0 to 255.

    Source: `SETR_Resize` and `ResizeToMultiple` of `segmentation/mmseg_custom` and mmsegmentation.
    """
    height, width = levels.shape[-2:]
    scale = side / min(height, width)
    resized = _resized(levels.float(), int(height * scale + 0.5), int(width * scale + 0.5))
    up = [-(-length // multiple) * multiple for length in resized.shape[-2:]]
    return _resized(resized, *up)


def _resized(levels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if tuple(levels.shape[-2:]) == (height, width):
        return levels
    return interpolate(levels[None], size=(height, width), mode="bilinear", align_corners=False)[0].round()


__all__ = ["MeanIoU", "SegmentationScore", "image_for_windows", "segment_image"]
