# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""ViCO after the paper's formulas: the losses on numbers, and both stages in short form on the embedded model."""

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments

from tests.tiny import IMAGE_TOKEN, tiny_model
from transformers_internvl.conversion.surgery.transplant import add_resolution_router
from transformers_internvl.nano import nano_path, sample_images
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.parameters import part_of
from transformers_internvl.training.trainers import vico
from transformers_internvl.training.trainers.vico import (
    COMPRESS,
    KEEP,
    ConsistencyTrainer,
    RatioWindow,
    RouterTrainer,
    answer_logits,
    divergences,
    tiles_of_images,
)


def arguments(folder, steps: int, rate: float) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=3,
        max_steps=steps,
        learning_rate=rate,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )


@pytest.fixture(scope="module")
def nano():
    """The embedded model, and rows of questions about its sample images."""
    model = AutoModelForImageTextToText.from_pretrained(nano_path())
    processor = AutoProcessor.from_pretrained(nano_path())
    rows = []
    for name, path in sample_images().items():
        content = [{"type": "image", "path": str(path)}, {"type": "text", "text": f"What {name} is it?"}]
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "It is the one in the image."}]
        sample = processor.apply_chat_template(
            turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, return_tensors="pt"
        )
        ids, mask = sample["input_ids"][0], torch.as_tensor(sample["assistant_masks"])[0].bool()
        labels = ids.masked_fill(~mask, -100)
        assert (labels != -100).any()
        pixels = sample["pixel_values"]
        rows.append(
            {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
        )
    return model, rows


def cost(model, reference, batch, compressed: bool) -> float:
    """The mean divergence of a batch, all of whose tiles are compressed or whole."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    tiles = torch.full((len(inputs["pixel_values"]),), compressed)
    with torch.no_grad():
        expected = answer_logits(reference.eval()(**inputs), batch["labels"])[0]
        found = answer_logits(model.eval()(**inputs, compressed_tiles=tiles), batch["labels"])[0]
    return divergences(expected, found).mean().item()


def test_divergence_is_that_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    reference, logits = torch.randn(2, 5, 7, generator=generator)
    p, q = reference.softmax(-1), logits.softmax(-1)
    torch.testing.assert_close(divergences(reference, logits), (p * (p / q).log()).sum(-1))
    assert divergences(reference, reference).abs().max() < 1e-6


def test_tiles_of_images_are_runs_of_image_tokens():
    rows = torch.tensor([[0, 1, 1, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0], [0] * 9]).bool()
    assert tiles_of_images(rows, 4) == [2, 1, 1]


def test_ratios_are_compared_with_those_before():
    window = RatioWindow(percentile=50, size=4)
    assert window.labels([1.0, 3.0, 2.0]) == [COMPRESS, KEEP, KEEP]  # among themselves: the median is 2
    assert window.labels([1.9, 2.0]) == [COMPRESS, KEEP]
    assert list(window.ratios) == [3.0, 2.0, 1.9, 2.0]
    assert RatioWindow(percentile=99).labels([1.0, 2.0, 3.0]) == [COMPRESS, COMPRESS, KEEP]
    for bad in ({"percentile": 0}, {"percentile": 100}, {"size": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            RatioWindow(**bad)


def test_both_stages_on_the_embedded_model(nano, tmp_path, monkeypatch):
    reference, rows = nano
    torch.manual_seed(0)
    model = add_resolution_router(reference, 0.0, 0.5)
    for name, parameter in model.state_dict().items():  # the parts of the reference are shared: copy what trains
        assert parameter.isfinite().all(), name
    batch = PaddingCollator(0)(rows)
    model = AutoModelForImageTextToText.from_pretrained(_saved(model, tmp_path / "flash"))
    before = cost(model, reference, batch, compressed=True)
    assert cost(model, reference, batch, compressed=False) < 1e-6 < before
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.model.compressed_projector.requires_grad_(True)
    trainer = ConsistencyTrainer(
        model, arguments(tmp_path, 10, 3e-3), reference=reference, train_dataset=rows, data_collator=PaddingCollator(0)
    )
    trainer.train()
    after = cost(model, reference, batch, compressed=True)
    assert after < 0.7 * before
    assert cost(model, reference, batch, compressed=False) < 1e-6

    ratios = []  # whatever the samples really need: one of them is said to lose by compression
    monkeypatch.setattr(vico, "_means", lambda losses, rows, count: _scripted(ratios, count))
    router = RouterTrainer(
        model,
        arguments(tmp_path, 10, 3e-3),
        reference=reference,
        window=RatioWindow(percentile=60, size=3),
        train_dataset=rows[:1] * 3,
        data_collator=PaddingCollator(0),
    )
    assert {part_of(name) for name, p in model.named_parameters() if p.requires_grad} == {"router"}
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items() if "router" not in name}
    router.train()
    losses = [entry["loss"] for entry in router.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in kept.items())


def _saved(model, folder):
    model.save_pretrained(folder)
    return folder


def _scripted(ratios: list, count: int) -> torch.Tensor:
    """Costs of compressed tiles, then of whole ones: a ratio of 9 for every row, so that all are kept."""
    ratios.append(9.0 if len(ratios) % 2 == 0 else 1.0)
    return torch.full((count,), ratios[-1])


def test_the_labels_of_the_router_are_those_of_the_ratios(nano, tmp_path):
    """One step on three samples: the loss is the cross entropy of the labels that the formula gives."""
    reference, rows = nano
    torch.manual_seed(1)
    model = AutoModelForImageTextToText.from_pretrained(_saved(add_resolution_router(reference, 0.0, 0.5), tmp_path))
    with torch.no_grad():  # a model after the first stage differs from the reference on whole tiles, too
        model.model.multi_modal_projector.linear_2.bias.add_(torch.randn(160))
    trainer = RouterTrainer(model, arguments(tmp_path, 1, 0.0), reference=reference, data_collator=PaddingCollator(0))
    batch = PaddingCollator(0)(rows)
    loss = trainer.compute_loss(model.eval(), dict(batch))
    assert not trainer.window.ratios  # an evaluation is none of the samples before
    trainer.compute_loss(model.train(), dict(batch))
    model.eval()
    single = [PaddingCollator(0)([row]) for row in rows]
    ratios = torch.tensor([cost(model, reference, one, True) / cost(model, reference, one, False) for one in single])
    labels = (ratios >= ratios.quantile(0.5)).long()
    tiles = torch.tensor([len(row["pixel_values"]) for row in rows])
    torch.testing.assert_close(torch.tensor(list(trainer.window.ratios)), ratios, rtol=1e-2, atol=1e-4)
    with torch.no_grad():
        patches = model.get_image_features(batch["pixel_values"]).last_hidden_state[:, 1:]
        logits = model.model.resolution_router(patches)
    expected = torch.nn.functional.cross_entropy(logits, labels.repeat_interleave(tiles))
    torch.testing.assert_close(loss.detach(), expected)
    trainer.save_model(tmp_path / "checkpoint")
    again = RouterTrainer(model, arguments(tmp_path, 1, 0.0), reference=reference)
    again.load_trainer_state(tmp_path / "checkpoint")
    assert list(again.window.ratios) == list(trainer.window.ratios)


def test_a_reference_that_shares_memory_does_not_learn_too(nano, tmp_path):
    """`add_resolution_router` shares the tensors of the model that it is given, which is the reference here."""
    reference, rows = nano
    model = add_resolution_router(reference, 0.0, 0.5)
    model.requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    trainer = ConsistencyTrainer(
        model, arguments(tmp_path, 1, 0.0), reference=reference, data_collator=PaddingCollator(0)
    )
    assert trainer.reference is not reference
    assert all(torch.equal(trainer.reference.state_dict()[name], tensor) for name, tensor in before.items())
    own = {parameter.data_ptr() for parameter in trainer.reference.parameters()}
    trained = {parameter.data_ptr() for parameter in model.parameters() if parameter.requires_grad}
    assert trained and not own & trained
    batch = PaddingCollator(0)(rows)
    losses = [trainer.compute_loss(model.eval(), dict(batch)).item() for _ in range(2)]
    whole, compressed = (cost(model, trainer.reference, batch, chosen) for chosen in (False, True))
    assert losses[0] == losses[1] == pytest.approx((whole + compressed) / 2, rel=1e-4)


def test_all_tiles_of_an_image_share_the_draw(nano, tmp_path):
    trainer = ConsistencyTrainer(tiny_model(vision={"hidden_size": 32}, flash_mode=True), arguments(tmp_path, 1, 0.0))
    ids = torch.tensor([[2] + [IMAGE_TOKEN] * 12 + [3] + [IMAGE_TOKEN] * 8 + [4]])
    inputs = {"input_ids": ids, "pixel_values": torch.zeros(5, 3, 56, 56)}
    torch.manual_seed(0)
    draws = {tuple(trainer._drawn(inputs)["compressed_tiles"].tolist()) for _ in range(64)}
    assert draws == {(a,) * 3 + (b,) * 2 for a in (True, False) for b in (True, False)}
    assert trainer._drawn({"input_ids": ids[:, :1]}) == {}


def test_what_is_refused(nano, tmp_path):
    reference, rows = nano
    with pytest.raises(ValueError, match="this model has no router. `add_resolution_router`"):
        ConsistencyTrainer(reference, arguments(tmp_path, 1, 0.0))
    flash = tiny_model(vision={"hidden_size": 32}, flash_mode=True)
    with pytest.raises(ValueError, match="the `reference` of the first stage: give it"):
        RouterTrainer(flash, arguments(tmp_path, 1, 0.0))
    with pytest.raises(ValueError, match="has a router already"):
        add_resolution_router(flash, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"`flash_relative_threshold` must be a number in \[0, 1\], got 2"):
        add_resolution_router(tiny_model(vision={"hidden_size": 32}), 2, 0.5)
    trainer = RouterTrainer(flash, arguments(tmp_path, 1, 0.0), reference=flash)
    text = {"input_ids": torch.tensor([[2, 3]]), "labels": torch.tensor([[2, 3]])}
    with pytest.raises(ValueError, match="A batch has no tiles"):
        trainer.compute_loss(flash, text)
    with pytest.raises(ValueError, match="not packed"):
        trainer.compute_loss(flash, {**text, "shift_labels": text["labels"]})
