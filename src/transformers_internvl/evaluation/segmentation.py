# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mean intersection over union, added up over a whole data set as mmsegmentation's `mIoU` does.

Shape letters: T images, N classes.
"""

from dataclasses import dataclass

import torch


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


__all__ = ["MeanIoU", "SegmentationScore"]
