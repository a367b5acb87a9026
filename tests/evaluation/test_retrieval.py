# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Recall at k against a count by hand and a brute-force ranking."""

import random

import pytest
import torch

from transformers_internvl.evaluation import retrieval
from transformers_internvl.evaluation.retrieval import recall_at_k


def found(scores: list[float], right: set[int], k: int) -> bool:
    """Whether a right candidate is among the k first of the ranking in which wrong ones win ties."""
    ranking = sorted(range(len(scores)), key=lambda index: (-scores[index], index in right))
    return any(index in right for index in ranking[:k])


def brute_force(similarity: torch.Tensor, owners: list[int], ks) -> dict[str, float]:
    rows, columns = similarity.tolist(), similarity.T.tolist()
    texts_of = [{text for text, owner in enumerate(owners) if owner == image} for image in range(len(rows))]
    recalls = {}
    for k in ks:
        hits = [found(row, texts, k) for row, texts in zip(rows, texts_of, strict=True)]
        recalls[f"image_to_text_recall@{k}"] = sum(hits) / len(hits)
        hits = [found(column, {owner}, k) for column, owner in zip(columns, owners, strict=True)]
        recalls[f"text_to_image_recall@{k}"] = sum(hits) / len(hits)
    recalls["mean_recall"] = sum(recalls.values()) / len(recalls)
    return recalls


@pytest.mark.parametrize("levels", [3, 1000])  # few levels: many ties
@pytest.mark.parametrize("texts_per_image", [1, 5])
@pytest.mark.parametrize("seed", range(3))
def test_as_brute_force(levels, texts_per_image, seed):
    generator = random.Random(seed)
    owners = [image for image in range(12) for _ in range(texts_per_image)]
    generator.shuffle(owners)
    numbers = [[generator.randrange(levels) for _ in owners] for _ in range(12)]
    similarity = torch.tensor(numbers, dtype=torch.float32)
    ks = (1, 2, 5, 10)
    assert recall_at_k(similarity, ks, owners) == pytest.approx(brute_force(similarity, owners, ks))


def test_by_hand():
    similarity = torch.tensor(
        [
            [0.9, 0.1, 0.8],  # image 0 has texts 0 and 1: the first is the best
            [0.2, 0.3, 0.3],  # image 1 has text 2, and text 1 ties with it
        ]
    )
    assert recall_at_k(similarity, (1, 2), [0, 0, 1]) == {
        "image_to_text_recall@1": 0.5,
        "text_to_image_recall@1": pytest.approx(1 / 3),  # text 0 alone
        "image_to_text_recall@2": 1.0,
        "text_to_image_recall@2": 1.0,
        "mean_recall": pytest.approx((0.5 + 1 / 3 + 2) / 4),
    }


def test_all_alike_recalls_nothing():
    recalls = recall_at_k(torch.zeros(20, 20))
    assert set(recalls.values()) == {0.0} and len(recalls) == 7


def test_the_diagonal_is_right_by_default():
    assert recall_at_k(torch.eye(4))["mean_recall"] == 1.0


@pytest.mark.parametrize(
    "similarity, options, reason",
    [
        (torch.zeros(3), {}, r"must be \(images, texts\)"),
        (torch.zeros(0, 3), {}, "at least one of each"),
        (torch.zeros(2, 3), {}, "3 texts for 2 images"),
        (torch.zeros(2, 3), {"image_of_text": [0, 1]}, "one image for each of 3 texts"),
        (torch.zeros(2, 3), {"image_of_text": [0, 1, 2]}, "lie in 0 to 1, got 0 to 2"),
        (torch.zeros(2, 3), {"image_of_text": [0, 0, 0]}, "Image 1 has no text"),
        (torch.tensor([[float("nan")]]), {}, "NaN"),
        (torch.zeros(2, 2), {"ks": (0, 1)}, "ranks from 1"),
        (torch.zeros(2, 2), {"ks": ()}, "ranks from 1"),
    ],
)
def test_errors(similarity, options, reason):
    with pytest.raises(ValueError, match=reason):
        recall_at_k(similarity, **options)


def test_the_first_image_is_0():
    with pytest.raises(ValueError, match="lie in 0 to 1, got -1 to 1"):
        recall_at_k(torch.zeros(2, 3), image_of_text=[0, -1, 1])


@pytest.mark.parametrize("kind", ["images", "videos"])
def test_every_option_goes_to_its_part(monkeypatch, kind):
    """Modes, batches, frames and cutting are those of the call; by default the paper's."""
    given = {}

    def embed(what):
        def run(model, processor, items, **options):
            given[what] = (model, processor, items, options)
            return torch.eye(3)

        return run

    monkeypatch.setattr(retrieval, f"embed_{kind}", embed("items"))
    monkeypatch.setattr(retrieval, "embed_texts", embed("texts"))
    recall = retrieval.retrieve if kind == "images" else retrieval.retrieve_videos
    frames = {"num_frames": 3} if kind == "videos" else {}
    options = {"mode": "InternVL-G", "batch_size": 7}
    found = recall("model", "processor", "items", "texts", [0, 2, 1], ks=(1, 3), truncation=True, **options, **frames)
    assert given["items"] == ("model", "processor", "items", {**options, **frames, "fit": "squash"})
    assert given["texts"] == ("model", "processor", "texts", {"batch_size": 7, "truncation": True})
    assert found == recall_at_k(torch.eye(3), (1, 3), [0, 2, 1]) and found["image_to_text_recall@1"] < 1
    found = recall("model", "processor", "items", "texts")
    frames = {"num_frames": 8} if kind == "videos" else {}
    assert given["items"][3] == {"mode": "InternVL-C", "batch_size": 32, "fit": "squash", **frames}
    assert given["texts"][3] == {"batch_size": 32, "truncation": False}
    assert found == recall_at_k(torch.eye(3), (1, 5, 10))
