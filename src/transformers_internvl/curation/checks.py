# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The steps that need nothing but a row: heuristics, repetition, images."""

from dataclasses import dataclass
from typing import Any

from datatrove.data import Document

from ..processing.sources import DECODING_ERRORS, load_image
from .documents import RowCheck, StepOptions, StepPlace, images_in
from .heuristics import Finding, HeuristicRules, RepetitionRules, first_finding
from .rows import answers_of, texts_of


@dataclass(frozen=True, kw_only=True)
class HeuristicsOptions(StepOptions, HeuristicRules):
    """Options of `heuristics`."""


class Heuristics(RowCheck):
    """The heuristic rules, on every text of a row; the length, on answers."""

    def __init__(self, place: StepPlace, options: HeuristicsOptions):
        super().__init__(place, options)
        self.rules = {"assistant": options.answer_rules()}
        self.others = options.text_rules()

    def examine(self, document: Document) -> Finding | None:
        """The first finding."""
        for text in texts_of(document.metadata["row"]):
            found = first_finding(text.value, self.rules.get(text.role, self.others))
            if found is not None:
                return found
        return None


@dataclass(frozen=True, kw_only=True)
class RepetitionOptions(StepOptions, RepetitionRules):
    """Options of `repetition`."""


class Repetition(RowCheck):
    """Loops and repeated words in answers."""

    def __init__(self, place: StepPlace, options: RepetitionOptions):
        super().__init__(place, options)
        self.rules = options.rules()

    def examine(self, document: Document) -> Finding | None:
        """The first finding."""
        found = (first_finding(answer, self.rules) for answer in answers_of(document.metadata["row"]))
        return next((finding for finding in found if finding is not None), None)


@dataclass(frozen=True, kw_only=True)
class ImagesOptions(StepOptions):
    """Options of `images`.

    Attributes:
        min_side: pixels of the shorter side.
        max_ratio: of the longer side to the shorter one.
    """

    min_side: int = 8
    max_ratio: float = 200.0


class Images(RowCheck):
    """Images that cannot be decoded, and those that are too small or too long."""

    options: ImagesOptions

    def examine(self, document: Document) -> Finding | None:
        """The first finding."""
        for image in images_in(document):
            found = self._examine(image)
            if found is not None:
                return found
        return None

    def _examine(self, image: Any) -> Finding | None:
        try:
            sides = sorted(load_image(image).size)
        except (*DECODING_ERRORS, ValueError) as error:
            return Finding("broken image", str(error))
        if sides[0] < self.options.min_side:
            return Finding("small image", f"its shorter side has {sides[0]} pixels, expected {self.options.min_side}")
        if sides[1] > self.options.max_ratio * sides[0]:
            return Finding("long image", f"{sides[1]} to {sides[0]} pixels, expected {self.options.max_ratio:g} to 1")
        return None


__all__ = ["Heuristics", "HeuristicsOptions", "Images", "ImagesOptions", "Repetition", "RepetitionOptions"]
