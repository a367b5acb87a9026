# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Gradient checkpointing changes what is kept for the backward pass, and nothing else, with everything random on."""

import pytest
import torch
from peft import get_peft_model
from torch.autograd.graph import saved_tensors_hooks

from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.training.data.collation import PackingCollator
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.parameters import freeze, set_trainable


def random_model(**changes):
    """Blocks of the tower are dropped, and attention weights of the language model."""
    text = {"attention_dropout": 0.2, **changes.pop("text", {})}
    return tiny_model(vision={"drop_path_rate": 0.5}, text=text, **changes)


def adapted(model, preset):
    torch.manual_seed(1)
    return get_peft_model(model, lora_config(preset, model, r=4, dropout=0.3, init_lora_weights=False))


def padded():
    batch = tiny_batch([1, 2])
    return {**batch, "labels": batch["input_ids"].clone()}


def packed():
    rows = [tiny_batch([tiles], length=10 + 4 * tiles, seed=tiles) for tiles in (1, 0, 2)]
    names = ("input_ids", "labels")
    samples = [{**dict.fromkeys(names, row["input_ids"][0]), "pixel_values": row["pixel_values"]} for row in rows]
    for sample in samples:
        sample["image_flags"] = torch.ones(len(sample["pixel_values"]), dtype=torch.long)
    return PackingCollator("square")(samples)


def step(model, batch):
    """Loss and gradients of a step, and the bytes of activations that were kept for the way back."""
    kept, parameters = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used again
        return tensor

    torch.manual_seed(7)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model.train()(**batch).loss
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    return loss.item(), gradients, sum(size for size, _ in kept.values())


def frozen_tower(model):
    freeze(model, "vision")
    return model


def projector_alone(model):
    set_trainable(model, ["projector"])
    return model


MODELS = {
    "whole": lambda: random_model(),
    "frozen tower": lambda: frozen_tower(random_model()),
    "projector alone": lambda: projector_alone(random_model()),
    "adapters": lambda: adapted(random_model(), "llm"),
    "adapters of both": lambda: adapted(random_model(), "all"),
}


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("batch", [padded, packed])
@pytest.mark.parametrize("kind", MODELS)
def test_losses_and_gradients_are_the_same(kind, batch, reentrant):
    loss, gradients, kept = step(MODELS[kind](), batch())
    model = MODELS[kind]()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:  # as `Trainer` and peft do: frozen embeddings give nothing to differentiate
        model.enable_input_require_grads()
    checkpointed_loss, checkpointed, kept_less = step(model, batch())
    assert checkpointed_loss == loss
    assert gradients and gradients.keys() == checkpointed.keys()
    for name, gradient in gradients.items():
        assert (gradient is None) == (checkpointed[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-6, atol=1e-7, msg=name)
    assert kept_less < 0.6 * kept, (kept_less, kept)
