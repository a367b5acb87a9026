# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a model is asked: the arguments of the original `model.chat`, as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...processing.images.tiling import count_tiles

IMAGE = "<image>"


@dataclass(frozen=True)
class ImageRule:
    """How an image of a question is prepared.

    Attributes:
        max_tiles: maximum number of tiles, the thumbnail not counted; 1 = the whole image as one square.
        enlarge: width and height are multiplied by this (bilinear) before the image is split.
        use_thumbnail: whether an image of several tiles is followed by a thumbnail.
    """

    max_tiles: int = 1
    enlarge: int = 1
    use_thumbnail: bool = True

    def tiles(self, width: int, height: int, tile_size: int = 448) -> int:
        """Tiles of an image of `width x height` pixels, the thumbnail included."""
        return count_tiles(
            width * self.enlarge,
            height * self.enlarge,
            tile_size=tile_size,
            max_tiles=self.max_tiles,
            use_thumbnail=self.use_thumbnail,
        )


@dataclass(frozen=True)
class ChatRequest:
    """A question as the official code gives it to the model.

    Attributes:
        question: the user's turn. `<image>` marks the place of an image; a question without marks gets one in front.
        images: the rule of every image that is sent, in order.
        counts: how the official code passes `num_patches_list`. `"each"`: the tiles of every image. `"none"`: not at
            all, so that the tiles of all images are one image. `"one"`: `[1]` whatever the number of images, which the
            original scripts do for several images without `--dynamic`, and which their model then cannot answer.
        generation: arguments of `generate`; None stands for the library's default.
        system_message: instead of the chat template's own; None = the template's.
    """

    question: str
    images: tuple[ImageRule, ...]
    counts: Literal["each", "none", "one"] = "each"
    generation: Mapping[str, Any] = field(default_factory=dict)
    system_message: str | None = None

    def num_patches(self, sizes: Sequence[tuple[int, int]], tile_size: int = 448) -> list[int]:
        """Tiles of every image that is sent, from the `(width, height)` of the question's images."""
        return [rule.tiles(*size, tile_size) for rule, size in zip(self.images, sizes, strict=False)]

    def content(self) -> list[str | int]:
        """The user's turn in pieces: texts, and the numbers of the images between them, from 0.

        As in the original `chat`: the first marks from the left stand for the images, further marks are text, and a
        question without a mark begins with the image. Where all tiles are one image, its number is 0.

        Raises:
            ValueError: there are marks, but fewer than images.
        """
        count = 1 if self.counts == "none" and self.images else len(self.images)
        question = self.question
        if count and IMAGE not in question:
            question = f"{IMAGE}\n{question}"
        texts = question.split(IMAGE, count)
        if len(texts) <= count:
            raise ValueError(
                f"The question has {len(texts) - 1} marks `{IMAGE}` for {count} images: {question!r:.300}"
            )
        return list(_pieces(texts))


def _pieces(texts: Sequence[str]) -> Iterator[str | int]:
    for number, text in enumerate(texts):
        if number:
            yield number - 1
        if text:
            yield text


__all__ = ["IMAGE", "ChatRequest", "ImageRule"]
