# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Evaluation while training: its loss is that of the samples one by one, whatever the training set is."""

import pytest
import torch
from transformers import AutoModel

from tests.training.kills import QWEN2, conversations, samples
from tests.training.test_data_trainer import arguments
from transformers_internvl.training.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.records import DataSet
from transformers_internvl.training.trainer import InternVLTrainer


def model_with_cache() -> torch.nn.Module:
    """A tiny chat model that makes a cache outside of training, as those of the -hf layout do."""
    model = AutoModel.from_pretrained(QWEN2).eval()
    model.config.text_config.use_cache = True
    model.config.loss_reduction = "square"
    return model


def token_mean(model: torch.nn.Module, data: ChatDataset) -> float:
    """The mean cross entropy of all labels, sample by sample, written out."""
    found = []
    for index in range(len(data)):
        sample = data[index]
        batch = {name: sample[name][None] for name in ("input_ids", "attention_mask")}
        tiles = {"pixel_values": sample["pixel_values"]} if "pixel_values" in sample else {}
        with torch.no_grad():
            logits = model.eval()(**batch, **tiles, use_cache=False).logits[0, :-1]
        labels = sample["labels"][1:]
        found.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none")[labels != -100])
    return torch.cat(found).mean().item()


def packed(data: ChatDataset) -> PackedDataset:
    return PackedDataset(data, 4000, 100)


def rows(data: ChatDataset) -> ChatDataset:
    return data


@pytest.mark.parametrize("evaluated", [rows, packed])
@pytest.mark.parametrize("trained", [rows, packed, None])
@pytest.mark.parametrize("given", [False, True])
def test_the_loss_is_that_of_the_samples(trained, evaluated, given, tmp_path):
    data, model = samples(5, 2), model_with_cache()
    collator = None
    if given:
        collator = PaddingCollator(0) if (trained or evaluated) is rows else PackingCollator("token")
    trainer = InternVLTrainer(
        model,
        arguments(tmp_path, per_device_eval_batch_size=16),
        collator,
        train_dataset=None if trained is None else trained(samples(3, 1)),
        eval_dataset=evaluated(data),
    )
    expected = token_mean(model, data)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=2e-5)
    assert trainer.evaluate({"named": evaluated(data)})["eval_named_loss"] == pytest.approx(expected, abs=2e-5)
    trainer.args.prediction_loss_only = True
    assert trainer.predict(evaluated(data)).metrics["test_loss"] == pytest.approx(expected, abs=2e-5)


def test_training_goes_on_with_its_own_collator(tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 1, "max_steps": 2}
    sets = {"train_dataset": packed(samples(3, 1)), "eval_dataset": samples(3, 1)}
    trainer = InternVLTrainer(model_with_cache(), arguments(tmp_path, **options), **sets)
    trainer.train()
    assert isinstance(trainer.data_collator, PackingCollator) and trainer.data_collator.reduction == "square"
    assert len([row for row in trainer.state.log_history if "eval_loss" in row]) == 2


def test_a_collator_for_evaluation_may_be_given(tmp_path):
    seen = []

    def collate(batch):
        seen.append(len(batch))
        return PaddingCollator(0)(batch)

    data = samples(5, 2)
    trainer = InternVLTrainer(
        model_with_cache(), arguments(tmp_path), train_dataset=data, eval_dataset=data, eval_collator=collate
    )
    trainer.evaluate()
    assert sum(seen) == len(data) and isinstance(trainer.data_collator, PaddingCollator)


def test_features_of_the_cache_are_known_to_the_other_collator(tmp_path):
    data, model = ChatDataset([DataSet("i", conversations("i", 4, True))], samples().encoder), model_with_cache()
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(False)
    expected = token_mean(model, data)
    trainer = InternVLTrainer(
        model,
        arguments(tmp_path, per_device_eval_batch_size=16),
        train_dataset=packed(data),
        eval_dataset=data,
        feature_cache=tmp_path / "features",
    )
    for _ in range(2):  # filled, and read
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=2e-5)
