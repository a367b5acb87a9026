# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Semantic segmentation by InternViT with a trained head: mean intersection over union."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ...processing.sources import DECODING_ERRORS, load_image
from ..segmentation import MeanIoU, image_for_windows, segment_image
from .measure import Measured, Setup

_IGNORED = 255


@dataclass(frozen=True)
class SegmentationSet:
    """Where images and classes of a set lie, below its folder.

    Attributes:
        images, labels: folders.
        suffix: of the files of classes, in place of an image's own.
        classes: their number.
        zero_is_nothing: whether 0 means no class, so that the classes begin at 1.
    """

    images: str
    labels: str
    suffix: str
    classes: int
    zero_is_nothing: bool = False


SETS = {
    "ade20k": SegmentationSet("images/validation", "annotations/validation", ".png", 150, zero_is_nothing=True),
    "coco_stuff164k": SegmentationSet("images/val2017", "annotations/val2017", "_labelTrainIds.png", 171),
}


class Segments:
    """Mean IoU of a model whose head was trained on the set; see [`Measure`]."""

    def __init__(self, setup: Setup):
        self.setup, self.set = setup, SETS[setup.benchmark.task]
        labels = setup.model.config.num_labels
        if labels != self.set.classes:
            raise ValueError(f"{setup.benchmark.name} has {self.set.classes} classes, but the model has {labels}.")
        folder = setup.source / self.set.images
        self.images = sorted(path for path in folder.glob("*") if path.is_file())[: setup.limit]
        if not self.images:
            raise ValueError(f"{folder} holds no images.")
        self.indexes = [path.stem for path in self.images]
        self.settings: dict[str, Any] = {}

    def prepare(self) -> None:
        """Nothing."""

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Of each image the pixels of each class, by predicted class."""
        return [{"cells": self._cells(self.images[position])} for position in positions]

    def _cells(self, path: Path) -> list[list[int]]:
        truth = self._classes(self.setup.source / self.set.labels / f"{path.stem}{self.set.suffix}")
        levels = torch.from_numpy(np.array(load_image(path))).permute(2, 0, 1)  # (3, height, width)
        if levels.shape[-2:] != truth.shape:
            raise ValueError(f"{path} has {(*levels.shape[-2:],)} pixels, but its classes {(*truth.shape,)}.")
        inputs = self.setup.processor(
            images=[image_for_windows(levels).byte()],
            do_resize=False,
            do_center_crop=False,
            input_data_format="channels_first",
            return_tensors="pt",
        )
        found = segment_image(self.setup.model, inputs["pixel_values"][0], (truth.shape[0], truth.shape[1]))
        meter = self._meter()
        meter.update(found, truth)
        return meter.cells()

    def _meter(self) -> MeanIoU:
        return MeanIoU(self.set.classes, _IGNORED)

    def _classes(self, path: Path) -> torch.Tensor:
        """The class of every pixel, `(height, width)`."""
        try:
            with Image.open(path) as image:
                labels = torch.from_numpy(np.array(image)).long()
        except DECODING_ERRORS as error:
            raise ValueError(f"Cannot read the classes {path}: {error}") from error
        if labels.dim() != 2:
            raise ValueError(f"{path} must hold one number a pixel, got {(*labels.shape,)}.")
        if not self.set.zero_is_nothing:
            return labels
        return torch.where((labels == 0) | (labels == _IGNORED), _IGNORED, labels - 1)

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """Mean IoU over all pixels of the set, in percent."""
        total = self._meter()
        predictions = []
        for line in lines:
            total.add_cells(line["cells"])
            hits = sum(number for label, found, number in line["cells"] if label == found)
            pixels = sum(number for *_, number in line["cells"])
            share = hits / pixels if pixels else None
            predictions.append({"index": line["index"], "prediction": None, "answer": None, "score": share})
        scores = total.compute()
        names = self.setup.model.config.id2label
        by_class = {names[number]: None if value != value else 100 * value for number, value in enumerate(scores.iou)}
        table = {"miou": 100 * scores.mean_iou, "pixel_accuracy": 100 * scores.pixel_accuracy, "iou": by_class}
        return Measured(100 * scores.mean_iou, table, predictions)


__all__ = ["SETS", "SegmentationSet", "Segments"]
