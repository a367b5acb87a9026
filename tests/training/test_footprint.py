# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The estimated memory is the memory that a step takes."""

import copy
import gc
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import TOKENS_PER_TILE, tiny_config
from transformers_internvl import InternVLForConditionalGeneration
from transformers_internvl.profiling import training_memory as module
from transformers_internvl.profiling.memory_trace import LiveMemory
from transformers_internvl.profiling.training_memory import Setup, Work, footprint, optimizer_bytes
from transformers_internvl.training.parameters import set_trainable
from transformers_internvl.training.trainers.vico import ConsistencyTrainer, RatioWindow, RouterTrainer

WORK = Work(rows=2, length=600, tiles=6, tile_size=56)
EXPERTS = {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHAPES = {
    "everything": (("vision", "projector", "language", "head"), None, {}),
    "projector": (("projector",), None, {}),
    "autocast": (("projector", "language", "head"), torch.bfloat16, {}),
    "experts": (("language",), None, EXPERTS),
}


def build(trains=SHAPES["everything"][0], depth=2, text=None):
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": depth, "vocab_size": 999}
    model = InternVLForConditionalGeneration(
        tiny_config(
            text=sizes | (text or {}),
            vision={"hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": depth},
        )
    )
    set_trainable(model, trains)
    return model


def on_meta(*args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


def measured(model, autocast, recomputes):
    """The most that is alive in a real step, gradients included, weights not."""
    model.train()
    (model.activation_checkpointing_enable if recomputes else model.activation_checkpointing_disable)()
    ids = torch.randint(2, 999, (WORK.rows, WORK.length))
    ids[:, : WORK.tiles // WORK.rows * TOKENS_PER_TILE] = 1
    labels = torch.randint(2, 999, ids.shape)
    pixels = torch.randn(WORK.tiles, 3, 56, 56)
    gc.collect()
    with LiveMemory() as memory, memory.during("step"):
        with torch.autocast("cpu", dtype=autocast) if autocast else nullcontext():
            loss = model(input_ids=ids, pixel_values=pixels, labels=labels).loss
        loss.backward()
    return max(memory.peaks.values())


@pytest.mark.parametrize("name", SHAPES)
def test_a_real_step_takes_what_was_estimated(name):
    trains, autocast, text = SHAPES[name]
    found = footprint(on_meta(trains, text=text), WORK, Setup(autocast, optimizer="sgd"))
    assert found.weights == pytest.approx(sum(p.nbytes for p in build(trains, text=text).parameters()), rel=1e-3)
    for recomputes, use in ((False, found.kept), (True, found.recomputed)):
        taken = measured(build(trains, text=text), autocast, recomputes)
        assert use.peak - found.weights == pytest.approx(taken, rel=0.1), recomputes


def flash(depth=2):
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": depth, "vocab_size": 999}
    vision = {"hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": depth}
    thresholds = {"flash_relative_threshold": 0.5, "flash_absolute_threshold": 0.5}
    config = tiny_config(text=sizes, vision=vision, flash_mode=True, **thresholds)
    return InternVLForConditionalGeneration(config)


STAGES = {
    "vico": (ConsistencyTrainer, ("vision", "projector", "language", "head", "compressed")),
    "vico-router": (RouterTrainer, ("router",)),
}


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("stage", STAGES)
def test_a_step_of_a_stage_of_flash_takes_what_was_estimated(stage, autocast):
    trainer, trains = STAGES[stage]
    model = flash()
    set_trainable(model, trains)
    ids = torch.randint(2, 999, (WORK.rows, WORK.length))
    ids[:, : WORK.tiles // WORK.rows * TOKENS_PER_TILE] = 1
    whole = torch.zeros(WORK.tiles, dtype=torch.bool)
    inputs = {
        "input_ids": ids,
        "labels": ids.masked_fill(ids == 1, -100),
        "pixel_values": torch.randn(WORK.tiles, 3, 56, 56),
    }
    alone = SimpleNamespace(
        model=model,
        reference=copy.deepcopy(model).eval().requires_grad_(False),
        window=RatioWindow(),
        share_of_step=lambda *_: 1.0,
        _drawn=lambda _: {"compressed_tiles": whole},
    )
    with torch.device("meta"):
        planned = flash()
        set_trainable(planned, trains)
    work = replace(WORK, stage=stage)
    found = footprint(planned, work, Setup(autocast, optimizer="sgd"))
    for recomputes, use in ((False, found.kept), (True, found.recomputed)):
        model.train()
        (model.activation_checkpointing_enable if recomputes else model.activation_checkpointing_disable)()
        gc.collect()
        with LiveMemory() as memory, memory.during("step"):
            with torch.autocast("cpu", dtype=autocast) if autocast else nullcontext():
                loss = trainer.compute_loss(alone, model, dict(inputs))
            loss.backward()
        assert use.peak - found.weights == pytest.approx(max(memory.peaks.values()), rel=0.1), recomputes
        model.zero_grad()


def test_the_router_needs_tiles():
    with torch.device("meta"):
        model = flash()
        set_trainable(model, ("router",))
    with pytest.raises(ValueError, match="these samples have none"):
        footprint(model, replace(WORK, tiles=0, stage="vico-router"))


def test_few_layers_stand_for_all(monkeypatch):
    few = footprint(on_meta(depth=4), WORK)
    monkeypatch.setattr(module, "FEW", 99)
    assert footprint(on_meta(depth=4), WORK) == few


def test_recomputing_saves_activations_and_sharding_the_rest():
    plain = footprint(on_meta(), WORK)
    assert plain.recomputed.activations < 0.5 * plain.kept.activations
    assert plain.optimizer == 2 * plain.gradients and plain.gradients <= plain.weights
    assert plain.weights < plain.recomputed.peak < plain.kept.peak
    for shard, names in ((2, ("optimizer", "gradients")), (3, ("optimizer", "gradients", "weights"))):
        shared = footprint(on_meta(), WORK, Setup(ranks=4, shard=shard))
        for part in ("weights", "gradients", "optimizer"):
            ratio = getattr(plain, part) / getattr(shared, part)
            assert ratio == pytest.approx(4 if part in names else 1, rel=1e-3), (shard, part)
        assert shared.kept.peak < plain.kept.peak


def test_states_of_optimizers():
    trained = list(on_meta().parameters())
    count = sum(parameter.numel() for parameter in trained)
    assert optimizer_bytes(trained, Setup()) == 8 * count
    assert optimizer_bytes(trained, Setup(optimizer="sgd")) == 0
    assert optimizer_bytes(trained, Setup(optimizer="adamw_8bit")) == 2 * count
    half = list(on_meta().to(torch.bfloat16).parameters())
    assert optimizer_bytes(half, Setup()) == 4 * count
    assert optimizer_bytes(half, Setup(master_bytes=4)) == 12 * count


def test_gradients_that_wait_and_a_reference_are_added():
    plain, waiting = footprint(on_meta(), WORK), footprint(on_meta(), WORK, Setup(accumulates=True))
    assert 0 < waiting.kept.peak - plain.kept.peak <= plain.gradients
    pairs = footprint(on_meta(), Work(1, 600, 3, 56, copies=2), reference_bytes=1000)
    assert pairs.reference == 1000 and pairs.kept.activations > 0.5 * plain.kept.activations
