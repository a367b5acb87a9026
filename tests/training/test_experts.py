# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The load-balancing loss of a mixture of experts counts once an optimizer step, however the step is cut."""

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests.parity.golden import golden_root
from tests.training.ranks import LABELLED, samples
from transformers_internvl.modeling.losses import share_of_step, token_weights
from transformers_internvl.training.trainers.trainer import label_count, weight_of


@pytest.fixture
def model():
    model = AutoModelForImageTextToText.from_pretrained(golden_root() / "chat_qwen3_moe_aux", image_token_id=110)
    model.config.vision_config.drop_path_rate = 0.0
    return model.train()


@pytest.mark.parametrize("reduction", ["token", "square"])
def test_pieces_of_a_step(model, reduction):
    pieces, aux = samples(model.config)[:4], []
    for piece in pieces:
        piece["loss_weight"] = token_weights(piece["labels"], reduction)
    total = sum(piece["loss_weight"].sum() for piece in pieces)
    whole = entropies = balance = 0.0
    for piece in pieces:
        outputs = model(**piece, num_items_in_batch=total)
        alone = model(**{k: v for k, v in piece.items() if k != "loss_weight"}, loss_reduction="none").loss
        entropies += (alone * piece["loss_weight"]).sum() / total
        balance += outputs.aux_loss * piece["loss_weight"].sum() / total
        whole += outputs.loss
        aux.append(outputs.aux_loss.item())
    assert min(aux) <= balance.item() <= max(aux)
    coefficient = model.config.text_config.router_aux_loss_coef
    torch.testing.assert_close(whole, entropies + coefficient * balance, rtol=1e-5, atol=1e-5)


def test_shares_of_a_step_add_up_to_one(model):
    pieces = [piece["labels"] for piece in samples(model.config)]
    shares = [share_of_step(labels, num_items_in_batch=sum(LABELLED)) for labels in pieces]
    assert sum(shares).item() == pytest.approx(1.0) and shares[0].item() == pytest.approx(1 / sum(LABELLED))
    shifted = [torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100) for labels in pieces]
    assert shares == [share_of_step(None, None, sum(LABELLED), labels) for labels in shifted]
    assert share_of_step(pieces[0]) == 1.0  # a batch by itself is the whole step


def test_the_router_learns_under_gradient_checkpointing(model):
    piece = samples(model.config)[4]
    gates = [p for name, p in model.named_parameters() if ".gate." in name]
    assert gates
    expected = torch.autograd.grad(model(**piece).aux_loss, gates)
    model.gradient_checkpointing_enable()
    for found, wanted in zip(torch.autograd.grad(model(**piece).aux_loss, gates), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(ValueError, match='gradient_checkpointing_kwargs={"use_reentrant": False}'):
        model(**piece)
    with torch.no_grad():
        model(**piece)


@pytest.mark.parametrize("reduction", ["token", "square"])
def test_the_first_position_of_a_piece_is_predicted_from_nothing(model, reduction):
    """A label there enters no share, whatever weight stands at it: shares of a step come to one."""
    pieces = samples(model.config)[:3]
    for piece in pieces:
        piece["labels"][:, 0] = 5
        piece["loss_weight"] = token_weights(piece["labels"], reduction)
        assert piece["loss_weight"][:, 0].all()
    total = weight_of(pieces)
    torch.testing.assert_close(total, sum(piece["loss_weight"][:, 1:].sum() for piece in pieces))
    shares = [share_of_step(piece["labels"], piece["loss_weight"], total) for piece in pieces]
    assert sum(shares).item() == pytest.approx(1.0)
    count = label_count(pieces)
    assert sum(share_of_step(piece["labels"], None, count) for piece in pieces).item() == pytest.approx(1.0)
    coefficient = model.config.text_config.router_aux_loss_coef
    for piece, share in zip(pieces, shares, strict=True):
        outputs = model(**piece, num_items_in_batch=total)
        alone = model(**{k: v for k, v in piece.items() if k != "loss_weight"}, loss_reduction="none").loss
        expected = (alone * piece["loss_weight"]).sum() / total + coefficient * outputs.aux_loss * share
        torch.testing.assert_close(outputs.loss, expected, rtol=1e-5, atol=1e-5)
