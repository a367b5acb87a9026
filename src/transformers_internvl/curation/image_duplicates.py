# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Near-duplicates of images: perceptual hashes of `imagehash`, and the texts of rows with the same images.

Many questions on one image are no fault, and neither is one question on many. So a row is a copy where all its images
are nearly those of an earlier row, in order, and its words are nearly the same, too. `text_similarity: 0` looks at
images alone.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep

from ..processing.sources import DECODING_ERRORS, load_image
from .documents import StepOptions, StepPlace, images_in
from .files import WholeFile, part_path, parts
from .heuristics import words_of
from .options import in_range
from .text_duplicates import Row, write_copies

_BITS = 64


@dataclass(frozen=True, kw_only=True)
class ImageDuplicatesOptions(StepOptions):
    """Options of `image_duplicates`.

    Attributes:
        distance: bits of 64 in which the hashes of two images may differ. The same image in another size or quality
            differs in 0 to 4.
        text_similarity: share of words that both texts have, of those that either has (Jaccard), from which on they
            count as the same. 0 = texts are not looked at.
    """

    distance: int = 4
    text_similarity: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range("distance", self.distance, 0, 16)
        in_range("text_similarity", self.text_similarity, 0, 1)


def perceptual_hash(image: Any) -> int:
    """64 bits that similar images have in common: the signs of low frequencies (`imagehash.phash`).

    Args:
        image: a path, a URL or the bytes of a file.

    Raises:
        ImportError: imagehash is not there.
        ValueError, OSError and others of `DECODING_ERRORS`: the image cannot be read.
    """
    try:
        import imagehash
    except ImportError as error:
        raise ImportError(
            "Duplicates of images need imagehash: `pip install 'transformers_internvl[curation]'`."
        ) from error
    return int(str(imagehash.phash(load_image(image).convert("RGB"))), 16)


class Hashes(PipelineStep):
    """Writes the hashes of the images of a task's rows."""

    type, name = "dedup", "hashes of images"

    def __init__(self, place: StepPlace, options: ImageDuplicatesOptions):
        super().__init__()
        self.place, self.options = place, options

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents."""
        with WholeFile(part_path(self.place.output, f"{self.place.folder}/hashes", rank)) as file:
            for index, document in enumerate(data):
                hashes = self._hashes(document) if self.options.concerns(document) else []
                if hashes:
                    file.line({"row": index, "hashes": hashes, "words": sorted(set(words_of(document.text)))})
                yield document

    def _hashes(self, document: Document) -> list[int]:
        """Of all images; none of a row with an image that cannot be read, which is for the step `images`."""
        try:
            return [perceptual_hash(image) for image in images_in(document)]
        except (*DECODING_ERRORS, ValueError):
            self.stat_update("unreadable")
            return []


class FindCopies(PipelineStep):
    """Compares all rows with earlier ones; one task. The hashes are in memory, words are read as needed."""

    type, name = "dedup", "copies of images"

    def __init__(self, place: StepPlace, options: ImageDuplicatesOptions, stage: str):
        super().__init__()
        self.place, self.options, self.stage = place, options, stage

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes `copies` for every task."""
        found: list[tuple[Row, Row]] = []
        rows = _Rows(self.options)
        for path in parts(self.place.output, f"{self.place.folder}/hashes"):
            number = int(path.stem)
            position = 0
            with path.open("rb") as file:
                for line in file:
                    row = json.loads(line)
                    kept = rows.earlier(row)
                    if kept is None:
                        rows.add((number, row["row"]), row, (path, position))
                    else:
                        found.append(((number, row["row"]), kept))
                    position += len(line)
        write_copies(self.place, self.stage, found, "its images are nearly those of")


class _Rows:
    """The rows that stay, found by their first image.

    Two hashes whose distance is below the number of bands have a band in common.
    """

    def __init__(self, options: ImageDuplicatesOptions):
        self._options, self._bands = options, options.distance + 1
        self._edges = [_BITS * band // self._bands for band in range(self._bands + 1)]
        self._found: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(self._bands)]
        self._hashes, self._names = list[list[int]](), list[Row]()
        self._places = list[tuple[Path, int]]()

    def _keys(self, value: int) -> list[int]:
        pairs = zip(self._edges, self._edges[1:], strict=False)
        return [(value >> low) & ((1 << (high - low)) - 1) for low, high in pairs]

    def add(self, name: Row, row: dict[str, Any], place: tuple[Path, int]) -> None:
        """Keep a row."""
        for band, key in enumerate(self._keys(row["hashes"][0])):
            self._found[band][key].append(len(self._names))
        self._hashes.append(row["hashes"])
        self._names.append(name)
        self._places.append(place)

    def earlier(self, row: dict[str, Any]) -> Row | None:
        """The first row that this one is a copy of."""
        hashes = row["hashes"]
        near = {number for band, key in enumerate(self._keys(hashes[0])) for number in self._found[band].get(key, ())}
        for number in sorted(near):
            if self._same_images(self._hashes[number], hashes) and self._same_text(number, row["words"]):
                return self._names[number]
        return None

    def _same_images(self, first: list[int], second: list[int]) -> bool:
        if len(first) != len(second):
            return False
        return all((a ^ b).bit_count() <= self._options.distance for a, b in zip(first, second, strict=True))

    def _same_text(self, number: int, words: list[str]) -> bool:
        if self._options.text_similarity == 0:
            return True
        path, position = self._places[number]
        with path.open("rb") as file:
            file.seek(position)
            other = set(json.loads(file.readline())["words"])
        either = other | set(words)
        return not either or len(other & set(words)) / len(either) >= self._options.text_similarity


__all__ = ["FindCopies", "Hashes", "ImageDuplicatesOptions", "perceptual_hash"]
