# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The GSPO loss: advantages, losses, gradients and figures as in the original code."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.parity.golden import golden_cases
from transformers_internvl.modeling import chunked_cross_entropy
from transformers_internvl.training.trainers.gspo import PAPER_CLIP, RELEASED_CLIP, GSPOLoss, group_advantages

FOLDERS = golden_cases("gspo")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
OF_GRADIENTS = {"rtol": 1e-4, "atol": 1e-6}


def record(folder):
    clips = json.loads((folder / "cases.json").read_text())
    assert clips
    return clips, load_file(folder / "inputs.safetensors"), load_file(folder / "outputs.safetensors")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_losses_and_gradients(folder):
    clips, inputs, outputs = record(folder)
    for name, clip in clips.items():
        base = name.partition(".")[0]
        if f"{base}.log_prob" not in inputs:
            continue
        mask = inputs[f"{base}.response_mask"]
        rewards, groups = inputs[f"{base}.token_level_rewards"].sum(-1), inputs[f"{base}.group"]
        advantages = group_advantages(rewards, groups)
        torch.testing.assert_close(advantages[:, None] * mask, outputs[f"{base}.advantages"], **CLOSE)
        plain = group_advantages(rewards, groups, by_deviation=False)
        torch.testing.assert_close(plain[:, None] * mask, outputs[f"{base}.advantages_without_std"], **CLOSE)
        log_probs = inputs[f"{base}.log_prob"].requires_grad_()
        loss = GSPOLoss((clip["clip_ratio_low"], clip["clip_ratio_high"]))
        terms = loss(log_probs, inputs[f"{base}.old_log_prob"], advantages, mask)
        for term in ("loss", "clip_fraction", "kl"):
            torch.testing.assert_close(getattr(terms, term), outputs[f"{name}.{term}"][0], **CLOSE)
        (gradient,) = torch.autograd.grad(terms.loss, log_probs)
        torch.testing.assert_close(gradient, outputs[f"{name}.grad_log_prob"], **OF_GRADIENTS)
    assert {RELEASED_CLIP, PAPER_CLIP} <= {(c["clip_ratio_low"], c["clip_ratio_high"]) for c in clips.values()}


@pytest.mark.parametrize("chunk", [1, 2**26])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_log_probabilities_from_logits(folder, chunk, monkeypatch):
    """Logits that come from a head, in chunks of one position and in one piece."""
    clips, inputs, outputs = record(folder)
    monkeypatch.setattr(chunked_cross_entropy, "CHUNK_ELEMENTS", chunk)
    logits, ids = inputs["logits.logits"], inputs["logits.responses"]
    vocabulary = logits.shape[-1]
    head = nn.Linear(vocabulary, vocabulary, bias=False)
    nn.init.eye_(head.weight)
    states = logits.flatten(0, 1).requires_grad_()
    entropies = chunked_cross_entropy.cross_entropies_of(head, states, ids.flatten())
    mask = inputs["logits.response_mask"]
    log_probs = -entropies.reshape(ids.shape)
    torch.testing.assert_close(log_probs * mask, outputs["logits.log_prob"] * mask, **CLOSE)
    clip = clips["logits"]
    loss = GSPOLoss((clip["clip_ratio_low"], clip["clip_ratio_high"]))
    terms = loss(log_probs, inputs["logits.old_log_prob"], inputs["logits.advantages"], mask)
    for term in ("loss", "clip_fraction", "kl"):
        torch.testing.assert_close(getattr(terms, term), outputs[f"logits.{term}"][0], **CLOSE)
    (gradient,) = torch.autograd.grad(terms.loss, states)
    torch.testing.assert_close(gradient.reshape(logits.shape), outputs["logits.grad_logits"], **OF_GRADIENTS)
