# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The loss and its weights against sums that are written out, one position after the other."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from transformers_internvl.modeling.internvl.losses import load_balancing_loss
from transformers_internvl.modeling.losses import (
    cross_entropies,
    share_of_step,
    supervised_loss,
    token_losses,
    token_weights,
)

B, S, D, V = 4, 6, 8, 11
IGNORED = -100


class Case:
    """Rows with 6, 3, 1 and no labels, the first position labelled in two of them."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.head = nn.Linear(D, V, bias=False)
        with torch.no_grad():
            self.head.weight.normal_(generator=generator)
        self.hidden = torch.randn(B, S, D, generator=generator)
        self.labels = torch.randint(0, V, (B, S), generator=generator)
        self.labels[1, [1, 3, 4]] = IGNORED
        self.labels[2, :-1] = IGNORED
        self.labels[3] = IGNORED
        self.weight = torch.rand(B, S, generator=generator)

    def entropy(self, row: int, position: int, label: int, smoothing: float = 0.0) -> float:
        """Minus the log probability of a label, smoothed with that of all others, from the state of a position."""
        scores = (self.head.weight @ self.hidden[row, position]).double().tolist()
        highest = max(scores)
        normalizer = highest + math.log(sum(math.exp(score - highest) for score in scores))
        spread = sum(normalizer - score for score in scores) / V
        return (1 - smoothing) * (normalizer - scores[label]) + smoothing * spread

    def logits(self) -> torch.Tensor:
        return self.head(self.hidden)


def weigh(row: list[int], reduction: str) -> float:
    """What a labelled token of a row weighs: labels count in the first place, too."""
    count = sum(label != IGNORED for label in row)
    return {"token": 1.0, "sample": 1 / max(count, 1), "square": 1 / max(count, 1) ** 0.5}[reduction]


def expected_loss(case: Case, reduction="token", weight=None, items=None, shifted=None, smoothing=0.0) -> float:
    """The definition: a weighted mean over what is predicted, or its share of a step of so many items."""
    total = weights = counted = 0.0
    for row in range(B):
        labels = (case.labels if shifted is None else shifted)[row].tolist()
        for state in range(S if shifted is not None else S - 1):
            place = state if shifted is not None else state + 1  # of the label that a state predicts
            given = None if weight is None else weight[row, place].item()
            if labels[place] == IGNORED:
                weights += given or 0.0
                continue
            by = weigh(labels, reduction) if given is None else given
            total += by * case.entropy(row, state, labels[place], smoothing)
            weights += by
            counted += 1
    if items is None:
        return total / weights
    return total / items if weight is not None else total / weights * counted / items


@pytest.mark.parametrize("with_logits", [False, True])
@pytest.mark.parametrize("reduction", ["token", "sample", "square"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("items", [None, 20, torch.tensor(20)])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_written_sum(with_logits, reduction, weighted, items, shifted, smoothing):
    case = Case()
    weight = case.weight if weighted else None
    shift_labels = case.labels.roll(1, dims=0) if shifted else None  # others than `labels`, which are not read then
    with torch.no_grad():
        found = supervised_loss(
            case.hidden,
            case.head,
            case.labels,
            reduction,
            weight,
            items,
            case.logits() if with_logits else None,
            shift_labels,
            smoothing,
        )
    expected = expected_loss(case, reduction, weight, None if items is None else 20, shift_labels, smoothing)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("with_logits", [False, True])
@pytest.mark.parametrize("weight", [None, torch.ones(B, S), torch.zeros(B, S)], ids=["none", "ones", "zeros"])
@pytest.mark.parametrize("items", [None, 0, 7, torch.tensor(0), torch.tensor(7)])
@pytest.mark.parametrize("shifted", [False, True])
def test_nothing_labelled_is_zero_with_a_gradient(with_logits, weight, items, shifted):
    case = Case()
    labels = torch.full_like(case.labels, IGNORED)
    if not shifted:
        labels[:, 0] = 5  # nothing stands before it, so nothing predicts it
    hidden = case.hidden.requires_grad_()
    loss = supervised_loss(
        hidden,
        case.head,
        labels,
        loss_weight=weight,
        num_items_in_batch=items,
        logits=case.head(hidden) if with_logits else None,
        shift_labels=labels if shifted else None,
    )
    loss.backward()
    assert loss.item() == 0.0
    assert not hidden.grad.any() and not case.head.weight.grad.any()  # NaN counts as something
    if weight is None or not weight.any():
        share = float(share_of_step(labels, weight, items, labels if shifted else None))
        assert share == (1.0 if items is None else 0.0)


def test_weights_of_positions():
    labels = Case().labels
    for reduction in ("token", "sample", "square"):
        expected = [[weigh(row, reduction) * (label != IGNORED) for label in row] for row in labels.tolist()]
        torch.testing.assert_close(token_weights(labels, reduction), torch.tensor(expected))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
def test_shares_of_a_step_add_up_to_one(weighted, shifted):
    """Also where the first position is labelled, which nothing predicts: it is no part of any share."""
    case = Case()
    weight = case.weight if weighted else None
    kept = slice(None) if shifted else slice(1, None)
    counts = (case.labels[:, kept] != IGNORED).float() if weight is None else weight[:, kept]
    total = counts.sum()
    shares = []
    for rows in (slice(0, 1), slice(1, 3), slice(3, 4)):
        labels, part = case.labels[rows], None if weight is None else weight[rows]
        shares.append(share_of_step(labels, part, total, labels if shifted else None))
        torch.testing.assert_close(shares[-1], counts[rows].sum() / total)
        torch.testing.assert_close(share_of_step(labels, part, total.item(), labels if shifted else None), shares[-1])
    assert sum(shares).item() == pytest.approx(1.0)
    assert share_of_step(case.labels, weight) == 1.0
    other = torch.full_like(case.labels, IGNORED)
    if shifted:  # `labels` are not read then
        assert share_of_step(other, weight, total, case.labels) == pytest.approx(1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_entropies_stand_in_the_labels_places(smoothing):
    case = Case()
    with torch.no_grad():
        found = token_losses(case.hidden, case.head, case.labels, smoothing)
    for row in range(B):
        for place, label in enumerate(case.labels[row].tolist()):
            known = place > 0 and label != IGNORED
            expected = case.entropy(row, place - 1, label, smoothing) if known else 0.0
            assert found[row, place].item() == pytest.approx(expected, rel=1e-5)


def test_logits_in_low_precision_are_compared_in_float32():
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0)).mul(8).bfloat16()
    targets = torch.arange(50)
    found = cross_entropies(logits, targets)
    assert found.dtype == torch.float32
    exact = -logits.double().log_softmax(dim=-1)[targets, targets]
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_weights_in_low_precision_are_summed_in_float32():
    case, weight = Case(), torch.full((B, S), 1 / 3, dtype=torch.bfloat16)
    with torch.no_grad():
        found = supervised_loss(case.hidden, case.head, case.labels, loss_weight=weight)
        expected = expected_loss(case, weight=weight)
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["num_experts", "num_local_experts"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_loss_of_experts_by_hand(name, padded):
    """Experts, times the sum over them of the share of choices and the mean probability: of GPT-OSS and Qwen3."""
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2 * 5, 7, generator=generator) for _ in range(3)]
    mask = torch.tensor([[1, 1, 1, 0, 0], [1] * 5]) if padded else None
    text = SimpleNamespace(**{name: 7}, num_experts_per_tok=2)
    model = SimpleNamespace(config=SimpleNamespace(text_config=text), is_activation_checkpointing=False)
    kept = [at for at in range(10) if mask is None or mask.flatten()[at]]
    chosen, mean = [0.0] * 7, [0.0] * 7
    for layer in logits:
        for row in layer[kept].softmax(dim=-1):
            for expert in range(7):
                mean[expert] += row[expert].item() / (3 * len(kept))
                chosen[expert] += (row > row[expert]).sum().item() < 2
    expected = 7 * sum(count / (3 * len(kept)) * share for count, share in zip(chosen, mean, strict=True))
    assert load_balancing_loss(model, tuple(logits), mask, logits[0]).item() == pytest.approx(expected, rel=1e-5)
