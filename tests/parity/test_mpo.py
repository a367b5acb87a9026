# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Mixed preference optimization against the original numbers: `golden/dpo_mpo`."""

import json
from itertools import groupby

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from tests.parity.golden import golden_root
from transformers_internvl.training.trainers.mpo import MPOLoss, join_pairs, pair_log_probs

FOLDER = golden_root() / "dpo_mpo"
STEPS = json.loads((FOLDER / "losses.json").read_text())
RUNS = [list(run) for _, run in groupby(STEPS, key=lambda step: (step["beta"], step["label_smoothing"]))]
LOSS = {"rtol": 1e-6, "atol": 1e-6}
LOG_PROBABILITY = {"rtol": 1e-6, "atol": 1e-5}


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"beta {run[0]['beta']}, smoothing {run[0]['label_smoothing']}")
def test_losses_of_given_log_probabilities(run):
    assert [step["step"] for step in run] == [0, 1, 2]
    loss = MPOLoss(run[0]["beta"], label_smoothing=run[0]["label_smoothing"])
    for step in run:
        sides = ("policy_chosen", "policy_rejected", "reference_chosen", "reference_rejected")
        terms = loss(*(torch.tensor(step[f"{side}_logps"]) for side in sides), step["nll"])
        for ours, theirs in ((terms.preference, "sigmoid"), (terms.quality, "bco_pair")):
            torch.testing.assert_close(ours, torch.tensor(step[theirs]["losses"]), **LOSS)
            torch.testing.assert_close(terms.chosen_rewards, torch.tensor(step[theirs]["chosen_rewards"]), **LOSS)
            torch.testing.assert_close(terms.rejected_rewards, torch.tensor(step[theirs]["rejected_rewards"]), **LOSS)
        assert loss.rewards.value == pytest.approx(step["bco_running_mean_after"], abs=1e-6)
        assert loss.rewards.count == step["bco_running_count_after"]
        torch.testing.assert_close(terms.loss, torch.tensor(step["mpo_total"]), **LOSS)


def model_and_reference():
    path = golden_root() / "chat_qwen2"
    model, reference = (AutoModel.from_pretrained(path, attn_implementation="eager").eval() for _ in range(2))
    with torch.no_grad():
        reference.model.multi_modal_projector.linear_2.bias += 0.05
        reference.lm_head.weight *= 0.9
    return model, reference.requires_grad_(False)


def mean_logits(model, batch) -> list[torch.Tensor]:
    """The mean of all logits of the chosen and of the rejected half, padding included."""
    inputs = join_pairs(batch)
    inputs.pop("labels")
    with torch.no_grad():
        return [half.mean() for half in model(**inputs, image_copies=2).logits.chunk(2)]


def test_two_steps_of_the_whole_loss():
    inputs, expected = (load_file(FOLDER / f"{kind}.safetensors") for kind in ("inputs", "outputs"))
    model, reference = model_and_reference()
    loss, checked = MPOLoss(), set()

    def check(name: str, value: torch.Tensor | float, **tolerance) -> None:
        checked.add(name)
        found = torch.as_tensor(value, dtype=torch.float32).detach().reshape(expected[name].shape)
        torch.testing.assert_close(found, expected[name], msg=lambda text: f"{name}: {text}", **tolerance)

    for step in "01":
        batch = {name[2:]: tensor for name, tensor in inputs.items() if name.startswith(f"{step}.")}
        model.zero_grad()
        log_probs, generation, _ = pair_log_probs(model, batch)
        with torch.no_grad():
            reference_log_probs = pair_log_probs(reference, batch)[0]
        chosen, rejected = log_probs.chunk(2)
        reference_chosen, reference_rejected = reference_log_probs.chunk(2)
        terms = loss(chosen, rejected, reference_chosen, reference_rejected, generation)
        terms.loss.backward()

        check(f"{step}.policy_chosen_logps", chosen, **LOG_PROBABILITY)
        check(f"{step}.policy_rejected_logps", rejected, **LOG_PROBABILITY)
        check(f"{step}.reference_chosen_logps", reference_chosen, **LOG_PROBABILITY)
        check(f"{step}.reference_rejected_logps", reference_rejected, **LOG_PROBABILITY)
        check(f"{step}.loss", terms.loss, **LOSS)
        check(f"{step}.nll_loss", generation, **LOSS)
        check(f"{step}.running_mean", loss.rewards.value, **LOSS)
        gradient = model.model.multi_modal_projector.linear_2.weight.grad
        check(f"{step}.grad.mlp1.3.weight", gradient, rtol=1e-4, atol=1e-6)
        metrics = {
            "rewards.chosen": terms.chosen_rewards.mean(),
            "rewards.rejected": terms.rejected_rewards.mean(),
            "rewards.accuracies": (terms.chosen_rewards > terms.rejected_rewards).float().mean(),
            "rewards.margins": (terms.chosen_rewards - terms.rejected_rewards).mean(),
            "logps.chosen": chosen.mean(),
            "logps.rejected": rejected.mean(),
            "nll_loss": generation,
        }
        for name, value in metrics.items():
            check(f"{step}.metrics.{name}", value, **(LOG_PROBABILITY if "logps" in name else LOSS))
        for side, value in zip(("chosen", "rejected"), mean_logits(model, batch), strict=True):
            check(f"{step}.metrics.logits.{side}", value, rtol=1e-5, atol=1e-6)
    assert checked == set(expected)
