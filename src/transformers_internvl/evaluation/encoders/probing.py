# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternViT by a probe: one that the checkpoint has, or one that is trained here on ImageNet-1K's training images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..data import ItemImages, read_class_folder
from ..probe import ProbeSettings, head_logits, head_of, read_probe, train_probe
from ..zero_shot_prompts import imagenet_ids
from .classification import accuracy, in_turns, ranked_lines
from .measure import Measured, Setup

TRAINING = "imagenet1k/train"
"""Below the folder of the data."""


class Probe:
    """Accuracy of a probe; see [`Measure`]. Of sets with some of the classes, such as ImageNet-A, only these count."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.folders, items = read_class_folder(setup.source)
        self.classes = classes_of(self.folders, setup.model.config.num_labels)
        self.items = in_turns(items)[: setup.limit]
        self.indexes = [item.path.relative_to(setup.source).as_posix() for item in self.items]
        self.settings: dict[str, Any] = {} if self._has_head else {"trained here, seed": setup.seed}

    @property
    def _has_head(self) -> bool:
        return has_head(self.setup.model.config)

    def prepare(self) -> None:
        """Train the probe, unless the checkpoint has one; a run that was killed goes on after its last whole epoch."""
        setup, model = self.setup, self.setup.model
        head_of(model).to(model.device).eval()
        if self._has_head:
            return
        path = (setup.shared or setup.folder) / f"probe.{setup.mode}.safetensors"
        settings = ProbeSettings(seed=setup.seed)
        if not path.exists() or read_probe(model, path) < settings.epochs:
            if setup.ranks.count > 1:
                raise ValueError("The probe is trained by one process: run this without a launcher first.")
            folder = setup.data / TRAINING
            folders, items = read_class_folder(folder)
            if len(folders) != model.config.num_labels:
                raise ValueError(f"{folder} has {len(folders)} classes, but the head {model.config.num_labels}.")
            labels = [item.label for item in items]
            train_probe(model, ItemImages(items), labels, self._normalized, self._side, path, settings)
        read_probe(model, path)

    @property
    def _side(self) -> int:
        return int(self.setup.processor.crop_size["height"])

    def _normalized(self, images: list[Image.Image]) -> torch.Tensor:
        """Of square images of the right side."""
        plain = {"do_resize": False, "do_center_crop": False}
        return self.setup.processor(images=images, return_tensors="pt", **plain)["pixel_values"]

    def lines(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Of each image the class that was found, and the rank of the right one."""
        items = [self.items[position] for position in positions]
        pixels = self.setup.processor(images=list(ItemImages(items)), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            scores = head_logits(self.setup.model, pixels)[:, self.classes].cpu()  # (items, folders)
        return ranked_lines(scores, [item.label for item in items], self.folders)

    def score(self, lines: Sequence[Mapping[str, Any]]) -> Measured:
        """Top-1 and top-5 accuracy, and the mean over classes of the former."""
        return accuracy(lines, self.setup.benchmark.figure)


def has_head(config: Any) -> bool:
    """Whether a checkpoint was saved with a classifier."""
    return any(name.endswith("ForImageClassification") for name in config.architectures or ())


def count_classes(data: str | Path) -> int:
    """The number of classes of ImageNet-1K's training images. Raises `ValueError` where there are none."""
    return len(read_class_folder(Path(data) / TRAINING)[0])


def classes_of(folders: Sequence[str], labels: int) -> list[int]:
    """Which class of the head each folder is.

    Folders are in the order of the classes where there are as many; else numbers, or WordNet ids of a head for
    ImageNet-1K.

    Raises:
        ValueError: none of these.
    """
    if all(folder.isdecimal() for folder in folders) and all(int(folder) < labels for folder in folders):
        return [int(folder) for folder in folders]
    if len(folders) == labels:
        return list(range(labels))
    numbers = {identifier: number for number, identifier in enumerate(imagenet_ids())}
    if labels != len(numbers) or not all(folder in numbers for folder in folders):
        raise ValueError(
            f"There are {len(folders)} folders for the {labels} classes of the head: give one for each, or name them "
            "by number or WordNet id."
        )
    return [numbers[folder] for folder in folders]


__all__ = ["TRAINING", "Probe", "classes_of", "count_classes", "has_head"]
