# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores of captions: CIDEr-D and BLEU, as the tools of the COCO caption challenge compute them.

Both compare the n-grams (1 to 4 words) of a caption with those of its references. Words are those of the Penn
Treebank, which the tools get from a Java program, and this file by a few patterns: lower case, `don't` is `do n't`,
`dog's` is `dog 's`, punctuation is dropped, symbols such as `&` are words, and so are brackets (`-lrb-`: the tools
mean to drop them, and miss). English captions give the same words but for rare abbreviations. Chinese and Japanese
have no spaces and should come with their words set apart.

Sources: CIDEr, arXiv:1411.5726; BLEU, Papineni et al. 2002; `pycocoevalcap` for the details.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

MAX_N = 4
SIGMA = 6.0  # of the penalty for another length than the reference's

Ngrams = Counter[tuple[str, ...]]

_CONTRACTION = re.compile(r"(?<=\w)(n't|'(?:s|m|d|ll|re|ve))(?!\w)")
_FUSED = re.compile(r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b")
_WORD = re.compile(
    r"n't(?!\w)|'(?:s|m|d|ll|re|ve|n')(?!\w)"  # the tail of a contraction; rock 'n' roll
    r"|'\d\ds?\b"  # the '90s
    r"|(?:[^\W\d_]\.){2,}|(?:mr|mrs|ms|dr|st|jr|sr|vs|etc)\."  # p.m., St.
    r"|\w+(?:[-./']\w+|(?<=\d)[,:]\d+)*"  # t-shirt, and/or, 3.5, 7:30, 10,000
    r"|[^\w\s]"
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("'\"`.?!,:;-–—…“”‘’")


def caption_words(caption: str) -> list[str]:
    """The words of a caption, as the metrics of this file see them.

    >>> caption_words("A man's T-shirt, it doesn't fit!")
    ['a', 'man', "'s", 't-shirt', 'it', 'does', "n't", 'fit']
    """
    text = _CONTRACTION.sub(r" \1", caption.lower().replace("’", "'"))
    text = _FUSED.sub(lambda fused: " ".join(filter(None, fused.groups())), text)
    return [_BRACKETS.get(word, word) for word in _WORD.findall(text) if word not in _DROPPED]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of captions, 0 to 10; papers print a hundred times as much.

    N-grams weigh by how rare they are among the images' references, so the score of a caption depends on the whole
    set, and a set of one image has no rare words: there must be two.

    Args:
        captions: one for each image.
        references: for each image, at least one.

    Raises:
        ValueError: the numbers of captions and images differ, an image without references, fewer than two images.
    """
    counts, reference_counts = _counted(captions, references)
    if len(counts) < 2:
        raise ValueError("CIDEr weighs words by how rare they are among images: give at least two images.")
    seen_in: Ngrams = Counter(ngram for group in reference_counts for ngram in set().union(*group))
    rarity = {ngram: math.log(len(counts) / images) for ngram, images in seen_in.items()}
    unseen = math.log(len(counts))
    scores = []
    for count, group in zip(counts, reference_counts, strict=True):
        vector = _weighted(count, rarity, unseen)
        similarities = [_similarity(vector, count, _weighted(other, rarity, unseen), other) for other in group]
        scores.append(10 * sum(similarities) / len(similarities))
    return sum(scores) / len(scores)


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]], n: int = MAX_N) -> float:
    """BLEU-n of the whole set, 0 to 1: clipped precisions of 1- to n-grams, and a penalty for captions that are short.

    Args:
        captions, references: see [`cider`].
        n: the longest n-grams, 1 to 4.

    Raises:
        ValueError: as [`cider`], or `n` is out of range.
    """
    if not 1 <= n <= MAX_N:
        raise ValueError(f"`n` must be 1 to {MAX_N}, got {n}.")
    counts, reference_counts = _counted(captions, references)
    right, said = [0] * n, [0] * n
    length = closest = 0
    for count, group in zip(counts, reference_counts, strict=True):
        most: Ngrams = Counter()
        for other in group:
            most |= other  # the highest count of each n-gram in any reference
        for ngram, times in count.items():
            if len(ngram) <= n:
                right[len(ngram) - 1] += min(times, most[ngram])
                said[len(ngram) - 1] += times
        own = _length(count)
        length += own
        closest += min((_length(other) for other in group), key=lambda words: (abs(words - own), words))
    if 0 in right:
        return 0.0
    precision = math.exp(sum(math.log(hits / total) for hits, total in zip(right, said, strict=True)) / n)
    return precision * min(1.0, math.exp(1 - closest / length))


def _counted(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[Ngrams], list[list[Ngrams]]]:
    """N-grams of captions and references. Checks the arguments."""
    if not captions or len(captions) != len(references):
        raise ValueError(
            "There must be one caption and one list of references for each image, got "
            f"{len(captions)} captions and {len(references)} lists."
        )
    for index, group in enumerate(references):
        if isinstance(group, str) or not group:
            raise ValueError(f"The references of image {index} must be a list of at least one, got {group!r}.")
    return [_ngrams(caption) for caption in captions], [[_ngrams(text) for text in group] for group in references]


def _ngrams(caption: str) -> Ngrams:
    words = caption_words(caption)
    return Counter(tuple(words[start : start + n]) for n in range(1, MAX_N + 1) for start in range(len(words) - n + 1))


def _length(count: Ngrams) -> int:
    return sum(times for ngram, times in count.items() if len(ngram) == 1)


def _weighted(count: Ngrams, rarity: dict[tuple[str, ...], float], unseen: float) -> list[dict]:
    """For each n, the weights of the n-grams: how often they occur times how rare they are."""
    vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_N)]
    for ngram, times in count.items():
        vectors[len(ngram) - 1][ngram] = times * rarity.get(ngram, unseen)
    return vectors


def _similarity(vectors: list[dict], count: Ngrams, others: list[dict], other_count: Ngrams) -> float:
    """The mean over n of the cosines, the caption's weights clipped to the reference's, times the length penalty."""
    total = 0.0
    for vector, other in zip(vectors, others, strict=True):
        norms = math.hypot(*vector.values()) * math.hypot(*other.values())
        if norms:
            product = sum(
                min(weight, other[ngram]) * other[ngram] for ngram, weight in vector.items() if ngram in other
            )
            total += product / norms
    difference = _bigrams(count) - _bigrams(other_count)
    return total / MAX_N * math.exp(-(difference**2) / (2 * SIGMA**2))


def _bigrams(count: Ngrams) -> int:
    """The length that the penalty compares: the tools of COCO count bigrams, one fewer than words."""
    return sum(times for ngram, times in count.items() if len(ngram) == 2)


__all__ = ["bleu", "caption_words", "cider"]
