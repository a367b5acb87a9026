# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A packed batch gives what its samples give alone: logits, loss and gradients of every tiny chat model."""

import pytest
import torch

from transformers_internvl.modeling.losses import IGNORE_INDEX
from transformers_internvl.training.data.collation import PackingCollator

from .cases import CHATS, Case

# Their rope turns with the longest position of the batch, which a sample alone does not know of.
BY_LENGTH = ("chat_internlm2_dynamic_rope", "chat_phi3_long")


def samples_of(case: Case) -> list[dict[str, torch.Tensor]]:
    """The rows of the golden batch without padding, each with its own tiles (dummy ones too)."""
    batch = case.batch("right")
    flags, pixels = batch["image_flags"].flatten(), batch["pixel_values"]
    per_tile = case.model.config.image_seq_length
    samples, at = [], 0
    for row in range(len(batch["input_ids"])):
        here = batch["attention_mask"][row] == 1
        sample = {name: batch[name][row][here] for name in ("input_ids", "labels")}
        wanted = int((sample["input_ids"] == case.model.config.image_token_id).sum()) // per_tile
        stop = at
        while int(flags[at:stop].sum()) < wanted or (wanted == 0 and stop == at):
            stop += 1
        samples.append({**sample, "pixel_values": pixels[at:stop], "image_flags": flags[at:stop]})
        at = stop
    assert at == len(pixels)
    return samples


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def attention(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=CHATS, ids=lambda path: path.name)
def loaded(request, attention) -> Case:
    if attention == "sdpa" and "gpt_oss" in request.param.name:
        attention = {"vision_config": "sdpa", "text_config": "eager"}
    return Case(request.param, attention)


@pytest.fixture
def case(loaded) -> Case:
    loaded.model.train()  # where no cache is made by itself
    return loaded


def run(case, packs):
    """Logits, loss, sum of weights, gradients."""
    batch = PackingCollator("square")(packs)
    case.model.zero_grad()
    outputs = case.model(**batch, skip_logits=False, output_router_logits=False)
    outputs.loss.backward()
    gradients = {
        name: parameter.grad.clone() for name, parameter in case.model.named_parameters() if parameter.grad is not None
    }
    return outputs.logits[0].detach(), outputs.loss.detach(), batch["loss_weight"][:, 1:].sum(), gradients


def test_packed_equals_separate(case):
    samples = samples_of(case)
    if case.path.name in BY_LENGTH:  # as long as the longest, each of them: then the rope is the same
        samples = [max(samples, key=lambda sample: len(sample["input_ids"]))] * 2
    samples = [samples[-1], *samples[:-1]]
    logits, loss, total, gradients = run(case, [samples])
    alone = [run(case, [[sample]]) for sample in samples]
    # The logits of tied models reach 20, where float32 itself steps by 2e-6.
    torch.testing.assert_close(logits, torch.cat([part[0] for part in alone]), rtol=1e-6, atol=1e-5)
    weights = torch.stack([part[2] for part in alone])
    assert torch.isclose(total, weights.sum())
    losses = torch.stack([part[1] for part in alone])
    torch.testing.assert_close(loss, (losses * weights).sum() / weights.sum(), rtol=0, atol=1e-5)
    assert gradients.keys() == alone[0][3].keys()
    for name, gradient in gradients.items():
        expected = sum(part[3][name] * weight for part, weight in zip(alone, weights, strict=True)) / total
        torch.testing.assert_close(
            gradient, expected, rtol=0, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_sample_does_not_see_the_others(case):
    """Other ids and pixels of one sample leave the logits of the others as they are."""
    samples = samples_of(case)
    collate = PackingCollator("token")
    lengths = [len(sample["input_ids"]) for sample in samples]
    with torch.no_grad():
        before = case.model(**collate([samples]), skip_logits=False).logits[0].split(lengths)
        for changed in range(len(samples)):
            other = dict(samples[changed])
            text = other["labels"] != IGNORE_INDEX
            other["input_ids"] = torch.where(text, (other["input_ids"] + 1) % 90 + 3, other["input_ids"])
            other["pixel_values"] = other["pixel_values"] + 1
            packed = [other if at == changed else sample for at, sample in enumerate(samples)]
            after = case.model(**collate([packed]), skip_logits=False).logits[0].split(lengths)
            for at in range(len(samples)):
                same = torch.allclose(before[at], after[at], rtol=0, atol=1e-6)
                assert same != (at == changed), (changed, at)


@pytest.mark.parametrize("use_cache", ["by the config", True])
def test_samples_stay_apart_in_evaluation(case, use_cache, monkeypatch):
    """With a cache of the model's own making, too: each sample of a pack has the logits that it has alone."""
    case.model.eval()
    monkeypatch.setattr(case.model.config.text_config, "use_cache", True)
    options = {"use_cache": True} if use_cache is True else {}
    samples = samples_of(case)
    if case.path.name in BY_LENGTH:
        samples = [max(samples, key=lambda sample: len(sample["input_ids"]))] * 2
    with torch.no_grad():
        packed = case.model(**PackingCollator("token")([samples]), **options).logits[0]
        alone = []
        for sample in samples:
            batch = {name: sample[name][None] for name in ("input_ids", "labels")}
            rows = {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}
            tiles = {name: sample[name] for name in ("pixel_values", "image_flags")}
            alone.append(case.model(**rows, **tiles, use_cache=False).logits[0])
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-6, atol=1e-5)
