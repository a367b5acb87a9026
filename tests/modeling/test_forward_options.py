# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Options of a chat model's forward call, alone and together: logits, losses, experts, caches of training."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tiny import tiny_batch, tiny_model

EXPERTS = {
    "model_type": "qwen3_moe",
    "num_experts": 4,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 16,
    "output_router_logits": True,
    "router_aux_loss_coef": 0.5,
}


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def batch():
    return tiny_batch([1, 2])


def entropies(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """`(B, L - 1)`: of each label but the first."""
    options = {"reduction": "none", "label_smoothing": smoothing}
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), **options).view(len(labels), -1)


@torch.no_grad()
def test_the_reduction_of_the_call_holds_over_the_models(model, batch):
    labels = batch["input_ids"].clone()
    labels[0, :15] = -100
    logits = model(**batch).logits
    found = entropies(logits, labels.masked_fill(labels == -100, 0)) * (labels[:, 1:] != -100)
    counts = torch.tensor([5.0, 20.0])
    for name, by in (("token", torch.ones(2)), ("sample", 1 / counts), ("square", counts**-0.5)):
        weights = by[:, None] * (labels[:, 1:] != -100)
        expected = (found * weights).sum() / weights.sum()
        for configured in ("token", "square"):
            model.config.loss_reduction = configured
            loss = model(**batch, labels=labels, loss_reduction=name).loss
            torch.testing.assert_close(loss, expected)
    none = model(**batch, labels=labels, loss_reduction="none").loss
    torch.testing.assert_close(none[:, 1:], found, rtol=1e-5, atol=1e-5)
    assert not none[:, 0].any()
    smooth = model(**batch, labels=labels, loss_reduction="none", smoothing=0.3).loss
    expected = entropies(logits, labels.masked_fill(labels == -100, 0), 0.3) * (labels[:, 1:] != -100)
    torch.testing.assert_close(smooth[:, 1:], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keep", [0, 1, 3, 20, torch.tensor([2, 5])])
@torch.no_grad()
def test_some_logits_do_not_change_the_loss(model, batch, keep):
    whole = model(**batch, labels=batch["input_ids"])
    some = model(**batch, labels=batch["input_ids"], logits_to_keep=keep)
    expected = whole.logits[:, keep] if isinstance(keep, torch.Tensor) else whole.logits[:, -keep:]
    torch.testing.assert_close(some.logits, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(some.loss, whole.loss)


@pytest.mark.parametrize(
    ("training", "labelled", "skip", "has_logits"),
    [
        (False, False, None, True),
        (False, True, None, True),
        (False, True, False, True),
        (False, True, True, False),
        (True, False, None, True),  # without labels nobody reads anything else
        (True, False, True, True),
        (True, True, None, False),
        (True, True, False, True),
        (True, True, True, False),
    ],
)
@torch.no_grad()
def test_when_logits_are_skipped(model, batch, training, labelled, skip, has_logits):
    labels = batch["input_ids"] if labelled else None
    outputs = model.train(training)(**batch, labels=labels, skip_logits=skip)
    assert (outputs.logits is not None) == has_logits and (outputs.loss is not None) == labelled


def test_a_loss_of_the_users_smooths_by_itself(model, batch):
    model.loss_function = lambda **kwargs: kwargs["logits"].sum()
    model(**batch, labels=batch["input_ids"])
    with pytest.raises(ValueError, match="smooth labels in it"):
        model(**batch, labels=batch["input_ids"], smoothing=0.1)


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_a_cache_is_made_where_somebody_reads_it(model, batch, training):
    model.train(training)
    assert (model(**batch).cache is None) == training
    assert model(**batch, use_cache=True).cache is not None
    first = model(**batch, use_cache=True).cache
    ids, mask = torch.tensor([[5], [6]]), torch.ones(2, 21, dtype=torch.long)
    assert model(input_ids=ids, attention_mask=mask, cache=first).cache.get_seq_length() == 21


def test_ids_or_embeddings(model, batch):
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    for inputs in ({}, {"input_ids": batch["input_ids"], "inputs_embeds": embeddings}):
        with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
            model(**inputs)


@torch.no_grad()
def test_an_embedding_that_is_an_image_tokens_in_part_is_none(model, batch):
    """All channels decide."""
    embeddings = model.get_input_embeddings()(batch["input_ids"])
    expected = model(**batch).logits
    embeddings[0, 10, :-1] = model.get_input_embeddings().weight[1, :-1]
    rest = {name: batch[name] for name in ("attention_mask", "pixel_values")}
    found = model(inputs_embeds=embeddings, **rest).logits
    torch.testing.assert_close(found[0, :10], expected[0, :10])


# --- experts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["counted", "weighted", "shifted"])
@torch.no_grad()
def test_experts_are_balanced_once_a_step(kind):
    """Two pieces of a step, the first positions labelled: their shares of the balancing loss add up to one."""
    model = tiny_model(text=EXPERTS).train()
    pieces = [tiny_batch([1], length=12, seed=1), tiny_batch([1], length=20, seed=2)]
    for piece in pieces:
        piece["labels"] = piece["input_ids"]
        if kind == "weighted":
            piece["loss_weight"] = torch.rand(piece["labels"].shape, generator=torch.Generator().manual_seed(3))
        if kind == "shifted":
            piece["shift_labels"] = piece["labels"].roll(-1)
            piece["labels"] = torch.full_like(piece["labels"], -100)
    if kind == "weighted":
        sums = [piece["loss_weight"][:, 1:].sum() for piece in pieces]
    else:
        sums = [torch.tensor(float(piece["input_ids"].shape[1] - (kind == "counted"))) for piece in pieces]
    items = sum(sums)
    for piece, weight in zip(pieces, sums, strict=True):
        outputs = model(**piece, num_items_in_batch=items)
        model.config.text_config.router_aux_loss_coef = 0.0
        plain = model(**piece, num_items_in_batch=items).loss
        model.config.text_config.router_aux_loss_coef = 0.5
        torch.testing.assert_close(outputs.loss - plain, weight / items * 0.5 * outputs.aux_loss, rtol=1e-4, atol=1e-6)
        alone = model(**piece)
        model.config.text_config.router_aux_loss_coef = 0.0
        torch.testing.assert_close(alone.loss - model(**piece).loss, 0.5 * alone.aux_loss, rtol=1e-4, atol=1e-6)
        model.config.text_config.router_aux_loss_coef = 0.5


@torch.no_grad()
def test_padding_is_not_balanced():
    model, row = tiny_model(text=EXPERTS), tiny_batch([1], length=12)
    alone = model(**row, labels=row["input_ids"])
    padded = {name: torch.nn.functional.pad(row[name], (0, 6), value=0) for name in ("input_ids", "attention_mask")}
    labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
    together = model(**padded, pixel_values=row["pixel_values"], labels=labels)
    torch.testing.assert_close(together.aux_loss, alone.aux_loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.loss, alone.loss, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_label_by_itself_has_no_share_of_the_balance():
    model, row = tiny_model(text=EXPERTS), tiny_batch([1], length=12)
    every = model(**row, labels=row["input_ids"], loss_reduction="none")
    torch.testing.assert_close(
        every.loss[:, 1:], entropies(model(**row).logits, row["input_ids"]), rtol=1e-5, atol=1e-5
    )
    assert every.aux_loss > 0


def test_the_balance_is_that_of_its_definition():
    """Experts times the sum over them of their share of tokens times their mean probability (arXiv:2101.03961)."""
    model, row = tiny_model(text={**EXPERTS, "num_hidden_layers": 1}), tiny_batch([1], length=12)
    with torch.no_grad():
        outputs = model(**row, labels=row["input_ids"])
    chances = outputs.router_logits[0].softmax(dim=-1)  # (12, 4)
    chosen = torch.zeros_like(chances).scatter_(1, chances.topk(3, dim=-1).indices, 1.0)
    expected = 4 * (chosen.mean(dim=0) * chances.mean(dim=0)).sum()
    torch.testing.assert_close(outputs.aux_loss, expected, rtol=1e-4, atol=1e-5)
