# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Repetition: an answer that loops, and training samples that teach it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RepetitionFound:
    """Whether the end of a text loops.

    Attributes:
        repeated: whether it does.
        matches: how often the last segment occurs in the second half of the text; None of a text that is too short.
    """

    repeated: bool
    matches: int | None

    def __bool__(self) -> bool:
        return self.repeated


def detect_repetition(
    text: str,
    seg_len: int = 100,
    min_matches: int = 20,
    interval_kinds: int = 3,
    interval_threshold: float = 0.8,
) -> RepetitionFound:
    """Whether a text ends in a loop: its last segment occurs often in its second half, at few different distances.

    Args:
        text: an answer. Shorter than `seg_len * min_matches` characters, it does not count as looping.
        seg_len: characters of the segment.
        min_matches: how often it must occur, without overlap.
        interval_kinds: the most common distances between neighbours...
        interval_threshold: ...must make up more than this share of all.

    Source: VLMEvalKit `vlmeval/utils/matching_util.py`.
    """
    text = text.strip()
    if len(text) < seg_len * min_matches:
        return RepetitionFound(False, None)
    places = _places(text[len(text) // 2 :], text[-seg_len:])
    if len(places) < min_matches:
        return RepetitionFound(False, len(places))
    distances = Counter(later - earlier for earlier, later in zip(places, places[1:], strict=False))
    common = sum(count for _, count in distances.most_common(interval_kinds))
    return RepetitionFound(common / distances.total() > interval_threshold, len(places))


def repeated_ngram_ratio(text: str, n: int) -> float:
    """Number of different n-grams that occur more than once, over the number of all n-grams; 0 if there are none.

    As the original training code counts them, ten thousand copies of one sentence have a ratio near 0: for long loops,
    use [`detect_repetition`].

    Source: OpenGVLab/InternVL `internvl/train/dataset.py` `calculate_ngram_repetition`.
    """
    words = text.split()
    counts = Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))
    return sum(count > 1 for count in counts.values()) / counts.total() if counts else 0.0


def check_conversation(
    conversation: Sequence[Mapping[str, str]], repeat_threshold: float = 0.4, ngram: int = 10
) -> bool:
    """Whether a training conversation may stay: no answer (`from`: `gpt`) has a higher [`repeated_ngram_ratio`].

    Source: OpenGVLab/InternVL `internvl/train/dataset.py` `check_conversations_repetition`.
    """
    answers = (turn["value"] for turn in conversation if turn["from"] == "gpt")
    return all(repeated_ngram_ratio(answer, ngram) <= repeat_threshold for answer in answers)


def _places(text: str, part: str) -> list[int]:
    """Where a part begins in a text, without overlap."""
    places = []
    place = text.find(part)
    while place >= 0:
        places.append(place)
        place = text.find(part, place + len(part))
    return places


__all__ = ["RepetitionFound", "check_conversation", "detect_repetition", "repeated_ngram_ratio"]
