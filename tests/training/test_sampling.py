# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The order of samples: nothing lost, nothing twice, the same again, taken up where it stopped."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from transformers_internvl.training.data.sampling import Mixture, MixtureStream

MIXTURE = Mixture([10, 7, 100], [1.0, 2.5, 0.25], seed=3)


def entries(mixture, epoch=0, shares=1):
    return [entry for share in range(shares) for entry in MixtureStream(mixture, share, shares, epoch)]


@pytest.mark.parametrize("mixing", ["size", "root"])
@pytest.mark.parametrize("shares", [1, 2, 6, 40])
def test_an_epoch_loses_and_repeats_nothing(mixing, shares):
    mixture = Mixture(MIXTURE.sizes, MIXTURE.repeats, mixing, seed=3)
    whole = entries(mixture)
    assert sorted(entries(mixture, shares=shares)) == sorted(whole) and len(whole) == len(mixture) == 10 + 18 + 25
    assert [entry for _, _, entry in whole] == list(range(len(mixture)))
    counts = Counter((number, sample) for number, sample, _ in whole)
    assert [counts[0, sample] for sample in range(10)] == [1] * 10
    assert sorted(counts[1, sample] for sample in range(7)) == [2] * 3 + [3] * 4  # 2.5 * 7 = 17.5 -> 18
    assert all(count == 1 for (number, _), count in counts.items() if number == 2)
    lengths = [len(MixtureStream(mixture, share, shares)) for share in range(shares)]
    assert sum(lengths) == len(mixture) and max(lengths) - min(lengths) <= 1


def test_the_drawn_part_is_another_every_epoch():
    """Over the epochs, a quarter of the set a time, every sample comes about equally often."""
    seen = Counter(sample for epoch in range(80) for number, sample, _ in entries(MIXTURE, epoch) if number == 2)
    assert len(seen) == 100 and sum(seen.values()) == 80 * 25
    assert max(seen.values()) < 40 and min(seen.values()) > 5  # mean 20, deviation 3.9


def test_deterministic_by_seed_and_epoch():
    assert entries(MIXTURE, 4) == entries(Mixture([10, 7, 100], [1.0, 2.5, 0.25], seed=3), 4)
    assert entries(MIXTURE, 4) != entries(MIXTURE, 5)
    assert entries(MIXTURE) != entries(Mixture(MIXTURE.sizes, MIXTURE.repeats, seed=4))


def test_mixing_by_size_and_by_root():
    sizes = [90_000, 10_000]
    for mixing, expected in (("size", 0.1), ("root", 1 / 4)):  # 100 / (300 + 100)
        sets, _ = Mixture(sizes, [1, 1], mixing).epoch(0)
        share = float(np.mean(sets[:20_000] == 1))
        assert abs(share - expected) < 0.01, mixing
    sets, _ = Mixture(sizes, [1, 1], "root").epoch(0)
    assert (sets == 1).sum() == 10_000 and not (sets[-40_000:] == 1).any()  # the small one is through early


@pytest.mark.parametrize("stop", [0, 1, 13, 25, 26])
def test_resume_in_mid_epoch(stop):
    stream = MixtureStream(MIXTURE, 1, 2, epoch=2)
    rest = iter(stream)
    first = list(islice(rest, stop))
    state = json.loads(json.dumps(stream.state_dict()))
    other = MixtureStream(MIXTURE, 1, 2)
    other.load_state_dict(state)
    remaining = list(rest)
    assert list(other) == remaining and first + remaining == list(MixtureStream(MIXTURE, 1, 2, epoch=2))
    assert list(other) == list(stream) == list(MixtureStream(MIXTURE, 1, 2, epoch=3))


def test_resume_of_something_else():
    state = MixtureStream(MIXTURE, 1, 2).state_dict()
    for other in (MixtureStream(MIXTURE, 1, 4), MixtureStream(Mixture([10, 7, 99], MIXTURE.repeats, seed=3), 1, 2)):
        with pytest.raises(ValueError, match="cannot be resumed in mid-epoch"):
            other.load_state_dict(state)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([1], [1, 2]), "a repeat factor a set"),
        (([], []), "a repeat factor a set, got 0 sets"),
        (([0], [1]), "above 0"),
        (([1], [0]), "above 0"),
        (([1], [1], "log"), "`mixing` is one of"),
    ],
)
def test_bad_mixtures(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(*arguments)


def test_bad_share():
    with pytest.raises(ValueError, match="from 0 to 1"):
        MixtureStream(MIXTURE, 2, 2)


def test_every_set_has_at_least_an_entry_and_halves_go_to_the_even_number():
    mixture = Mixture([10, 3, 5, 4], [0.01, 0.5, 0.5, 4], seed=1)
    assert [mixture.entries_of(number) for number in range(4)] == [1, 2, 2, 16]  # 0.1, 1.5, 2.5, 16
    whole = entries(mixture)
    assert Counter(number for number, _, _ in whole) == {0: 1, 1: 2, 2: 2, 3: 16}
    assert Counter(sample for number, sample, _ in whole if number == 3) == dict.fromkeys(range(4), 4)


@pytest.mark.parametrize("mixing", ["size", "root"])
def test_sets_and_epochs_are_drawn_apart(mixing):
    mixture = Mixture([50, 50], [1, 1], mixing, seed=2)
    (sets, samples), (later_sets, later_samples) = mixture.epoch(0), mixture.epoch(1)
    assert samples[sets == 0].tolist() != samples[sets == 1].tolist()
    assert sets.tolist() != later_sets.tolist()
    for number in (0, 1):
        assert samples[sets == number].tolist() != later_samples[later_sets == number].tolist()


def test_the_drawn_part_comes_anywhere_in_an_epoch():
    """With a factor of 1.5, samples that come twice are not all in their first pass when the others begin again."""
    sets, samples = Mixture([100], [1.5], seed=4).epoch(0)
    assert len(set(samples[:100].tolist())) < 100 and not sets.any()


@pytest.mark.parametrize(
    "change, share",
    [
        ({"seed": 4}, (1, 2)),
        ({"mixing": "root"}, (1, 2)),
        ({"repeats": [1.0, 2.5, 0.26]}, (1, 2)),
        ({"sizes": [10, 7, 101]}, (1, 2)),
        ({}, (0, 2)),
        ({}, (1, 3)),
    ],
)
def test_every_part_of_a_mixture_says_what_a_place_means(change, share):
    fields = {"sizes": [10, 7, 100], "repeats": [1.0, 2.5, 0.25], "seed": 3, "mixing": "size"}
    state = MixtureStream(Mixture(**fields), 1, 2).state_dict()
    same = MixtureStream(Mixture(**fields), 1, 2, epoch=9)
    same.load_state_dict(state)
    assert same.epoch == 0
    other = MixtureStream(Mixture(**{**fields, **change}), *share)
    name = next(iter(change), "share")
    with pytest.raises(ValueError, match=rf"it changed \([^)]*{name}"):
        other.load_state_dict(state)


def test_mistakes_of_a_second_set():
    for sizes, repeats in (([1, 0], [1, 1]), ([1, 1], [1, 0]), ([1, 1], [1, -1])):
        with pytest.raises(ValueError, match="above 0"):
            Mixture(sizes, repeats)
    for share in (-1, 3):
        with pytest.raises(ValueError, match="a share from 0 to 2"):
            MixtureStream(MIXTURE, share, 3)


def test_entries_are_counted_over_epochs():
    stream = MixtureStream(MIXTURE, 1, 2)
    assert len(stream) == 26 and stream.entries_out() == 0
    rest = iter(stream)
    for number in range(1, 26):
        next(rest)
        assert stream.entries_out() == number
    assert len(list(rest)) == 1 and stream.entries_out() == 26
    next(iter(stream))
    assert (stream.epoch, stream.entries_out()) == (1, 27)
