# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""CIDEr-D and BLEU against numbers worked out by hand, and against plain reimplementations on dense vectors."""

import math
import random

import numpy as np
import pytest

from transformers_internvl.evaluation.metrics.caption_words import caption_words
from transformers_internvl.evaluation.metrics.captions import bleu, cider


@pytest.mark.parametrize(
    "caption, words",
    [  # as the Java tokenizer of the COCO tools gives them
        ("A dog, running!", "a dog running"),
        ("A man's hat isn't his.", "a man 's hat is n't his"),
        ("They’re in a black-and-white photo", "they 're in a black-and-white photo"),
        ('3.5 of 10 cats -- "so" (said) I; can\'t', "3.5 of 10 cats so -lrb- said -rrb- i ca n't"),
        ("The dogs' bowl & a cat", "the dogs bowl & a cat"),
        (
            "It's 7:30 p.m. in the U.S. on a Mr. Smith's T-shirt",
            "it 's 7:30 p.m. in the u.s. on a mr. smith 's t-shirt",
        ),
        ("I cannot see; gonna go and/or stay w/ him", "i can not see gon na go and/or stay w / him"),
        ("kids' toys, women's shoes and rock 'n' roll", "kids toys women 's shoes and rock 'n' roll"),
        ("a 1980's car in the '90s", "a 1980 's car in the '90s"),
        ("He'll we've I'm she'd don't won't", "he 'll we 've i 'm she 'd do n't wo n't"),
        ("$5 off, 50% sale #1", "$ 5 off 50 % sale # 1"),
        ("10,000 people eat 1/2 pizza", "10,000 people eat 1/2 pizza"),
        ("two-story building; a dog,cat and bird", "two-story building a dog cat and bird"),
        ("10 o'clock in un café", "10 o'clock in un café"),
        ("Two  \t red\nballs...", "two red balls"),
        ("the first.", "the first"),
        ("...", ""),
        ("", ""),
    ],
)
def test_words(caption, words):
    assert caption_words(caption) == words.split()


def ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def dense_cider(captions, references):
    """Straight from the formula, with vectors over all n-grams of the set."""
    scores = np.zeros(len(captions))
    for n in range(1, 5):
        axis = sorted({g for text in [*captions, *sum(references, [])] for g in ngrams(text.split(), n)})
        index = {gram: position for position, gram in enumerate(axis)}

        def counts(text, n=n, index=index):
            vector = np.zeros(len(index))
            for gram in ngrams(text.split(), n):
                vector[index[gram]] += 1
            return vector

        seen = sum(np.sign(sum(counts(text) for text in group)) for group in references) if axis else np.zeros(0)
        idf = np.log(len(captions)) - np.log(np.maximum(seen, 1))
        for i, (caption, group) in enumerate(zip(captions, references, strict=True)):
            for reference in group:
                a, b = counts(caption) * idf, counts(reference) * idf
                norms = np.linalg.norm(a) * np.linalg.norm(b)
                cosine = np.minimum(a, b) @ b / norms if norms else 0.0
                length = len(ngrams(caption.split(), 2)) - len(ngrams(reference.split(), 2))
                scores[i] += 10 * cosine * math.exp(-(length**2) / 72) / len(group) / 4
    return scores.mean()


def dense_bleu(captions, references, n):
    """With the tools' smoothing: 1e-15 right n-grams, and 1e-9 said, more than there are."""
    logs = []
    for size in range(1, n + 1):
        right = said = 0
        for caption, group in zip(captions, references, strict=True):
            own = ngrams(caption.split(), size)
            said += len(own)
            for gram in set(own):
                right += min(own.count(gram), max(ngrams(text.split(), size).count(gram) for text in group))
        logs.append(math.log((right + 1e-15) / (said + 1e-9)))
    length = sum(len(caption.split()) for caption in captions)
    closest = 0
    for caption, group in zip(captions, references, strict=True):
        lengths = sorted(len(text.split()) for text in group)
        closest += min(lengths, key=lambda words: abs(words - len(caption.split())))
    ratio = (length + 1e-15) / (closest + 1e-9)
    return math.exp(sum(logs) / n) * (1 if ratio >= 1 else math.exp(1 - 1 / ratio))


def random_set(seed, pictures=7):
    generator = random.Random(seed)
    vocabulary = ["a", "the", "red", "blue", "dog", "cat", "runs", "sleeps", "on", "in", "house", "boat"]

    def sentence():
        return " ".join(generator.choices(vocabulary, k=generator.randint(1, 12)))

    references = [[sentence() for _ in range(generator.randint(1, 5))] for _ in range(pictures)]
    captions = [generator.choice(group) if generator.random() < 0.3 else sentence() for group in references]
    return captions, references


@pytest.mark.parametrize("seed", range(8))
def test_as_plain_reimplementations(seed):
    captions, references = random_set(seed)
    assert cider(captions, references) == pytest.approx(dense_cider(captions, references), abs=1e-12)
    for n in range(1, 5):
        assert bleu(captions, references, n) == pytest.approx(dense_bleu(captions, references, n), abs=1e-12)


def test_cider_by_hand():
    # Every n-gram occurs with one image of two, so all weigh ln 2. Image 0: "red dog" of "red dog runs", 1-grams
    # 2 / sqrt(2 * 3), 2-grams 1 / sqrt(1 * 2), no 3- and 4-grams; and one bigram less.
    captions, references = ["red dog", "nothing here"], [["red dog runs"], ["blue cat sleeps now"]]
    first = 10 * (2 / math.sqrt(6) + 1 / math.sqrt(2)) / 4 * math.exp(-1 / 72)
    assert cider(captions, references) == pytest.approx(first / 2)


def test_cider_of_the_references_themselves():
    references = [["one red dog runs"], ["two blue cats sleep"]]
    assert cider(["one red dog runs", "two blue cats sleep"], references) == pytest.approx(10.0)
    assert cider(["one red dog runs", "one red dog runs"], references) == pytest.approx(5.0)


def test_repeating_a_good_word_does_not_pay():
    references = [["dog on grass field"], ["cat in warm bed"]]
    once, often = (cider([caption, ""], references) for caption in ("dog", "dog dog dog dog"))
    assert often < once


def test_bleu_by_hand():
    # "the the cat": "the" counts twice of three at most once; 2-gram "the cat" once of two. Length 3 of 2: no penalty.
    assert bleu(["the the cat"], [["the cat"]], n=2) == pytest.approx(math.sqrt(2 / 3 * 1 / 2))
    assert bleu(["the cat"], [["the cat sat there"]], n=2) == pytest.approx(math.exp(1 - 4 / 2))
    assert bleu(["a b c d"], [["a b c d", "x"]]) == pytest.approx(1.0)
    assert bleu(["a b c"], [["a b c"]]) == pytest.approx((1e-15 / 1e-9) ** 0.25)  # there is no 4-gram
    assert bleu(["a b c d"], [["d c b a"]]) == pytest.approx((1e-15 / 3 * 1e-15 / 2 * 1e-15) ** 0.25)


@pytest.mark.parametrize(
    "captions, references, reason",
    [
        ([], [], "one caption and one list of references"),
        (["a", "b"], [["a"]], "got 2 captions and 1 lists"),
        (["a", "b"], [["a"], []], "references of image 1"),
        (["a", "b"], [["a"], "b"], "must be a list of at least one, got 'b'"),
        (["a"], [["a"]], "at least two images"),
    ],
)
def test_errors(captions, references, reason):
    with pytest.raises(ValueError, match=reason):
        cider(captions, references)


def test_bleu_of_no_length():
    with pytest.raises(ValueError, match="`n` must be 1 to 4, got 5"):
        bleu(["a"], [["a"]], n=5)

    with pytest.raises(ValueError, match="`n` must be 1 to 4, got 0"):
        bleu(["a"], [["a"]], n=0)


def test_bleu_of_single_words_and_of_the_longest_by_default():
    assert bleu(["a dog"], [["a cat"]], n=1) == pytest.approx(1 / 2)
    assert (
        bleu(["a b c d e"], [["a b c d f"]])
        == bleu(["a b c d e"], [["a b c d f"]], n=4)
        == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    )


def test_the_closest_reference_is_the_shorter_of_two():
    """Lengths 2 and 4 are as close to 3: BLEU takes 2, so nothing is taken off."""
    assert bleu(["a b c"], [["a b c x", "y z"]], n=1) == pytest.approx(1.0)


def test_two_images_are_enough_for_cider():
    assert cider(["a dog", "a cat"], [["a dog"], ["a cat"]]) > 0
