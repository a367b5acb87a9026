# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pairs whose image and text do not fit: cosine similarity by InternVL-C or InternVL-G.

Every image of a row is compared with every answer, truncated to 80 tokens as the model was trained; the best pair
counts. A good threshold depends on the model and the texts: look at `scores` in `review.jsonl` of a run with
`action: flag` first.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from datatrove.data import Document
from PIL import Image
from transformers import AutoModel, AutoProcessor

from ..evaluation.embedding import embed_images, embed_texts
from ..modeling.dual_encoder.model import InternVLDualEncoderModel
from ..processing.sources import DECODING_ERRORS, load_image
from .documents import Check, StepOptions, StepPlace, images_in
from .heuristics import Finding
from .options import in_range, one_of
from .rows import answers_of


@dataclass(frozen=True, kw_only=True)
class ImageTextOptions(StepOptions):
    """Options of `image_text`.

    Attributes:
        model: a dual encoder, as a folder or Hub id.
        threshold: pairs with a lower cosine similarity are dropped.
        mode: "InternVL-C" or "InternVL-G".
        device: where the model runs, such as "cuda"; every task loads it.
        dtype: number format, such as "bfloat16"; "auto" = the checkpoint's.
        batch_size: rows at a time.
    """

    model: str
    threshold: float
    rows: str = "media"
    mode: str = "InternVL-C"
    device: str = "cpu"
    dtype: str = "auto"
    batch_size: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("threshold", self.threshold, -1, 1)
        one_of("mode", self.mode, ("InternVL-C", "InternVL-G"))
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` should be 1 or more, got {self.batch_size}.")


class ImageText(Check):
    """The similarity of images and answers, in batches. Rows without images pass."""

    options: ImageTextOptions

    def __init__(self, place: StepPlace, options: ImageTextOptions):
        super().__init__(place, options)

    def findings(self, data: Iterable[Document], rank: int) -> Iterator[tuple[Document, Finding | None]]:
        """The documents in order."""
        encoder = _Encoder(self.options)
        for batch in _batched(data, self.options.batch_size):
            pairs = [self._pair(document) for document in batch]
            scores = iter(encoder.scores([pair for pair in pairs if isinstance(pair, tuple)]))
            for document, pair in zip(batch, pairs, strict=True):
                if isinstance(pair, tuple):
                    yield document, self._judged(document, next(scores))
                else:
                    yield document, pair

    def _pair(self, document: Document) -> tuple[list[Image.Image], list[str]] | Finding | None:
        """Images and answers; what is wrong with an image; None = nothing to compare."""
        answers = [answer for answer in answers_of(document.metadata["row"]) if answer.strip()]
        if not self.options.concerns(document) or not answers:
            return None
        try:
            images = [load_image(image).convert("RGB") for image in images_in(document)]
        except (*DECODING_ERRORS, ValueError) as error:
            return Finding("broken image", str(error))
        return (images, answers) if images else None

    def _judged(self, document: Document, score: float) -> Finding | None:
        document.metadata["scores"][self.place.name] = round(score, 4)
        if score >= self.options.threshold:
            return None
        return Finding("mismatched pair", f"similarity {score:.3f}, below {self.options.threshold:g}")


class _Encoder:
    """The model, loaded when it is needed first."""

    def __init__(self, options: ImageTextOptions):
        self._options = options

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        name = self._options.model
        model = AutoModel.from_pretrained(name, dtype=self._options.dtype)
        if not isinstance(model, InternVLDualEncoderModel):
            raise ValueError(
                f"{name} is no dual encoder but {type(model).__name__}: give InternVL-14B or a copy of it."
            )
        return model.to(self._options.device).eval(), AutoProcessor.from_pretrained(name)

    def scores(self, pairs: list[tuple[list[Image.Image], list[str]]]) -> list[float]:
        """The best cosine similarity of each pair of images and texts."""
        if not pairs:
            return []
        model, processor = self._loaded
        images = [image for some, _ in pairs for image in some]
        texts = [text for _, some in pairs for text in some]
        size = self._options.batch_size
        shown = embed_images(model, processor, images, mode=self._options.mode, batch_size=size)  # (N, E)
        said = embed_texts(model, processor, texts, batch_size=size, truncation=True)  # (M, E)
        parts = zip(shown.split([len(p[0]) for p in pairs]), said.split([len(p[1]) for p in pairs]), strict=True)
        return [float(torch.max(a @ b.T)) for a, b in parts]


def _batched(data: Iterable[Document], size: int) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in data:
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


__all__ = ["ImageText", "ImageTextOptions"]
