# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The GSPO loss by hand, on a chat model with chunked logits, and what is refused."""

import math

import pytest
import torch

from tests.tiny import IMAGE_TOKEN, tiny_batch, tiny_model
from transformers_internvl.modeling import chunked_cross_entropy
from transformers_internvl.training.trainers.gspo import PAPER_CLIP, GSPOLoss, answer_log_probs, group_advantages


def test_advantages_by_hand():
    rewards, groups = torch.tensor([1.0, 0.0, 1.0, 1.0, 3.0]), torch.tensor([7, 7, 2, 2, 5])
    root = math.sqrt(0.5)  # of the unbiased variance of 1 and 0
    torch.testing.assert_close(group_advantages(rewards, groups), torch.tensor([0.5 / root, -0.5 / root, 0, 0, 3]))
    assert group_advantages(rewards, groups, by_deviation=False).tolist() == [0.5, -0.5, 0, 0, 3]


def test_a_loss_by_hand():
    """Two tokens, as likely as before: the loss is -A. Then e times as likely as before: cut off for A > 0 alone."""
    old, mask = torch.zeros(2, 3), torch.tensor([[1, 1, 0], [1, 1, 1]])
    advantages = torch.tensor([1.0, -1.0])
    new = torch.zeros(2, 3, requires_grad=True)
    terms = GSPOLoss()(new, old, advantages, mask)
    assert (terms.loss, terms.clip_fraction, terms.kl) == (0, 0, 0) and terms.ratios.tolist() == [1, 1]
    (gradient,) = torch.autograd.grad(terms.loss, new)
    torch.testing.assert_close(gradient, torch.tensor([[-0.25, -0.25, 0], [1 / 6, 1 / 6, 1 / 6]]))
    new = torch.ones(2, 3, requires_grad=True)
    for clip, bound in (((0.2, 0.2), 1.2), (PAPER_CLIP, 1.0004)):
        terms = GSPOLoss(clip)(new, old, advantages, mask)
        assert terms.loss.item() == pytest.approx((-bound + math.e) / 2, abs=1e-6)
        assert terms.clip_fraction.item() == pytest.approx(2 / 5) and terms.kl.item() == pytest.approx(-1)
        (gradient,) = torch.autograd.grad(terms.loss, new)
        assert not gradient[0].any() and gradient[1].tolist() == pytest.approx([math.e / 6] * 3)


@pytest.mark.parametrize("chunk", [50, 2**26])
def test_a_step_on_a_chat_model_is_that_of_whole_logits(chunk, monkeypatch):
    monkeypatch.setattr(chunked_cross_entropy, "CHUNK_ELEMENTS", chunk)
    model, batch = tiny_model(), tiny_batch([1, 2])
    ids = batch["input_ids"]
    labels = ids.masked_fill(ids == IMAGE_TOKEN, -100)
    labels[0, :8], labels[1, :12] = -100, -100
    log_probs, mask = answer_log_probs(model, {**batch, "labels": labels})
    assert mask.sum(1).tolist() == [12, 8] and not log_probs[~mask].any()
    whole = model(**batch).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(log_probs, whole * mask, rtol=1e-4, atol=2e-5)
    torch.manual_seed(0)
    old = (whole + 0.3 * torch.randn(whole.shape)).detach()
    advantages = torch.tensor([1.0, -0.5])
    parameters = [model.lm_head.weight, model.model.multi_modal_projector.linear_1.weight]
    found, wanted = (
        torch.autograd.grad(GSPOLoss()(given, old, advantages, mask).loss, parameters) for given in (log_probs, whole)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_refused():
    zeros = torch.zeros(2, 3)
    for call, message in (
        (lambda: GSPOLoss((1.0, 0.2)), "below 1"),
        (lambda: GSPOLoss((0.2, -0.1)), "above"),
        (lambda: GSPOLoss()(zeros, zeros, zeros, torch.zeros(2, 4)), "one shape"),
        (lambda: GSPOLoss()(zeros, zeros, zeros, torch.tensor([[1, 0, 0], [0, 0, 0]])), r"Answers \[1\] .* no token"),
        (lambda: group_advantages(torch.zeros(2), torch.zeros(3)), "one for each answer"),
        (lambda: group_advantages(torch.tensor([1.0, float("nan")]), torch.zeros(2)), "finite"),
        (lambda: answer_log_probs(tiny_model(), tiny_batch([1])), "needs `labels`"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bounds_of_the_clip():
    for clip in ((-0.1, 0.2), (1.0, 0.2), (0.2, -0.1), (0.2, math.nan)):
        with pytest.raises(ValueError, match="`clip` is how far"):
            GSPOLoss(clip)
    assert GSPOLoss((0.0, 0.0)).clip == (0.0, 0.0)
