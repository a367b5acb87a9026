# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Which questions are asked together, by whom, and with which random numbers.

Batches follow from the questions alone: not from the number of ranks, and not from what was answered already. So a
run on two ranks, or one that was killed and resumed, gives the answers of an uninterrupted run on one.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_WINDOW = 32
"""So many batches of questions are sorted by length at a time: sizes of images must be read first."""


@dataclass(frozen=True)
class Job:
    """A question to be asked.

    Attributes:
        position: of the question in the questions of the benchmark.
        index: of the question, as answers name it.
        sample: number of the answer, from 0.
        seed: of its random numbers.
    """

    position: int
    index: str
    sample: int
    seed: int


def seed_of(seed: int, index: str, sample: int = 0) -> int:
    """The seed of one answer, from the run's seed, question and number of the answer."""
    digest = hashlib.sha256(f"{seed}/{index}/{sample}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


def jobs_of(indexes: Sequence[str], *, samples: int = 1, seed: int = 0) -> list[Job]:
    """A job for each answer: every question, and each as often as `samples`."""
    return [
        Job(position, index, sample, seed_of(seed, index, sample))
        for position, index in enumerate(indexes)
        for sample in range(samples)
    ]


def batches_of(
    jobs: Sequence[Job], batch_size: int, length: Callable[[Job], int], *, rank: int = 0, ranks: int = 1
) -> Iterator[list[Job]]:
    """The batches of one rank: jobs of similar length together, the longest of a window first.

    Args:
        jobs: of all ranks, answered or not.
        batch_size: questions of a batch.
        length: estimated length of a job; not asked for in batches of one.
        rank, ranks: this process among all.
    """
    step = batch_size * _WINDOW
    number = 0
    for start in range(0, len(jobs), step):
        window = list(jobs[start : start + step])
        if batch_size > 1:
            window.sort(key=length, reverse=True)
        for first in range(0, len(window), batch_size):
            if number % ranks == rank:
                yield window[first : first + batch_size]
            number += 1


__all__ = ["Job", "batches_of", "jobs_of", "seed_of"]
