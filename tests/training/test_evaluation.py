# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Evaluation while training: its loss is that of the samples one by one, whatever the training set is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText, EvalPrediction, Trainer

from tests.llava import write_folder
from tests.parity.golden import golden_root
from tests.tiny import tiny_model
from tests.tiny_dual_encoder import images, texts
from tests.tiny_dual_encoder import tiny_dual_encoder as dual_encoder
from tests.training.drawn import trainer_arguments as arguments
from tests.training.kills import QWEN2, conversations, samples
from transformers_internvl import (
    InternVisionConfig,
    InternVisionForImageClassification,
    InternVisionForSemanticSegmentation,
)
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, SkipPolicy
from transformers_internvl.training.trainers.trainer import InternVLTrainer


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


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("few", [rows, lambda data: PackedDataset(data, 60, 10)], ids=["rows", "small packs"])
def test_the_loss_does_not_depend_on_how_the_data_are_cut(few, batch_size, tmp_path):
    data, model = samples(5, 2), model_with_cache()
    options = arguments(tmp_path, per_device_eval_batch_size=batch_size)
    trainer = InternVLTrainer(model, options, eval_dataset=few(data))
    expected = token_mean(model, data)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=2e-5)
    assert trainer.predict(few(data)).metrics["test_loss"] == pytest.approx(expected, abs=2e-5)


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


# --- what `compute_metrics` is called with ---------------------------------------------------------------------------


def chat_row(config: Any, seed: int, side: int | None) -> dict[str, torch.Tensor]:
    """One row of a chat model of any layout: image tokens, then text."""
    generator = torch.Generator().manual_seed(seed)
    image = [config.image_token_id] * config.image_seq_length
    ids = torch.tensor([[*image, *torch.randint(3, 90, (6,), generator=generator).tolist()]])
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < len(image), -100)
    side = side or config.vision_config.image_size[0]
    return {"input_ids": ids, "labels": labels, "pixel_values": torch.randn(1, 3, side, side, generator=generator)}


def chat(
    folder: Any, side: int | None = None, **changes: Any
) -> tuple[torch.nn.Module, list[dict[str, torch.Tensor]], str]:
    model = AutoModelForImageTextToText.from_pretrained(folder)
    model.config.image_token_id = 1 if model.config.image_token_id is None else model.config.image_token_id
    model.config.text_config.update({"output_hidden_states": True, "use_cache": True, **changes})
    return model, [chat_row(model.config, seed, side) for seed in range(3)], "labels"


def canonical(folder: Path) -> Any:
    tiny_model().save_pretrained(folder)
    return chat(folder)


def llava(folder: Path) -> Any:
    write_folder(folder, "two_mlp")
    return chat(folder, side=336)


def tower(model_class: type, labels: torch.Tensor) -> Any:
    config = InternVisionConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=28, num_labels=3
    )
    config.output_hidden_states = config.output_attentions = True
    config._attn_implementation = "eager"
    pixels = [torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    return model_class(config), [{"pixel_values": part, "labels": labels} for part in pixels], "labels"


def classifier(folder: Path) -> Any:
    return tower(InternVisionForImageClassification, torch.tensor([1]))


def segmenter(folder: Path) -> Any:
    return tower(InternVisionForSemanticSegmentation, torch.randint(0, 3, (1, 28, 28)))


MODELS = {
    "chat": lambda folder: chat(golden_root() / "chat_internlm2"),
    "chat, experts": lambda folder: chat(golden_root() / "chat_qwen3_moe_aux", output_router_logits=True),
    "-hf": canonical,
    "LLaVA": llava,
    "classifier": classifier,
    "segmenter": segmenter,
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("trainer_class", [Trainer, InternVLTrainer])
def test_metrics_are_computed_from_logits(kind, trainer_class, tmp_path):
    model, batches, label = MODELS[kind](tmp_path / "model")
    if trainer_class is InternVLTrainer and kind in ("classifier", "segmenter"):
        trainer_class = Trainer  # the other is for chat models
    seen = []

    def metrics(predicted: EvalPrediction) -> dict[str, float]:
        seen.append(predicted)
        return {"pairs": float(len(predicted.predictions))}

    def join(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    trainer = trainer_class(
        model, arguments(tmp_path, per_device_eval_batch_size=2), join, eval_dataset=batches, compute_metrics=metrics
    )
    assert trainer.evaluate()["eval_pairs"] == 3
    expected = []
    for batch in batches:
        with torch.no_grad():
            expected.append(model.eval()(**batch).logits)
    np.testing.assert_allclose(seen[0].predictions, torch.cat(expected).numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(seen[0].label_ids, torch.cat([batch[label] for batch in batches]).numpy())


def test_metrics_of_pairs_are_computed_from_logits_and_vectors(tmp_path):
    batch = {"pixel_values": images(2), "input_ids": texts(8, 6)}
    seen, model = [], dual_encoder()
    trainer = Trainer(
        model,
        arguments(tmp_path),
        lambda rows: {**batch, "return_loss": True},
        eval_dataset=[{}, {}],
        compute_metrics=lambda predicted: seen.append(predicted) or {"seen": 1.0},
    )
    predicted = trainer.predict([{}, {}]).predictions
    with torch.no_grad():
        outputs = model(**batch)
    names = ("logits_per_image", "logits_per_text", "text_embeds", "image_embeds")
    assert len(predicted) == len(names)
    for name, found in zip(names, predicted, strict=True):
        np.testing.assert_allclose(found, outputs[name].numpy(), rtol=1e-4, atol=1e-4, err_msg=name)


def test_loaders_of_data_that_are_evaluated(tmp_path):
    data = samples(5, 2)
    trainer = InternVLTrainer(model_with_cache(), arguments(tmp_path, per_device_eval_batch_size=3), eval_dataset=data)
    before = trainer.data_collator
    for loader in (trainer.get_eval_dataloader(packed(data)), trainer.get_test_dataloader(packed(data))):
        assert loader.batch_size == 3 and loader.collate_fn == PackingCollator("token")
    rows_loader = trainer.get_eval_dataloader()  # transformers' own takes columns away before
    assert isinstance(rows_loader.collate_fn.data_collator, PaddingCollator)
    assert trainer.data_collator is before
    endless = PackedDataset(data, 4000, 100, endless=True)
    for load in (trainer.get_eval_dataloader, trainer.get_test_dataloader):
        with pytest.raises(ValueError, match="Evaluate on the `ChatDataset` itself"):
            load(endless)


def test_data_with_a_policy_are_looked_through_once(tmp_path, monkeypatch):
    read, bad = [], {1}

    class Some(ChatDataset):
        def __getitem__(self, index):
            read.append(index)
            return None if index in bad else super().__getitem__(index)

    plain = samples(3, 1)
    data = Some(plain.sets, plain.encoder, policy=SkipPolicy(3))
    trainer = InternVLTrainer(model_with_cache(), arguments(tmp_path), eval_dataset=data)
    for _ in range(2):
        assert len(trainer.get_eval_dataloader().dataset) == len(data) - 1
    assert read == list(range(len(data)))
    bad.update(range(len(data)))
    other = Some(plain.sets, plain.encoder, policy=SkipPolicy(3))
    with pytest.raises(ValueError, match=f"All {len(data)} samples to evaluate were left out"):
        trainer.get_eval_dataloader(other)
