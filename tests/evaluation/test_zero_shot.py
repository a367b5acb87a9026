# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Class vectors as means of normalized vectors, and accuracy against a count by hand."""

import pytest
import torch
from transformers import BatchFeature

from transformers_internvl.evaluation import zero_shot
from transformers_internvl.evaluation.zero_shot import (
    TEMPLATES,
    class_prompts,
    ranks_of_right,
    top_k_accuracy,
    zero_shot_classifier,
)


class LetterCounts:
    """Stands for model and processor: a text's vector are the counts of its letters, so that all can be counted."""

    device = torch.device("cpu")

    def __call__(self, text, truncation, return_tensors):
        ids = torch.zeros(len(text), max(map(len, text)), dtype=torch.long)
        for row, sentence in enumerate(text):
            ids[row, : len(sentence)] = torch.tensor([ord(letter) for letter in sentence])
        return BatchFeature({"input_ids": ids, "attention_mask": (ids > 0).long()})

    def get_text_features(self, input_ids, attention_mask, return_dict):
        counts = torch.nn.functional.one_hot(input_ids * attention_mask, 128).sum(dim=1)
        return BatchFeature({"pooler_output": counts[:, 1:].half()})

    def vector(self, sentence):
        counts = torch.zeros(127)
        for letter in sentence:
            counts[ord(letter) - 1] += 1
        return counts / counts.norm()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_class_is_the_mean_of_normalized_vectors(batch_size):
    stand_in = LetterCounts()
    names, templates = ["cat", ["dog", "hound"], "red panda"], ["{}", "a drawing of a {}, in {} style"]
    classifier = zero_shot_classifier(stand_in, stand_in, names, templates, batch_size=batch_size)
    sentences = [
        ["cat", "a drawing of a cat, in cat style"],
        ["dog", "a drawing of a dog, in dog style", "hound", "a drawing of a hound, in hound style"],
        ["red panda", "a drawing of a red panda, in red panda style"],
    ]
    means = [torch.stack([stand_in.vector(text) for text in texts]).mean(dim=0) for texts in sentences]
    expected = torch.stack([mean / mean.norm() for mean in means])
    assert classifier.dtype == torch.float32
    torch.testing.assert_close(classifier, expected)
    torch.testing.assert_close(classifier.norm(dim=-1), torch.ones(3))


def test_names_are_data():
    assert class_prompts("{0} {name}", ["a {}"]) == ["a {0} {name}"]


def test_the_tables_of_templates_can_be_used():
    for templates in TEMPLATES.values():
        assert len(set(class_prompts("x", templates))) == len(templates)


def test_accuracy_by_hand():
    scores = torch.tensor([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [1, 1, 0]])
    assert top_k_accuracy(scores, [0, 1, 2, 0], ks=(1, 2, 3)) == {"top1": 0.25, "top2": 0.75, "top3": 1.0}


def test_all_alike_is_never_right():
    assert top_k_accuracy(torch.zeros(3, 8), [0, 1, 2]) == {"top1": 0.0, "top5": 0.0}


@pytest.mark.parametrize(
    "names, templates, reason",
    [
        ([], ["{}"], "no classes"),
        (["cat", " "], ["{}"], "needs a name"),
        (["cat", []], ["{}"], "needs a name"),
        (["cat"], [], "at least one sentence"),
        (["cat"], "a {}", "must be a list"),
        (["cat"], ["a {}", "a photo"], "'a photo' has no {}"),
    ],
)
def test_errors_of_classes(names, templates, reason):
    with pytest.raises(ValueError, match=reason):
        zero_shot_classifier(LetterCounts(), LetterCounts(), names, templates)


@pytest.mark.parametrize(
    "scores, labels, ks, reason",
    [
        (torch.zeros(2, 3), [0], (1,), "items, classes"),
        (torch.zeros(0, 3), [], (1,), "at least one of each"),
        (torch.zeros(1, 3), [3], (1,), "lie in 0 to 2"),
        (torch.zeros(1, 3), [-1], (1,), "lie in 0 to 2"),
        (torch.tensor([[float("nan"), 1.0]]), [0], (1,), "NaN"),
        (torch.zeros(1, 3), [0], (0,), "ranks from 1"),
    ],
)
def test_errors_of_accuracy(scores, labels, ks, reason):
    with pytest.raises(ValueError, match=reason):
        top_k_accuracy(scores, labels, ks)


def test_among_five_classes_the_fifth_is_still_found():
    """Whoever comes last of five is among the five best, even where all are alike; of six no more."""
    last = torch.tensor([[5.0, 4, 3, 2, 1]])
    assert top_k_accuracy(last, [4]) == {"top1": 0.0, "top5": 1.0}
    assert ranks_of_right(last, [4]).tolist() == [4] and ranks_of_right(last, [0]).tolist() == [0]
    assert top_k_accuracy(torch.zeros(2, 5), [0, 4]) == {"top1": 0.0, "top5": 1.0}
    assert top_k_accuracy(torch.tensor([[6.0, 5, 4, 3, 2, 1]]), [5]) == {"top1": 0.0, "top5": 0.0}
    assert top_k_accuracy(torch.tensor([[6.0, 5, 4, 3, 2, 1]]), [4]) == {"top1": 0.0, "top5": 1.0}
    assert top_k_accuracy(torch.tensor([[1.0]]), [0]) == {"top1": 1.0, "top5": 1.0}


def test_photo_templates_by_default():
    stand_in = LetterCounts()
    expected = zero_shot_classifier(stand_in, stand_in, ["cat", "dog"], TEMPLATES["photo"])
    assert torch.equal(zero_shot_classifier(stand_in, stand_in, ["cat", "dog"]), expected)


@pytest.mark.parametrize("kind", ["images", "videos"])
def test_every_option_goes_to_its_part(monkeypatch, kind):
    given = []
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    monkeypatch.setattr(
        zero_shot, f"embed_{kind}", lambda *words, **options: given.append((words, options)) or vectors
    )
    classify = getattr(zero_shot, f"classify_{kind}")
    classifier = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    options = {"mode": "InternVL-G", "batch_size": 7} | ({"num_frames": 3} if kind == "videos" else {})
    scores = classify("model", "processor", "items", classifier, **options)
    assert scores.tolist() == [[1, 3, 0], [2, 0, 8]]
    classify("model", "processor", "items", classifier)
    usual = {"mode": "InternVL-C", "batch_size": 32} | ({"num_frames": 8} if kind == "videos" else {})
    assert given == [(("model", "processor", "items"), each) for each in (options, usual)]
