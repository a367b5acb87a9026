# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Preference optimization end to end: references of every kind, resuming, and what is computed once."""

import json
import math

import pytest
import torch
from peft import get_peft_model
from torch.nn.functional import pad
from transformers import AutoModel, TrainingArguments

from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainers.mpo import MPOLoss, MPOTerms, RunningMean, join_pairs, pair_log_probs
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


def test_positions_that_are_drawn_are_refused(tmp_path):
    model = tiny_model(rope_pos_id_version="v2pe_rnd")
    with pytest.raises(ValueError, match="draws positions anew"):
        MPOTrainer(model, trainer_for(tmp_path, precomputed=True).args)


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


def sigmoid_loss(x):
    return math.log1p(math.exp(-x))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_by_hand_with_the_papers_numbers(smoothing):
    """arXiv:2411.10442: weights 0.8, 0.2 and 1, beta 0.1; the rewards of a batch enter the mean before it counts."""
    chosen, rejected, first_chosen, first_rejected = [-9.0, -20.0], [-14.0, -11.0], [-10.0, -12.0], [-9.0, -15.0]
    loss = MPOLoss(label_smoothing=smoothing)
    loss.rewards = RunningMean(0.5, 3)
    tensors = [torch.tensor(values) for values in (chosen, rejected, first_chosen, first_rejected)]
    terms = loss(*tensors, generation=2.5)
    good = [0.1 * (a - b) for a, b in zip(chosen, first_chosen, strict=True)]
    bad = [0.1 * (a - b) for a, b in zip(rejected, first_rejected, strict=True)]
    mean = (0.5 * 3 + sum(good + bad) / 4) / 4
    assert loss.rewards.state() == {"value": pytest.approx(mean), "count": 4}
    preference = [
        (1 - smoothing) * sigmoid_loss(c - r) + smoothing * sigmoid_loss(r - c) for c, r in zip(good, bad, strict=True)
    ]
    quality = [sigmoid_loss(c - mean) + sigmoid_loss(mean - r) for c, r in zip(good, bad, strict=True)]
    assert terms.preference.tolist() == pytest.approx(preference) and terms.quality.tolist() == pytest.approx(quality)
    assert terms.chosen_rewards.tolist() == pytest.approx(good)
    assert terms.rejected_rewards.tolist() == pytest.approx(bad)
    assert terms.loss.item() == pytest.approx(0.8 * sum(preference) / 2 + 0.2 * sum(quality) / 2 + 1.0 * 2.5)
    again = loss(*tensors, generation=2.5, update=False)
    assert loss.rewards.count == 4 and again.loss.item() == pytest.approx(terms.loss.item())


def test_a_batch_without_values_leaves_the_mean():
    mean = RunningMean(0.25, 3)
    mean.update(torch.zeros(0))
    assert mean.state() == {"value": 0.25, "count": 3}


def test_settings_of_the_loss_at_their_bounds():
    assert MPOLoss(beta=1e-9, label_smoothing=0.499).label_smoothing == 0.499
    for wrong in ({"beta": 0.0}, {"beta": -0.1}, {"label_smoothing": 0.5}, {"label_smoothing": -0.01}):
        with pytest.raises(ValueError, match="must be positive|is a share"):
            MPOLoss(**wrong)


def test_answers_without_labels_are_no_nan_and_a_first_label_is_not_predicted():
    model, batch = tiny_model(), batch_of(pairs(2))
    labelled = (batch["chosen_labels"] != -100).sum()
    log_probs, generation, _ = pair_log_probs(model, batch)
    first = {**batch, "chosen_labels": batch["chosen_labels"].clone()}
    first["chosen_labels"][:, 0] = 5
    torch.testing.assert_close(pair_log_probs(model, first)[:2], (log_probs, generation))
    torch.testing.assert_close(generation, -log_probs[:2].sum() / labelled)
    nothing = {**batch, "chosen_labels": torch.full_like(batch["chosen_labels"], -100)}
    log_probs, generation, _ = pair_log_probs(model, nothing)
    assert generation.item() == 0 and not log_probs[:2].any() and log_probs[2:].all()


def test_both_answers_share_tiles_and_their_flags():
    batch = {**batch_of(pairs(2)), "image_flags": torch.tensor([1, 0, 1])}
    joined = join_pairs(batch)
    assert torch.equal(joined["image_flags"], batch["image_flags"])
    assert torch.equal(joined["pixel_values"], batch["pixel_values"])
    rows = [{**row, "image_flags": torch.tensor(flags)} for row, flags in zip(pairs(2), ([1], [0, 1]), strict=True)]
    assert batch_of(rows)["image_flags"].tolist() == [1, 0, 1]


def test_every_row_brings_the_reference_of_its_own():
    rows = pairs(3)
    for number, row in enumerate(rows):
        row |= {
            "reference_chosen_log_probs": -number - 0.5,
            "reference_rejected_log_probs": torch.tensor(-9.0 * number),
        }
    batch = batch_of(rows)
    assert batch["reference_chosen_log_probs"].tolist() == [-0.5, -1.5, -2.5]
    assert batch["reference_rejected_log_probs"].tolist() == [0, -9, -18]


@pytest.mark.parametrize("adapters", [False, True])
def test_the_reference_pass_leaves_every_module_in_its_mode(adapters):
    """A tower that is kept in evaluation mode stays so, and the reference has no dropout."""
    model = tiny_model(text={"attention_dropout": 0.5})
    if adapters:
        model = get_peft_model(model, lora_config("llm", model, r=2, dropout=0.5))
    batch = batch_of(pairs(2))
    expected = reference_log_probs(model.eval(), batch)
    model.train()
    base = model.get_base_model() if adapters else model
    base.model.vision_tower.eval()
    base.model.language_model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    assert True in modes and False in modes
    found = reference_log_probs(model, batch)
    assert [module.training for module in model.modules()] == modes
    for ours, right in zip(found, expected, strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours, right)


def test_what_a_trainer_is_given_and_how_it_evaluates(tmp_path):
    loss = MPOLoss(beta=0.3)
    rows = [{**row, "extra": 1} for row in pairs(2)]
    reference = tiny_model(text={"attention_dropout": 0.5}).train()
    trainer = trainer_for(tmp_path, reference=reference, loss=loss, rows=rows)
    assert trainer.mpo_loss is loss and trainer.args.remove_unused_columns is False
    assert not any(module.training for module in trainer.reference.modules())
    assert not any(parameter.requires_grad for parameter in trainer.reference.parameters())
    half = {"reference_chosen_log_probs": torch.zeros(2)}
    precomputed = trainer_for(tmp_path, precomputed=True)
    with pytest.raises(ValueError, match="a batch lacks reference_rejected_log_probs"):
        precomputed.compute_loss(precomputed.model, {**batch_of(pairs(2)), **half})


def test_metrics_are_means_over_pairs_and_over_batches(tmp_path):
    trainer, logged = trainer_for(tmp_path), {}
    values = [torch.tensor([3.0, 1.0, -1.0]), torch.tensor([2.0, 1.0, 1.0])]  # margins 1, 0, -2
    terms = MPOTerms(torch.tensor(0.0), torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1.0, 1.0, 4.0]), *values)
    trainer._record("", terms, torch.tensor(5.0))
    trainer._record("", MPOTerms(torch.tensor(0.0), *(torch.ones(1) for _ in range(4))), torch.tensor(7.0))
    trainer._record("eval_", terms, torch.tensor(9.0))
    trainer._record("", None, torch.tensor(99.0))  # a rank without pairs
    trainer.log(logged)
    expected = {"chosen": (1 + 1) / 2, "rejected": (4 / 3 + 1) / 2, "accuracies": (1 / 3 + 0) / 2, "margins": -1 / 6}
    expected = {f"rewards/{name}": value for name, value in expected.items()}
    expected |= {"loss/preference": (3 + 1) / 2, "loss/quality": (2 + 1) / 2, "loss/generation": (5 + 7) / 2}
    assert {name: logged[name] for name in expected} == pytest.approx(expected)
    assert not any(name.startswith("eval_") for name in logged)
    evaluated = {"eval_loss": 1.0}
    trainer.log(evaluated)
    assert evaluated["eval_loss/generation"] == 9.0 and "loss/generation" not in evaluated
    trainer.log(later := {})
    assert "rewards/margins" not in later  # they were said


def test_pairs_of_a_step_are_counted_without_empty_batches(tmp_path):
    trainer = trainer_for(tmp_path)
    batches = [batch_of(pairs(2)), trainer.empty_batch(), batch_of(pairs(3))]
    assert trainer.step_weight(batches).item() == 5.0
    assert trainer.compute_loss(trainer.model.train(), trainer.empty_batch()).item() == 0
    assert trainer.mpo_loss.rewards.count == 0
