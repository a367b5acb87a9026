# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Weighted losses under `Trainer`: one batch, the same batch in pieces, and the same batch on two ranks."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from tests.parity.golden import golden_root
from tests.ranks import launch
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl import InternVLForConditionalGeneration
from transformers_internvl.modeling import chunked_cross_entropy
from transformers_internvl.modeling.losses import REDUCTIONS, cross_entropies, token_weights
from transformers_internvl.training.run.objectives import DualEncoderTrainer
from transformers_internvl.training.trainers.mpo import RunningMean
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer
from transformers_internvl.training.trainers.trainer import InternVLTrainer, weight_of

LABELLED = [1, 12, 4, 9, 2, 14, 3, 7]  # labels of each sample


def samples() -> list[dict[str, torch.Tensor]]:
    rows = []
    for index, labelled in enumerate(LABELLED):
        row = tiny_batch([1], seed=index)
        length = row["input_ids"].shape[1]
        row["labels"] = row["input_ids"].masked_fill(torch.arange(length) < length - labelled, -100)
        rows.append(row)
    return rows


def join(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {key: torch.cat([row[key] for row in rows]) for key in rows[0]}


def train(
    folder, reduction: str, device_batch: int, accumulation: int, steps: int = 2, kind=InternVLTrainer, **options
):
    """Plain gradient descent, four samples a step; the model and the losses of the steps."""
    of_trainer = {name: options.pop(name) for name in ("compute_loss_func",) if name in options}
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=device_batch,
        gradient_accumulation_steps=accumulation,
        max_steps=steps,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        logging_steps=1,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    model = tiny_model(loss_reduction=reduction)
    trainer = kind(model, arguments, data_collator=join, train_dataset=samples(), **of_trainer)
    trainer.train()
    return model, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def expected_losses(reduction: str, steps: int = 2, smoothing: float = 0.0, per_step: int = 4) -> list[float]:
    """The weighted mean over the samples of a step, written out."""
    model, losses = tiny_model().train(), []
    for step in range(steps):
        batch = join(samples()[per_step * step : per_step * step + per_step])
        logits = model(**batch, skip_logits=False).logits[:, :-1]
        targets = batch["labels"][:, 1:]
        log_probs = logits.log_softmax(-1)
        right = log_probs.gather(2, targets.clamp(min=0)[..., None])[..., 0]
        entropies = -(1 - smoothing) * right - smoothing * log_probs.mean(-1)
        power = {"token": 0.0, "square": -0.5, "sample": -1.0}[reduction]
        weights = torch.tensor(LABELLED[per_step * step : per_step * step + per_step])[:, None].pow(power) * (
            targets != -100
        )
        loss = (weights * entropies).sum() / weights.sum()
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad if parameter.grad is not None else 0
                parameter.grad = None
    return losses


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_accumulation_changes_nothing(reduction, tmp_path):
    expected = expected_losses(reduction)
    whole, whole_losses = train(tmp_path, reduction, 4, 1)
    assert whole_losses == pytest.approx(expected, abs=2e-5)
    for device_batch, accumulation in ((1, 4), (2, 2)):
        pieces, losses = train(tmp_path, reduction, device_batch, accumulation)
        assert losses == pytest.approx(expected, abs=2e-5)
        for (name, one), other in zip(whole.named_parameters(), pieces.parameters(), strict=True):
            torch.testing.assert_close(other, one, rtol=1e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_token_weights_are_what_trainer_counts(tmp_path):
    assert train(tmp_path, "token", 2, 2, kind=Trainer)[1] == pytest.approx(train(tmp_path, "token", 2, 2)[1])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("device_batch", "accumulation"), [(4, 1), (2, 2)])
def test_smoothed_labels_are_the_next_tokens_with_their_weights(reduction, device_batch, accumulation, tmp_path):
    found = train(tmp_path, reduction, device_batch, accumulation, label_smoothing_factor=0.1)[1]
    assert found == pytest.approx(expected_losses(reduction, smoothing=0.1), abs=2e-5)


def test_trainers_own_smoothing_is_of_the_next_token(tmp_path):
    found = train(tmp_path, "token", 2, 2, kind=Trainer, label_smoothing_factor=0.1)[1]
    assert found == pytest.approx(expected_losses("token", smoothing=0.1), abs=2e-5)


def test_smoothing_is_evaluated_as_trainer_does(tmp_path):
    trainer = _trainer(tmp_path, data_collator=join, label_smoothing_factor=0.1)
    found = trainer.evaluate(samples()[:4])["eval_loss"]
    assert found == pytest.approx(expected_losses("token", steps=1, smoothing=0.1)[0], abs=2e-5)
    logits, labels = torch.randn(4, 20, 99), join(samples()[:4])["labels"]
    stock = LabelSmoother(0.1)({"logits": logits}, labels, shift_labels=True).item()
    ours = cross_entropies(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), 0.1)
    assert stock == pytest.approx(ours.sum().item() / (1 + 12 + 4 + 9), rel=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_trainers_own_count_of_labels_keeps_the_weights(reduction, tmp_path):
    """transformers' `Trainer` passes the number of labels and no weights: the mean stays the one that is wanted."""
    assert train(tmp_path, reduction, 4, 1, kind=Trainer)[1] == pytest.approx(expected_losses(reduction), abs=2e-5)
    model, pieces = tiny_model(loss_reduction=reduction).train(), [join(samples()[:1]), join(samples()[1:4])]
    counts = [(piece["labels"][:, 1:] != -100).sum().item() for piece in pieces]
    parts = [model(**piece, num_items_in_batch=sum(counts)).loss.item() for piece in pieces]
    means = [model(**piece).loss.item() for piece in pieces]
    expected = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
    assert sum(parts) == pytest.approx(expected, abs=2e-5)  # each piece by its share of the labels


@pytest.mark.parametrize("own", ["of the trainer", "of the model"])
def test_a_loss_of_ones_own_gets_the_number_of_labels(own, tmp_path, monkeypatch):
    seen = []

    def of_trainer(outputs, labels, num_items_in_batch=None):
        seen.append(float(num_items_in_batch))
        logits, targets = outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        return torch.nn.functional.cross_entropy(logits, targets, reduction="sum") / num_items_in_batch

    def of_model(logits, labels, vocab_size, num_items_in_batch=None, **_):
        return of_trainer(SimpleNamespace(logits=logits), labels, num_items_in_batch)

    options = {"compute_loss_func": of_trainer} if own == "of the trainer" else {}
    if not options:
        monkeypatch.setattr(InternVLForConditionalGeneration, "_loss_function", staticmethod(of_model), raising=False)
    found = train(tmp_path, "square", 2, 2, **options)[1]
    monkeypatch.undo()
    assert found == pytest.approx(expected_losses("token"), abs=2e-5)
    assert seen == [1 + 12 + 4 + 9] * 2 + [2 + 14 + 3 + 7] * 2


def test_labels_are_what_trainer_takes_for_labels(tmp_path):
    assert _trainer(tmp_path).label_names == ["labels"]


def test_smoothing_that_nothing_would_heed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="loss function of your own"):
        _trainer(tmp_path, label_smoothing_factor=0.1, compute_loss_func=lambda *_, **__: None)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[], label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match=r"MPOLoss\(label_smoothing"):
        MPOTrainer(tiny_model(), arguments)
    with pytest.raises(ValueError, match="config.label_smoothing"):
        DualEncoderTrainer(tiny_model(), arguments)
    with pytest.raises(ValueError, match="leave `compute_loss_func` out"):
        MPOTrainer(tiny_model(), _trainer(tmp_path).args, compute_loss_func=lambda *_, **__: None)
    with pytest.raises(ValueError, match="Evaluation reports eval_rewards/chosen"):
        MPOTrainer(tiny_model(), _trainer(tmp_path).args, compute_metrics=lambda _: {})
    model = tiny_model()
    model.loss_function = lambda **_: None
    with pytest.raises(ValueError, match="smooth labels in it"):
        model(**join(samples()[:1]), smoothing=0.1)


def test_two_ranks_give_the_curve_of_one(tmp_path):
    out = tmp_path / "two.json"
    launch(2, tmp_path, "tests.training.test_trainer", str(out))
    found = json.loads(out.read_text())
    assert found.pop("mean of rewards") == {"value": 0.5, "count": 2}
    assert found.pop("FSDP2, head with the rest") < 1e-6
    assert found.pop("evaluated") == pytest.approx(evaluated_as_one(), abs=2e-5)
    assert found.pop("FSDP2, head of its own") < 1e-6  # then it is called as a module, and once more on the way back
    for reduction, losses in found.items():
        assert losses == pytest.approx(expected_losses(reduction), abs=2e-5), reduction


def test_weights_of_the_collator_come_first(tmp_path):
    """Where several samples stand in a row, only the collator knows whose labels are whose."""
    trainer = _trainer(tmp_path)
    batches = [join(samples()[:2]), join(samples()[2:4])]
    batches[0]["loss_weight"] = torch.full((2, 20), 0.5)
    kept, total = trainer.get_batch_samples(iter(batches), 2, torch.device("cpu"))
    assert torch.equal(kept[0]["loss_weight"], torch.full((2, 20), 0.5))
    torch.testing.assert_close(total, torch.tensor(0.5 * 2 * 19 + 2.0))  # "sample": one for each of the other two


def test_shifted_labels_are_counted_from_the_first_position():
    labels = join(samples()[:3])["labels"]
    shifted = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=-100)
    batch = {"labels": labels, "loss_weight": token_weights(labels, "square")}
    other = {"shift_labels": shifted, "loss_weight": token_weights(shifted, "square")}
    torch.testing.assert_close(weight_of([batch]), weight_of([other]))


def test_evaluation_normalizes_weights_of_its_own(tmp_path):
    trainer, batch = _trainer(tmp_path), join(samples()[:4])
    trainer.model.eval()
    with torch.no_grad():
        plain = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=torch.tensor(26.0))
        weights = token_weights(batch["labels"], "sample")
        weighted = trainer.compute_loss(
            trainer.model, {**batch, "loss_weight": weights}, num_items_in_batch=torch.tensor(26.0)
        )
    assert weighted.item() == pytest.approx(expected_losses("sample", steps=1)[0], abs=2e-5)
    assert plain.item() == pytest.approx(expected_losses("token", steps=1)[0], abs=2e-5)


def test_evaluation_of_the_loss_makes_logits_at_labels_only(tmp_path):
    trainer, seen = _trainer(tmp_path, data_collator=join), []
    trainer.model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    found = trainer.evaluate(samples())
    assert seen == [sum(LABELLED)]
    predicted = trainer.predict(samples())  # here they are wanted
    assert predicted.predictions.shape == (8, 20, 99) and seen[1:] == [8]
    assert predicted.metrics["test_loss"] == pytest.approx(found["eval_loss"], abs=1e-6)


def test_learning_rates_by_part_and_depth(tmp_path):
    trainer = _trainer(tmp_path, part_learning_rates={"projector": 7.0}, layer_decay={"vision": 0.5})
    groups = {group["name"]: group for group in trainer.create_optimizer().param_groups}
    assert groups["projector.1.decay"]["lr"] == 7.0
    assert groups["vision.0.decay"]["lr"] == pytest.approx(trainer.args.learning_rate * 0.5**5)
    plain = _trainer(tmp_path).create_optimizer()
    assert len(plain.param_groups) == 2


def _trainer(folder, **options) -> InternVLTrainer:
    names = ("label_smoothing_factor", "per_device_eval_batch_size")
    own = {name: options.pop(name) for name in names if name in options}
    arguments = TrainingArguments(str(folder), use_cpu=True, report_to=[], remove_unused_columns=False, **own)
    return InternVLTrainer(tiny_model(loss_reduction="sample"), arguments, **options)


def test_weights_are_the_original_ones():
    table = json.loads((golden_root() / "loss_weighting" / "len2weight.json").read_text())
    assert set(table) == set(REDUCTIONS)
    for reduction, weights in table.items():
        for count, weight in weights.items():
            labels = torch.full((1, 1001), -100)
            labels[0, : int(count)] = 1
            found = token_weights(labels, reduction)
            assert found.sum().item() == pytest.approx(weight * int(count), rel=1e-5)
            assert not found[0, int(count) :].any()
    tensors = load_file(golden_root() / "loss_weighting" / "outputs.safetensors")
    labels = load_file(golden_root() / "chat_qwen2" / "inputs.safetensors")["right.labels"]
    for reduction in REDUCTIONS:
        torch.testing.assert_close(token_weights(labels, reduction), tensors[f"{reduction}.loss_weight"])


def evaluated_as_one() -> float:
    """The mean over the labels of all samples, written out."""
    return expected_losses("token", steps=1, per_step=8)[0]


def gradient_error_under_fsdp2(own_head: bool) -> float:
    """How far gradients of a model that is sharded over the ranks are from those of one process."""
    chunked_cross_entropy.CHUNK_ELEMENTS = 5 * 99  # several chunks
    mesh, rank = init_device_mesh("cpu", (2,)), int(os.environ["RANK"])
    plain, sharded = tiny_model().train(), tiny_model().train()
    parts = [sharded.lm_head] if own_head else []
    for part in (*parts, *sharded.model.language_model.layers, sharded):
        fully_shard(part, mesh=mesh)
    for batch in (join(samples()[:2]), join(samples()[2:4])):
        (plain(**batch).loss / 2).backward()
    sharded(**join(samples()[2 * rank : 2 * rank + 2])).loss.backward()
    pairs = zip(sharded.parameters(), plain.parameters(), strict=True)
    return max((mine.grad.full_tensor() - theirs.grad).abs().max().item() for mine, theirs in pairs)


if __name__ == "__main__":  # one of two ranks: test_two_ranks_give_the_curve_of_one
    curves = {reduction: train(Path(sys.argv[1]).parent, reduction, 1, 2)[1] for reduction in REDUCTIONS}
    mean = RunningMean()
    mean.update(torch.tensor([float(os.environ["RANK"])]))
    curves["mean of rewards"] = mean.state()
    one_a_batch = _trainer(Path(sys.argv[1]).parent, data_collator=join, per_device_eval_batch_size=1)
    curves["evaluated"] = one_a_batch.evaluate(samples())["eval_loss"]
    curves["FSDP2, head with the rest"] = gradient_error_under_fsdp2(own_head=False)
    curves["FSDP2, head of its own"] = gradient_error_under_fsdp2(own_head=True)
    if os.environ["RANK"] == "0":
        Path(sys.argv[1]).write_text(json.dumps(curves))


def unlabelled() -> list[dict[str, torch.Tensor]]:
    return [{**row, "labels": torch.full_like(row["labels"], -100)} for row in samples()[:2]]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_step_without_labels_costs_and_changes_nothing(reduction, tmp_path):
    trainer = _trainer(tmp_path, data_collator=join)
    trainer.model.config.loss_reduction = reduction
    kept, total = trainer.get_batch_samples(iter([join(unlabelled())]), 1, torch.device("cpu"))
    assert total.item() == 0
    loss = trainer.compute_loss(trainer.model.train(), kept[0], num_items_in_batch=total)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is None or (p.grad == 0).all() for p in trainer.model.parameters())
    assert trainer.evaluate(unlabelled())["eval_loss"] == 0.0


def test_batches_without_labels_do_not_count_in_an_evaluation(tmp_path):
    trainer = _trainer(tmp_path, data_collator=join, per_device_eval_batch_size=2)
    plain = trainer.evaluate(samples()[:2])["eval_loss"]
    assert trainer.evaluate([*unlabelled(), *samples()[:2]])["eval_loss"] == pytest.approx(plain, abs=1e-6)
    assert trainer._evaluated is None


def test_an_evaluation_with_weights_is_the_mean_with_them(tmp_path):
    """Over all batches: the weights of each, and not its labels or rows, say how much it counts."""
    rows = samples()[:4]
    for row, weight in zip(rows, (0.25, 3.0, 0.5, 1.0), strict=True):
        row["loss_weight"] = torch.where(row["labels"] != -100, weight, 0.0)
    model = tiny_model().eval()
    with torch.no_grad():
        entropies = [model(**row, loss_reduction="none").loss for row in samples()[:4]]
    top = sum((e * row["loss_weight"]).sum() for e, row in zip(entropies, rows, strict=True))
    expected = top / sum(row["loss_weight"][:, 1:].sum() for row in rows)
    for size in (1, 3):
        trainer = _trainer(tmp_path, data_collator=join, per_device_eval_batch_size=size)
        assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(expected.item(), abs=2e-5)


def test_labels_that_were_shifted_weigh_by_themselves(tmp_path):
    """`Trainer` shifts them where a sequence is cut among devices: then the first of a piece is predicted, too."""
    trainer, batch = _trainer(tmp_path), join(samples()[:3])
    shifted = torch.nn.functional.pad(batch["labels"][:, 1:], (0, 1), value=-100)
    shifted[0, :] = -100
    shifted[0, :2] = 7
    batch["shift_labels"] = shifted
    total = trainer.step_weight([batch])
    torch.testing.assert_close(batch["loss_weight"], token_weights(shifted, "sample"))
    assert total.item() == pytest.approx(3.0)  # "sample": one for each


@pytest.mark.parametrize("given", [{"part_learning_rates": {"head": 3.0}}, {"layer_decay": {"vision": 0.5}}])
def test_either_of_two_makes_groups_with_the_arguments_decay(given, tmp_path):
    trainer = _trainer(tmp_path, **given)
    trainer.args.weight_decay = 0.25
    groups = {group["name"]: group for group in trainer.create_optimizer().param_groups}
    decays = {name.rpartition(".")[2]: group["weight_decay"] for name, group in groups.items()}
    assert decays == {"decay": 0.25, "no_decay": 0.0}
    head, pixels = groups["head.3.decay"], groups.get("vision.0.decay", groups.get("vision.5.decay"))
    rate = trainer.args.learning_rate
    expected = (3.0, rate) if "part_learning_rates" in given else (rate, rate * 0.5**5)
    assert (head["lr"], pixels["lr"]) == pytest.approx(expected)


def test_several_devices_in_one_process_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(ValueError, match="2 devices in one process split a batch"):
        _trainer(tmp_path)
