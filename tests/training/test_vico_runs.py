# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Both stages of ViCO as runs of `internvl train`, on the embedded model with a router."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.conversion.surgery.transplant import add_resolution_router
from transformers_internvl.training.parameters import part_of
from transformers_internvl.training.recipes import get_recipe, recipe_names
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare

FIRST, SECOND = "internvl3.5-1b-vico", "internvl3.5-1b-vico-router"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Drawn data of three samples, and the embedded model with an untrained router in `flash`."""
    folder = write_data(tmp_path_factory.mktemp("vico") / "data", count=3)
    torch.manual_seed(0)
    model = add_resolution_router(AutoModelForImageTextToText.from_pretrained(nano_path()), 0.5, 0.5)
    model.save_pretrained(folder / "flash")
    AutoProcessor.from_pretrained(nano_path()).save_pretrained(folder / "flash")
    return folder


def fields(folder, **others) -> dict:
    quick = short(folder, model=str(folder / "flash"), eval_data=str(folder / "chat.jsonl"), eval_answers=0)
    return {**quick, "batch_size": 2, "epochs": 1, "max_steps": None, **others}


def moved(first, second) -> set[str]:
    """The parts whose weights differ between two folders."""
    before, after = (load_file(place / "model.safetensors") for place in (first, second))
    return {part_of(name) for name in before if not torch.equal(before[name], after[name])}


def test_two_stages_of_runs(folder):
    """An epoch of two steps, of which the second is not full."""
    first = folder / "first"
    result = prepare(read_options(FIRST, fields(folder, output=str(first), learning_rate=1e-3))).train()
    assert result.steps == len([row for row in read_log(first) if "loss" in row]) == 2 and result.eval_loss > 0
    assert moved(folder / "flash", first) == {"vision", "projector", "compressed", "language"}  # its head is tied

    second = folder / "second"
    given = fields(folder, model=str(first), output=str(second), reference=str(nano_path()), save_steps=2)
    result = prepare(read_options(SECOND, {**given, "router_window": 2})).train()
    assert result.steps == 2 and result.eval_loss > 0
    assert moved(first, second) == {"router"}
    ratios = json.loads((second / "checkpoint-2" / "router_ratios.json").read_text())["ratios"]
    assert len(ratios) == 2 and all(ratio > 0 for ratio in ratios)


def test_what_a_stage_cannot_do_is_said_before_weights_are_loaded(folder):
    for start in (prepare, make_plan):
        with pytest.raises(ValueError, match="has no router: `internvl surgery add-router"):
            start(read_options(FIRST, fields(folder, model=str(nano_path()), output=str(folder / "none"))))
        with pytest.raises(ValueError, match="name that as `reference`"):
            start(read_options(SECOND, fields(folder, output=str(folder / "none"))))
        with pytest.raises(ValueError, match="`router_window` does nothing for objective 'vico': only `vico-router`"):
            start(read_options(FIRST, fields(folder, output=str(folder / "none"), router_window=3)))
        with pytest.raises(ValueError, match="cannot be packed"):
            start(read_options(FIRST, fields(folder, packed_tokens=64, packed_tiles=4)))


def test_a_plan_says_what_trains_and_the_memory(folder):
    peaks = []
    for recipe, parts in ((FIRST, {"vision", "projector", "compressed", "language"}), (SECOND, {"router"})):
        given = fields(folder, output=str(folder / "none"), reference=str(nano_path()))
        plan = make_plan(read_options(recipe, given))
        assert {part.name for part in plan.parts if part.trainable} == parts
        weights = sum(part.parameters for part in plan.parts) * 4
        assert "whole tiles), 1 at a time" in plan.memory_note
        assert plan.memory.weights == pytest.approx(weights, rel=0.01)
        assert 0.9 * weights < plan.memory.reference <= plan.memory.weights
        peaks.append(plan.memory)
    assert peaks[0].gradients > 2 * peaks[1].gradients and peaks[0].kept.peak > peaks[1].kept.peak
    own = make_plan(read_options(FIRST, fields(folder, output=str(folder / "none"))))
    assert own.memory.reference == own.memory.gradients  # what does not train is shared
    assert plan.facts["epoch"] == "2 steps"


def test_rows_are_this_packages_own_and_alike():
    rows = [get_recipe(name) for name in recipe_names() if "-vico" in name]
    assert len(rows) == 16 and {row.objective for row in rows} == {"vico", "vico-router"}
    assert {(row.objective, row.trains, row.learning_rate, row.batch_size) for row in rows} == {
        ("vico", ("vision", "projector", "language", "head", "compressed"), 1e-5, 128),
        ("vico-router", ("router",), 1e-4, 128),
    }
