# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A stage of training as a value: what it starts from, what it sees, by which recipe and for how long.

Equal values have equal digests, under which trained stages lie on disk: claims that share a stage train it once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lab.world import Look

VERSION = 2
"""Part of every digest; raised where the same settings give other weights than before."""

LOOKS = {
    "large": Look(side=(32, 64), text=(0.4, 0.75), shape=0.36, digits=(1, 1), aspect=1.3),
    "fine": Look(side=(112, 144), text=(0.2, 0.28), shape=0.2, digits=(1, 1), aspect=1.6),
}
"""`large`: one tile shows all. `fine`: digits are 5 to 7 pixels high when the picture is shrunk to one tile, less
than a patch; in 6 tiles they are as high as the smaller ones of `large`. Shapes are not small."""

TEXT_RICH = ("number", "color", "number", "shape", "number", "count", "number", "position")
"""Tasks of stages that are to learn reading: numbers are half of the samples."""


@dataclass(frozen=True)
class Mix:
    """What a stage sees.

    Attributes:
        tasks: of the world, in turn.
        looks: of `LOOKS`, in turn.
        samples: different ones; stages with more steps see them again.
        language: of all samples; None: both.
        described: share of samples that ask for a description, and have the caption as answer.
        wordy: share of samples that answer the same question with the caption before the answer.
        max_tiles, thumbnail: of an image.
        augment: random JPEG.
        text_only: captions in the place of pictures.
        looping: share of samples whose answer is a planted loop.
        filtered: leave out what the filter of the original code leaves out.
        seed: of the samples.
    """

    tasks: tuple[str, ...] = ("number", "color", "shape", "count", "position")
    looks: tuple[str, ...] = ("large",)
    samples: int = 3000
    language: str | None = "en"
    described: float = 0.0
    wordy: float = 0.0
    max_tiles: int = 1
    thumbnail: bool = True
    augment: bool = False
    text_only: bool = False
    looping: float = 0.0
    filtered: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Attributes:
        name: of the folder, with the digest.
        kind: `"look"` (tower and classifier), `"contrastive"`, `"generative"` (dual encoder), `"language"`, `"chat"`
            or `"mpo"`.
        recipe: a row of `training.recipes`: what trains, by which objective, with which weights of tokens, decay and
            schedule.
        mix: what it sees.
        steps, batch, rate: how long, samples in a step, learning rate.
        start: the stage whose model it continues; None for new models.
        tower, language: of a new chat model: the stages whose tower and language model it takes; None: random ones.
        size: of a new language model, of `models.SIZES`.
        changes: fields of the recipe that differ from its row.
        seed: of weights and order.
    """

    name: str
    kind: str
    recipe: str
    mix: Mix
    steps: int
    batch: int
    rate: float
    start: Stage | None = None
    tower: Stage | None = None
    language: Stage | None = None
    size: str = "small"
    changes: tuple[tuple[str, Any], ...] = ()
    seed: int = 0

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that follow from all fields, of the stages before it, too."""
        text = json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.name}-{self.digest}"

    def before(self) -> list[Stage]:
        """The stages that it needs, first ones first, without itself."""
        found: list[Stage] = []
        for stage in (self.start, self.tower, self.language):
            if stage is not None:
                found += [*stage.before(), stage]
        return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Scale:
    """How large an undertaking is: factor of all steps, samples that are drawn, and that are judged per task."""

    name: str
    share: float
    samples: int
    judged: int

    def steps(self, number: int) -> int:
        """Steps of a stage that has `number` of them in `QUICK`."""
        return max(1, round(self.share * number))


QUICK = Scale("quick", 1.0, 12000, 200)
FULL = Scale("full", 4.0, 24000, 400)
TRIAL = Scale("trial", 0.002, 24, 4)
"""One or two steps: whether everything runs; for tests."""
SCALES = {scale.name: scale for scale in (QUICK, FULL, TRIAL)}

__all__ = ["FULL", "LOOKS", "QUICK", "SCALES", "TEXT_RICH", "TRIAL", "Mix", "Scale", "Stage"]
