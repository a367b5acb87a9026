# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Preference optimization end to end: references of every kind, resuming, and what is computed once."""

import json

import pytest
import torch
from peft import get_peft_model
from torch.nn.functional import pad
from transformers import AutoModel, TrainingArguments

from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainers.mpo import MPOLoss, RunningMean, join_pairs, pair_log_probs
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer, PairCollator, reference_log_probs


def pairs(count: int = 6) -> list[dict]:
    """Pairs that share question and tiles, with answers of different lengths."""
    rows = []
    for index in range(count):
        sample = tiny_batch([1 + index % 2], seed=index)
        ids, row = sample["input_ids"][0], {"pixel_values": sample["pixel_values"]}
        for side, length in (("chosen", 14 + index % 3), ("rejected", 17 - index % 2)):
            answer = torch.randint(2, 99, (length - 11,), generator=torch.Generator().manual_seed(10 * index + length))
            row[f"{side}_input_ids"] = torch.cat([ids[:11], answer])
            row[f"{side}_labels"] = torch.cat([torch.full((11,), -100), answer])
        rows.append(row)
    return rows


def batch_of(rows: list[dict]) -> dict[str, torch.Tensor]:
    return PairCollator(0)(rows)


def trainer_for(folder, model=None, steps: int = 4, rows: list[dict] | None = None, **options) -> MPOTrainer:
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
        max_steps=steps,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        optim="sgd",
        logging_steps=1,
        save_steps=2,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    options = {"train_dataset": pairs() if rows is None else rows, "data_collator": PairCollator(0), **options}
    return MPOTrainer(tiny_model() if model is None else model, arguments, **options)


def test_tiles_are_encoded_once_and_the_numbers_are_those_of_twice():
    model, batch, seen = tiny_model(), batch_of(pairs(3)), []
    inputs = join_pairs(batch)
    twice = model(**{**inputs, "pixel_values": batch["pixel_values"].repeat(2, 1, 1, 1)}, loss_reduction="none")
    (twice.loss.sum() * 2).backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.model.vision_tower.register_forward_hook(lambda module, args, output: seen.append(output[0].shape[0]))
    log_probs, generation, _ = pair_log_probs(model, batch)
    assert seen == [len(batch["pixel_values"])]
    torch.testing.assert_close(log_probs, -twice.loss.sum(1))
    labelled = (batch["chosen_labels"] != -100).sum()
    torch.testing.assert_close(generation, -log_probs[:3].sum() / labelled)
    (-2 * log_probs.sum()).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-5, msg=name)


def test_log_probabilities_are_those_of_the_logits():
    model, batch = tiny_model(), batch_of(pairs(2))
    inputs = join_pairs(batch)
    labels = inputs.pop("labels")
    with torch.no_grad():
        scores = model(**inputs, image_copies=2).logits[:, :-1].log_softmax(-1)
        picked = scores.gather(2, labels[:, 1:, None].clamp(min=0)).squeeze(2) * (labels[:, 1:] != -100)
        torch.testing.assert_close(pair_log_probs(model, batch)[0], picked.sum(1))


def test_training_prefers_the_chosen_answer(tmp_path):
    trainer = trainer_for(tmp_path, steps=12)
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "rewards/margins" in entry]
    assert len(history) == 12 and history[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    first, last = history[:3], history[-3:]  # an epoch each
    assert sum(entry["rewards/margins"] for entry in last) > 0.1
    assert sum(e["loss/generation"] for e in last) < sum(e["loss/generation"] for e in first)
    assert trainer.mpo_loss.rewards.count == 24
    evaluated = trainer.evaluate(pairs(2))
    assert evaluated["eval_loss"] > 0 and trainer.mpo_loss.rewards.count == 24
    assert "eval_rewards/margins" in trainer.state.log_history[-1]


def test_accumulation_divides_the_loss(tmp_path):
    """The first step by hand: the mean over two pairs, each with the running mean of its time."""
    rows = pairs(2)
    trainer = trainer_for(tmp_path, steps=1, rows=rows)
    trainer.train()
    by_hand = trainer_for(tmp_path, rows=rows, steps=1)
    losses = [by_hand.compute_loss(by_hand.model.train(), batch_of([row])).item() for row in rows]
    assert trainer.state.log_history[0]["loss"] == pytest.approx(sum(losses) / 2, rel=1e-4)


@pytest.mark.parametrize("kind", ["given", "copy", "precomputed"])
def test_every_kind_of_reference_gives_the_same_run(kind, tmp_path):
    options: dict = {}
    rows = pairs(4)
    if kind == "given":
        options["reference"] = tiny_model()
    if kind == "precomputed":
        for row in rows:
            chosen, rejected = reference_log_probs(tiny_model(), batch_of([row]))
            row |= {"reference_chosen_log_probs": chosen, "reference_rejected_log_probs": rejected}
        options["precomputed"] = True
    trainer = trainer_for(tmp_path, rows=rows, **options)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    plain = trainer_for(tmp_path / "plain", rows=pairs(4))
    plain.train()
    assert losses == pytest.approx([e["loss"] for e in plain.state.log_history if "loss" in e], rel=1e-5)


def learned(model):
    """Its adapters, as if they had been trained."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.2)
    return model


def test_the_reference_of_adapters_that_have_learned_is_the_model_with_them(tmp_path):
    model = tiny_model()
    model = learned(get_peft_model(model, lora_config("llm", model, r=4)))
    batch = batch_of(pairs(2))
    expected = pair_log_probs(model.eval(), batch)[0].chunk(2)
    trainer = trainer_for(tmp_path, model)
    learned(model)  # what is learned later changes nothing
    found = trainer._reference(model, batch)
    for ours, first, plain in zip(found, expected, reference_log_probs(model, batch), strict=True):
        torch.testing.assert_close(ours, first)
        assert not torch.allclose(ours, plain, atol=1e-2)
    with_adapters = reference_log_probs(model, batch, without_adapters=False)
    torch.testing.assert_close(torch.cat(with_adapters), pair_log_probs(model.eval(), batch)[0])


def test_the_reference_of_adapters_is_the_model_without_them(tmp_path):
    model = tiny_model()
    model = get_peft_model(model, lora_config("llm", model, r=4))
    trainer, batch = trainer_for(tmp_path, model), batch_of(pairs(2))
    assert trainer.reference is None
    learned(model).train()
    found = trainer._reference(model, batch)
    for ours, plain in zip(found, reference_log_probs(tiny_model(), batch), strict=True):
        torch.testing.assert_close(ours, plain)
    assert not torch.allclose(pair_log_probs(model.eval(), batch)[0][:2], found[0], atol=1e-2)
    modes = {module.training for module in model.train().modules()}
    reference_log_probs(model, batch)
    assert {module.training for module in model.modules()} == modes == {True}
    trainer.train()
    moved = {name for name, p in model.named_parameters() if p.grad is not None or p.requires_grad}
    assert moved and all(".lora_" in name for name in moved)


def test_a_run_that_is_resumed_goes_on_as_if_never_stopped(tmp_path):
    whole = trainer_for(tmp_path / "whole")
    whole.train()
    trainer_for(tmp_path / "parts", steps=2).train()
    state = json.loads((tmp_path / "parts" / "checkpoint-2" / "mpo_state.json").read_text())
    assert state["count"] == 4
    resumed = trainer_for(tmp_path / "parts")
    resumed.train(resume_from_checkpoint=True)
    assert resumed.mpo_loss.rewards.state() == whole.mpo_loss.rewards.state()
    for (name, one), other in zip(whole.model.named_parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_experts_are_balanced(tmp_path):
    path = golden_root() / "chat_qwen3_moe_aux"
    model = AutoModel.from_pretrained(path, attn_implementation="eager")
    rows = [{name: value for name, value in row.items() if name != "pixel_values"} for row in pairs(2)]
    trainer, batch = trainer_for(tmp_path, model, rows=rows), batch_of(rows)
    loss, outputs = trainer.compute_loss(model.eval(), batch, return_outputs=True)
    weight = model.config.text_config.router_aux_loss_coef
    assert weight > 0 and outputs.aux_loss > 0 and outputs.loss.shape == join_pairs(batch)["labels"].shape
    assert not outputs.loss[:, :11].any()  # the entropies of the labels, and nothing added to them
    weight_free = loss - weight * outputs.aux_loss
    generation = outputs.loss[:2].sum() / (batch["chosen_labels"] != -100).sum()
    torch.testing.assert_close(weight_free, torch.log(torch.tensor(2.0)) * (0.8 + 0.2 * 2) + generation)


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="not both"):
        trainer_for(tmp_path, reference=tiny_model(), precomputed=True)
    trainer = trainer_for(tmp_path, precomputed=True)
    with pytest.raises(ValueError, match="a batch lacks reference_chosen_log_probs and reference_rejected_log_probs"):
        trainer.compute_loss(trainer.model, batch_of(pairs(1)))
    with pytest.raises(ValueError, match="lacks chosen_labels, chosen_attention_mask, rejected_input_ids"):
        join_pairs({"chosen_input_ids": torch.ones(1, 3)})
    batch = batch_of(pairs(2))
    with pytest.raises(ValueError, match="one chosen and one rejected answer each, got"):
        join_pairs({**batch, "rejected_input_ids": batch["rejected_input_ids"][:1]})
    with pytest.raises(ValueError, match="positive"):
        MPOLoss(beta=0)
    with pytest.raises(ValueError, match="share"):
        MPOLoss(label_smoothing=0.5)


def test_running_mean_goes_on_from_its_state():
    one = RunningMean()
    for value in (1.0, 2.0, 6.0):
        one.update(torch.tensor([value, value]))
    assert (one.value, one.count) == (pytest.approx(3.0), 3)
    other = RunningMean(**one.state())
    other.update(torch.tensor([7.0]))
    assert (other.value, other.count) == (pytest.approx(4.0), 4)


def test_collator_pads_on_the_right():
    rows = pairs(2)
    batch = PairCollator(7)(rows)
    length = len(rows[0]["chosen_input_ids"])
    assert batch["chosen_input_ids"].shape == (2, length + 1)
    assert torch.equal(batch["chosen_input_ids"][0], pad(rows[0]["chosen_input_ids"], (0, 1), value=7))
    assert batch["chosen_labels"][0, -1] == -100 and batch["chosen_attention_mask"][0].tolist() == [1] * length + [0]
    assert len(batch["pixel_values"]) == 3 and "image_flags" not in batch
