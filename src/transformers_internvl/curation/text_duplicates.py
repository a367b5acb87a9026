# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Near-duplicates of texts: datatrove's MinHash, with our words, and the first row of each group kept.

Only rows without images and videos are compared: that two images have the same question is no fault.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.utils.binaryio import read_tuples_from_file
from datatrove.utils.hashing import HashConfig, create_hash_func
from datatrove.utils.text import simplify_text
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from .documents import Check, StepOptions, StepPlace
from .files import WholeFile, part_path, read_lines
from .heuristics import Finding
from .options import in_range
from .rows import has_media

_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|\w+")

Row = tuple[int, int]
"""A row among those that are compared: its task, and its number there."""


@dataclass(frozen=True, kw_only=True)
class TextDuplicatesOptions(StepOptions):
    """Options of `text_duplicates`. Texts whose n-grams have a share s in common are found with probability
    1 - (1 - s^hashes)^buckets.

    Attributes:
        rows: rows with media are never compared.
        words: of an n-gram; of scripts without spaces, characters.
        buckets, hashes: of MinHash.
    """

    rows: str = "text"
    words: int = 5
    buckets: int = 14
    hashes: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows != "text":
            raise ValueError("`rows`: texts of rows with images are compared by `image_duplicates`.")
        for name in ("words", "buckets", "hashes"):
            in_range(name, getattr(self, name), 1, 1000)

    def minhash(self) -> MinhashConfig:
        """For datatrove."""
        return MinhashConfig(
            n_grams=self.words,
            num_buckets=self.buckets,
            hashes_per_bucket=self.hashes,
            hash_config=HashConfig(precision=64, hash_fc="sha1"),
        )


class Signatures(MinhashDedupSignature):
    """datatrove's first step, on the rows that are compared."""

    def __init__(self, place: StepPlace, options: TextDuplicatesOptions):
        folder = _folder(place, "signatures")
        super().__init__(folder, options.minhash(), language=WhitespaceTokenizer())  # loads nothing, and is not used
        self.options, self.hashed = options, create_hash_func(self.config.hash_config)

    def get_shingles(self, text: str) -> np.ndarray:
        """Hashes of the n-grams, `(N, 1)` uint64. A text of fewer words is one."""
        plain = unicodedata.normalize("NFC", simplify_text(text, self.config.norm_config))
        words, count = _WORD.findall(plain), self.config.n_grams
        grams = [words[start : start + count] for start in range(max(1, len(words) - count + 1))] if words else []
        hashes = [self.hashed(" ".join(gram)) for gram in grams]
        return np.array(hashes, dtype=np.uint64).reshape(-1, 1)

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Writes the signatures of a task."""

        def compared(document: Document) -> Document:
            leave_out = has_media(document.metadata["row"]) or not self.options.concerns(document)
            return Document(text="" if leave_out else document.text, id=document.id)

        super().run(map(compared, data), rank, world_size)


class FirstOfGroups(PipelineStep):
    """Writes which rows are copies of an earlier one, from datatrove's groups; one task.

    Args:
        place: of the step.
        stage: of the rows that were compared.
    """

    type, name = "dedup", "first of each group"

    def __init__(self, place: StepPlace, stage: str):
        super().__init__()
        self.place, self.stage = place, stage

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Writes `copies` for every task."""
        first: dict[int, Row] = {}
        found: list[tuple[Row, Row]] = []
        for path in sorted(Path(_folder(self.place, "groups")).glob("*.clusters")):
            file_rank = int(path.name.partition(".")[0])
            with path.open("rb") as file:
                for index, group in read_tuples_from_file(file, "2I", lines_to_buffer=1000):
                    row = (file_rank, index)
                    kept = first.setdefault(group, row)
                    if kept != row:
                        found.append((row, kept))
        write_copies(self.place, self.stage, found, "its text is nearly that of")


def write_copies(place: StepPlace, stage: str, found: Sequence[tuple[Row, Row]], detail: str) -> None:
    """Write the copies of every task: lines `{"row": index, "detail": ...}`.

    Args:
        place: of the step.
        stage: of the rows, whose names are looked up.
        found: a row, and the earlier one that it is a copy of.
        detail: how the sentence on it begins.
    """
    names = _names(place.output, stage, {kept for _, kept in found})
    for rank, rows in groupby(sorted(found), key=lambda pair: pair[0][0]):
        with WholeFile(part_path(place.output, f"{place.folder}/copies", rank)) as file:
            for (_, index), kept in rows:
                file.line({"row": index, "detail": f"{detail} {names[kept]}"})


def _names(output: str, stage: str, wanted: set[Row]) -> dict[Row, str]:
    """Where rows are, as errors say it."""
    found = {}
    for rank in sorted({rank for rank, _ in wanted}):
        with part_path(output, stage, rank).open(encoding="utf-8") as file:
            for index, line in enumerate(file):
                if (rank, index) in wanted:
                    found[rank, index] = json.loads(line)["id"]
    return found


class LeaveOutCopies(Check):
    """Drops the rows that [`write_copies`] wrote down. It gets the rows that were compared, in the same order."""

    def findings(self, data: Any, rank: int) -> Iterator[tuple[Document, Finding | None]]:
        """The documents in order, copies with a finding."""
        copies = read_lines(part_path(self.place.output, f"{self.place.folder}/copies", rank))
        told = {line["row"]: line["detail"] for line in copies}
        for index, document in enumerate(data):
            yield document, Finding("duplicate", told[index]) if index in told else None


def duplicate_stages(
    place: StepPlace, options: TextDuplicatesOptions, stage: str
) -> list[tuple[str, list[PipelineStep], int]]:
    """What runs between the signatures and [`LeaveOutCopies`]: name, steps and number of tasks."""
    config = options.minhash()
    buckets = MinhashDedupBuckets(_folder(place, "signatures"), _folder(place, "buckets"), config=config)
    groups = MinhashDedupCluster(
        _folder(place, "buckets"), _folder(place, "groups"), config=config, save_cluster_id=True
    )
    return [
        ("buckets", [buckets], options.buckets),
        ("groups", [groups], 1),
        ("copies", [FirstOfGroups(place, stage)], 1),
    ]


def _folder(place: StepPlace, name: str) -> str:
    return str(Path(place.output) / "work" / place.folder / name)


__all__ = [
    "FirstOfGroups",
    "LeaveOutCopies",
    "Row",
    "Signatures",
    "TextDuplicatesOptions",
    "duplicate_stages",
    "write_copies",
]
