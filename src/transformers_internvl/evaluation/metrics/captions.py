# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores of captions: CIDEr-D, BLEU and ROUGE-L, as the tools of the COCO caption challenge compute them.

All compare the words of a caption with those of its references. Words are those of [`words_of_captions`] by default,
[`caption_words`] of each; VLMEvalKit scores captions without that tokenizer, split at spaces alone.

Sources: CIDEr, arXiv:1411.5726; BLEU, Papineni et al. 2002; ROUGE, Lin 2004; `pycocoevalcap` for the details.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from .caption_words import caption_words, words_of_captions
from .metric import Row, Scores
from .reading import accepted_answers

MAX_N = 4
SIGMA = 6.0  # of the penalty for another length than the reference's
ROUGE_BETA = 1.2  # how much more recall counts than precision
_SMALL, _TINY = 1e-9, 1e-15  # keep BLEU's precisions from 0/0 and from 0

Ngrams = Counter[tuple[str, ...]]
Words = Callable[[Sequence[str]], list[list[str]]]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]], words: Words = words_of_captions) -> float:
    """CIDEr-D of captions, 0 to 10; papers print a hundred times as much.

    N-grams weigh by how rare they are among the images' references, so the score of a caption depends on the whole
    set, and a set of one image has no rare words: there must be two.

    Args:
        captions: one for each image.
        references: for each image, at least one.
        words: splits texts into words.

    Raises:
        ValueError: the numbers of captions and images differ, an image without references, fewer than two images.
    """
    scores = cider_each(captions, references, words)
    if len(scores) < 2:
        raise ValueError("CIDEr weighs words by how rare they are among images: give at least two images.")
    return sum(scores) / len(scores)


def cider_each(
    captions: Sequence[str], references: Sequence[Sequence[str]], words: Words = words_of_captions
) -> list[float]:
    """CIDEr-D of each caption, [`cider`]. That of a single image is 0, as in the original tools."""
    counts, reference_counts = _counted(captions, references, words)
    seen_in: Ngrams = Counter(ngram for group in reference_counts for ngram in set().union(*group))
    rarity = {ngram: math.log(len(counts) / images) for ngram, images in seen_in.items()}
    unseen = math.log(len(counts))
    scores = []
    for count, group in zip(counts, reference_counts, strict=True):
        vector = _weighted(count, rarity, unseen)
        similarities = [_similarity(vector, count, _weighted(other, rarity, unseen), other) for other in group]
        scores.append(10 * sum(similarities) / len(similarities))
    return scores


def bleu(
    captions: Sequence[str], references: Sequence[Sequence[str]], n: int = MAX_N, words: Words = words_of_captions
) -> float:
    """BLEU-n of the whole set, 0 to 1: clipped precisions of 1- to n-grams, and a penalty for captions that are short.

    A precision of 0 counts as 1e-15 of the n-grams, and 1e-6 if there are none, as in the original tools.

    Args:
        captions, references, words: see [`cider`].
        n: the longest n-grams, 1 to 4.

    Raises:
        ValueError: as [`cider`], or `n` is out of range.
    """
    if not 1 <= n <= MAX_N:
        raise ValueError(f"`n` must be 1 to {MAX_N}, got {n}.")
    return bleu_scores(captions, references, words)[0][n - 1]


def bleu_scores(
    captions: Sequence[str], references: Sequence[Sequence[str]], words: Words = words_of_captions
) -> tuple[list[float], list[list[float]]]:
    """BLEU-1 to BLEU-4 of the whole set, and of each caption."""
    counts, reference_counts = _counted(captions, references, words)
    totals = [0] * MAX_N, [0] * MAX_N
    length = closest = 0
    each = []
    for count, group in zip(counts, reference_counts, strict=True):
        most: Ngrams = Counter()
        for other in group:
            most |= other  # the highest count of each n-gram in any reference
        right, said = [0] * MAX_N, [0] * MAX_N
        for ngram, times in count.items():
            right[len(ngram) - 1] += min(times, most[ngram])
            said[len(ngram) - 1] += times
        own = _length(count)
        nearest = min((_length(other) for other in group), key=lambda words: (abs(words - own), words))
        each.append(_bleu(right, said, own, nearest))
        length, closest = length + own, closest + nearest
        for total, counted in zip(totals, (right, said), strict=True):
            total[:] = map(sum, zip(total, counted, strict=True))
    return _bleu(*totals, length, closest), each


def rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of the whole set, 0 to 1: the mean of captions' longest common subsequence with their references.

    Words are what single spaces separate. Best precision and best recall may be those of two references.

    Raises:
        ValueError: as [`cider`].
    """
    _check(captions, references)
    scores = []
    for caption, group in zip(captions, references, strict=True):
        own = caption.split(" ")
        common = [(_common_length(text.split(" "), own), len(text.split(" "))) for text in group]
        precision = max(length / len(own) for length, _ in common)
        recall = max(length / words for length, words in common)
        weight = ROUGE_BETA**2
        scores.append((1 + weight) * precision * recall / (recall + weight * precision) if precision else 0.0)
    return sum(scores) / len(scores)


def score_captions(rows: Sequence[Row]) -> Scores:
    """CIDEr of captions in points, 100 times [`cider`]; the table holds `CIDEr` and `Bleu_1` to `Bleu_4`.

    `answer` holds the references. `samples` are in points, too: their mean is `overall`.

    Source: OpenGVLab/InternVL `eval/caption/evaluate_caption.py`, which runs `pycocoevalcap`.
    """
    if not rows:
        return Scores(None)
    captions, references = [row["prediction"] for row in rows], [accepted_answers(row) for row in rows]
    each = tuple(100 * score for score in cider_each(captions, references))
    corpus, _ = bleu_scores(captions, references)
    table = {"CIDEr": sum(each) / len(each)} | {f"Bleu_{n}": 100 * score for n, score in enumerate(corpus, start=1)}
    return Scores(table["CIDEr"], table, each)


def score_captions_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """CIDEr of captions in points, without the tokenizer; the table holds `Bleu` (1 to 4), `ROUGE_L` and `CIDEr`.

    Source: VLMEvalKit `vlmeval/dataset/image_caption.py` `COCO_Caption_Scorer`.
    """
    if not rows:
        return Scores(None)
    captions, references = [str(row["prediction"]) for row in rows], [accepted_answers(row) for row in rows]
    each = tuple(100 * score for score in cider_each(captions, references, split_at_spaces))
    corpus, _ = bleu_scores(captions, references, split_at_spaces)
    table = {
        "Bleu": [100 * score for score in corpus],
        "ROUGE_L": 100 * rouge_l(captions, references),
        "CIDEr": sum(each) / len(each),
    }
    return Scores(sum(each) / len(each), table, each)


def split_at_spaces(texts: Sequence[str]) -> list[list[str]]:
    """Words of texts that are tokenised already, or not at all."""
    return [text.split() for text in texts]


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not captions or len(captions) != len(references):
        raise ValueError(
            "There must be one caption and one list of references for each image, got "
            f"{len(captions)} captions and {len(references)} lists."
        )
    for index, group in enumerate(references):
        if isinstance(group, str) or not group:
            raise ValueError(f"The references of image {index} must be a list of at least one, got {group!r}.")


def _counted(
    captions: Sequence[str], references: Sequence[Sequence[str]], words: Words
) -> tuple[list[Ngrams], list[list[Ngrams]]]:
    """N-grams of captions and references. Checks the arguments."""
    _check(captions, references)
    every = iter(words([text for group in references for text in group]))
    return list(map(_ngrams, words(captions))), [[_ngrams(next(every)) for _ in group] for group in references]


def _ngrams(words: Sequence[str]) -> Ngrams:
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


def _bleu(right: Sequence[int], said: Sequence[int], length: int, closest: int) -> list[float]:
    """BLEU-1 to BLEU-4 from the n-grams that are right and that were said, and the lengths."""
    scores, product = [], 1.0
    for n, (hits, total) in enumerate(zip(right, said, strict=True), start=1):
        product *= (hits + _TINY) / (total + _SMALL)
        scores.append(product ** (1 / n))
    ratio = (length + _TINY) / (closest + _SMALL)
    return [score * math.exp(1 - 1 / ratio) for score in scores] if ratio < 1 else scores


def _common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    above = [0] * (len(second) + 1)
    for word in first:
        here = [0]
        for column, other in enumerate(second):
            here.append(above[column] + 1 if word == other else max(above[column + 1], here[column]))
        above = here
    return above[-1]


__all__ = [
    "bleu",
    "bleu_scores",
    "caption_words",
    "cider",
    "cider_each",
    "rouge_l",
    "score_captions",
    "score_captions_vlmevalkit",
    "split_at_spaces",
]
