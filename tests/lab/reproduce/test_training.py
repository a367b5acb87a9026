# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stages in one to four steps: trained once, going on where they were interrupted, training what their recipes say.

How far the whole comes is what `python -m lab.reproduce` says.
"""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import Trainer

from lab.reproduce import measures
from lab.reproduce.claims import CLAIMS
from lab.reproduce.data import encoded, sample_of
from lab.reproduce.lab import Bar, Lab
from lab.reproduce.lineage import ONE_TILE, Lineage
from lab.reproduce.models import chat_model
from lab.reproduce.optimizer import MATRIX_RATE, MuonAndAdamW
from lab.reproduce.preferences import pairs
from lab.reproduce.results import known, measured
from lab.reproduce.scoring import exact
from lab.reproduce.stages import TRIAL
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.data.rows import parse_row

LINE = Lineage(TRIAL, 0)
PARTS = {"vision_tower": "vision", "multi_modal_projector": "projector", "language_model": "language"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


def changed_parts(before, after):
    """Which parts of two chat models differ."""
    values = dict(before.named_parameters())
    different = {
        name for name, value in after.named_parameters() if name not in values or not torch.equal(value, values[name])
    }
    return {part for name in different for key, part in PARTS.items() if f".{key}." in f".{name}"}


def test_stages_train_what_their_recipes_say_and_only_once(lab):
    warm, tower = LINE.warmup, replace(LINE.incremental, steps=2)
    models = {stage.name: lab.model(stage) for stage in (warm, tower)}
    assert changed_parts(models["warmup"], models["incremental"]) == {"vision", "projector"}
    language = lab.model(LINE.language())
    assert "language" not in changed_parts(language, models["incremental"])
    contrastive = lab.model(LINE.contrastive)
    old = dict(contrastive.vision_model.named_parameters())
    new = dict(models["warmup"].model.vision_tower.named_parameters())
    assert len(new) > 20 and sorted(p.sum().item() for p in new.values()) == pytest.approx(
        sorted(p.sum().item() for p in old.values()), abs=1e-5
    )
    look = dict(lab.model(LINE.look).internvl_vision.named_parameters())
    unmoved = [name for name, value in look.items() if torch.equal(value, old[name])]
    begun = dict(lab._untrained(LINE.contrastive).vision_model.named_parameters())
    assert not unmoved and all(torch.equal(value, begun[name]) for name, value in look.items())
    trained = list(lab.trained)
    assert len(trained) == len(set(trained)) == 5
    again = Lab(lab.cache)
    again.train(tower)
    assert not again.trained
    facts = again.facts(warm)
    assert facts["trained"] == sum(p.numel() for p in models["warmup"].model.multi_modal_projector.parameters())


def test_an_interrupted_stage_goes_on(tmp_path, monkeypatch):
    stage = replace(LINE.language(), steps=4, batch=4)
    whole = Lab(tmp_path / "whole").model(stage)

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            Lab(tmp_path / "parts").train(stage)
    resumed, steps = Lab(tmp_path / "parts"), []
    assert not resumed.folder(stage).is_dir()
    monkeypatch.setattr(
        Bar, "on_step_end", lambda self, args, state, control, **kwargs: steps.append(state.global_step)
    )
    model = resumed.model(stage)
    assert steps == [3, 4]  # the checkpoint of step 2 was the last whole one, as step 3 had not ended
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_claims_are_measured_once(lab, monkeypatch):
    claim = next(claim for claim in CLAIMS if claim.name == "generative")
    values = measured(lab, claim, LINE)
    assert set(values) == {"InternVL-C", "InternVL-G"} and all(0 <= value <= 100 for value in values.values())
    monkeypatch.setattr(Trainer, "train", lambda self: pytest.fail("trained again"))
    assert measured(lab, claim, LINE) == values
    assert known(lab, claim, [LINE, Lineage(TRIAL, 1)]).values == {0: values}


def test_packs_hold_the_samples_of_padded_batches(monkeypatch):
    seen = []

    def labels(model, batches):
        seen.append(sum((batch["labels"] != -100).sum().item() for batch in batches))
        return 1.0

    monkeypatch.setattr(measures, "_seconds", labels)
    values = measures.packing(Lab(Path()), LINE)
    assert len(set(seen)) == 1 and seen[0] > 16
    assert set(values) == {"time of packs", "filled, padded", "filled, packed"}
    assert values["time of packs"] == 100
    assert 0 < values["filled, padded"] < 100 and 0 < values["filled, packed"] <= 100


def test_preferences_have_the_right_answer_chosen():
    mix = replace(ONE_TILE, samples=4)
    rows = pairs(chat_model().eval(), mix, 0)  # an untrained model is wrong
    assert len(rows) == 4
    for index, row in enumerate(rows):
        assert row["chosen"] == sample_of(mix, index).answer != row["rejected"]
        assert parse_row(row, "row", "").kind == "preference"


def test_exact_answers_are_those_that_greedy_decoding_gives():
    model = chat_model().eval()
    row = sample_of(ONE_TILE, 0).row(answer="blue")
    with torch.no_grad():
        assert exact(model, [row], ONE_TILE) == [False]
        for _ in range(25):  # until it is known by heart
            model.train()
            _learn(model, row)
        model.eval()
        assert exact(model, [row, sample_of(ONE_TILE, 1).row(answer="green")], ONE_TILE) == [True, False]


def _learn(model, row):
    with torch.enable_grad():
        model(**PaddingCollator(0)(encoded([row], ONE_TILE))).loss.backward()
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter -= 0.1 * parameter.grad
            parameter.grad = None


def test_the_optimizer_has_the_steps_of_its_parts_and_keeps_its_state():
    torch.manual_seed(0)

    def build():
        blocks = nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(4, 4)])})
        return nn.ModuleDict({"tower": blocks, "head": nn.Linear(4, 2)})

    layers = build()
    optimizer = MuonAndAdamW(layers.named_parameters(), 1e-2, 0.1)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 3]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([MATRIX_RATE * 1e-2, 1e-2])

    def step(chosen, model):
        model["head"](model["tower"]["layers"][0](torch.ones(3, 4))).square().sum().backward()
        chosen.step()
        chosen.zero_grad()

    step(optimizer, layers)
    twin = build()
    twin.load_state_dict(layers.state_dict())
    other = MuonAndAdamW(twin.named_parameters(), 1e-2, 0.1)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    schedule = torch.optim.lr_scheduler.LambdaLR(other, lambda step: 0.5)
    assert schedule.get_last_lr() == pytest.approx([MATRIX_RATE * 5e-3, 5e-3])
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    for chosen, model in ((optimizer, layers), (other, twin)):
        step(chosen, model)
    for name, value in layers.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[name], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="No parameter trains"):
        MuonAndAdamW(layers.requires_grad_(False).named_parameters(), 1e-2, 0.1)
