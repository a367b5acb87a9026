# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The training loop in miniature: it learns, survives an interruption, and its pieces do what they say."""

import json
import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from lab.nano.dialogs import DialogMix
from lab.nano.drawing import Style
from lab.nano.examples import PATCH_CLASSES, Collator, Examples, Mix
from lab.nano.model import TOKENS_PER_TILE, build_model, build_tokenizer, sine_positions
from lab.nano.muon import orthogonalized
from lab.nano.training import (
    STAGES,
    PatchHead,
    Settings,
    Stage,
    Trainer,
    build_optimizers,
    exact_answers,
    hidden_states,
    load_grown,
    parse_stages,
    rate,
    visual_tokens,
)
from transformers_internvl.modeling.internvl.model import pixel_shuffle

SHAPE = {"width": 32, "vision_layers": 1, "text_layers": 1}
SMALL_MIX = Mix(max_tiles=1, style=Style(min_side=100, max_side=120, smallest=0.3))


def settings(folder, answer_steps):
    stages = (
        Stage("look", 2, 4, SMALL_MIX, speaks=False),
        Stage("answer", answer_steps, 4, replace(SMALL_MIX, max_tiles=2)),
    )
    return Settings(out=folder, stages=stages, shape=SHAPE, workers=0, warmup=100, check_images=24)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    whole = Trainer(settings(tmp_path / "whole", 4))
    whole.train()
    Trainer(settings(tmp_path / "parts", 2)).train()
    resumed = Trainer(settings(tmp_path / "parts", 4))
    assert resumed.step == 4 and resumed.stage_steps == {"look": 2, "answer": 2}
    folder = resumed.train()
    for name, value in whole.averages.items():
        assert torch.equal(value, resumed.averages[name]), name

    records = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert set(records[-1]["exact"]) == {"number", "color", "count"}
    assert AutoModelForImageTextToText.from_pretrained(folder).config.image_token_id == AutoTokenizer.from_pretrained(
        folder
    ).convert_tokens_to_ids("<IMG_CONTEXT>")


def test_a_run_begins_with_a_saved_model_and_goes_on_after_an_interruption(tmp_path):
    saved = Trainer(settings(tmp_path / "start", 1)).train()
    before = AutoModelForImageTextToText.from_pretrained(saved).state_dict()
    mix = DialogMix(style=SMALL_MIX.style, easy=SMALL_MIX.style, one_tile=1.0)

    def run(folder, steps):
        plan = replace(settings(tmp_path / folder, 0), stages=(Stage("world", steps, 3, mix),), start_from=saved)
        return Trainer(replace(plan, shape={**SHAPE, "text_layers": 2}))

    whole = run("whole", 3)
    assert all(torch.equal(whole.averages[name], value) for name, value in before.items())
    assert len(whole.averages) > len(before)
    whole.train()
    run("parts", 2).train()
    resumed = run("parts", 3)
    assert resumed.step == 2
    folder = resumed.train()
    assert all(torch.equal(value, resumed.averages[name]) for name, value in whole.averages.items())
    assert AutoModelForImageTextToText.from_pretrained(folder).config.text_config.num_hidden_layers == 2


def test_added_layers_change_nothing(tmp_path):
    tokenizer = build_tokenizer()
    torch.manual_seed(3)
    small = build_model(tokenizer, **SHAPE).eval()
    small.save_pretrained(tmp_path)
    large = build_model(tokenizer, **{**SHAPE, "text_layers": 3}).eval()
    load_grown(large, tmp_path)
    batch = Collator(tokenizer.pad_token_id)([Examples(tokenizer, SMALL_MIX, "grown", 2)[0]])
    with torch.no_grad():
        one, other = (hidden_states(model, batch, visual_tokens(model, batch)) for model in (small, large))
    assert torch.equal(one, other)
    assert any(value.any() for name, value in large.state_dict().items() if "layers.2" in name and "q_proj" in name)
    large.save_pretrained(tmp_path / "large")
    with pytest.raises(ValueError, match=r"cannot be the start of this one: .*layers\.1"):
        load_grown(small, tmp_path / "large")


def test_losses_fall(tmp_path):
    trainer = Trainer(replace(settings(tmp_path, 0), warmup=1, matrix_rate=0.02))
    stage = trainer.settings.stages[1]
    examples = Examples(trainer.tokenizer, SMALL_MIX, "one batch", 8)
    batch = Collator(trainer.tokenizer.pad_token_id)([examples[index] for index in range(8)])
    losses = [trainer.update(batch, stage) for _ in range(25)]
    assert losses[-1]["answer"] < 0.6 * losses[0]["answer"]
    assert losses[-1]["patches"] < 0.8 * losses[0]["patches"]


def test_patch_head_reads_patches_in_the_order_of_the_pixel_shuffle():
    """A token of patch (row, column) and its neighbours is judged by their classes, not by others'."""
    side = 8
    classes = torch.arange(side * side).view(1, -1, 1).expand(1, -1, 5) % 5
    head = PatchHead(4 * 5)  # each of a token's 20 numbers: patch 0..3, class 0..4
    sizes = list(PATCH_CLASSES.values())
    with torch.no_grad():
        head.weight.zero_(), head.bias.zero_()
        for patch in range(4):
            for start in [sum(sizes[:index]) for index in range(5)]:
                for number in range(5):
                    head.weight[patch * sum(sizes) + start + number, patch * 5 + number] = 50.0
    grid = torch.nn.functional.one_hot(classes[..., 0].view(1, side, side), 5).float()
    tokens = pixel_shuffle(grid, downsample_ratio=0.5).reshape(1, TOKENS_PER_TILE, 20)
    assert head.loss(tokens, classes).item() < 1e-3
    assert head.loss(tokens.flip(1), classes).item() > 1


def test_exact_answers_are_those_of_greedy_generation():
    tokenizer = build_tokenizer()
    torch.manual_seed(1)
    model = build_model(tokenizer, **SHAPE).eval()
    examples = Examples(tokenizer, SMALL_MIX, "greedy", 4)
    for index in range(4):
        example = examples[index]
        batch = Collator(tokenizer.pad_token_id)([example])
        output = model.generate(
            input_ids=batch.ids[:, : example.answer_start],
            attention_mask=torch.ones_like(batch.ids[:, : example.answer_start]),
            pixel_values=batch.pixel_values(),
            max_new_tokens=len(example.ids) - example.answer_start,
            do_sample=False,
        )
        generated = output[0, example.answer_start :].tolist()
        assert exact_answers(model, batch) == [generated == example.ids[example.answer_start :]]
        assert visual_tokens(model, batch).shape == (1, TOKENS_PER_TILE, SHAPE["width"])


def test_orthogonalized_has_singular_values_near_one():
    for shape in ((24, 24), (24, 60), (60, 24)):
        values = torch.linalg.svdvals(orthogonalized(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
        assert values.min() > 0.3 and values.max() < 1.4


def test_matrices_of_the_blocks_go_to_muon(tmp_path):
    model = build_model(build_tokenizer(), **SHAPE)
    muon, adam = build_optimizers(model, PatchHead(SHAPE["width"]), Settings(out=tmp_path))
    in_muon = {id(parameter) for parameter in muon.param_groups[0]["params"]}
    in_adam = {id(parameter) for parameter in adam.param_groups[0]["params"]}
    assert not in_muon & in_adam and all(parameter.ndim == 2 for parameter in muon.param_groups[0]["params"])
    assert {id(parameter) for parameter in model.parameters()} <= in_muon | in_adam
    assert id(model.get_input_embeddings().weight) in in_adam


def test_rate_rises_stays_and_falls(tmp_path):
    plan = Settings(out=tmp_path, stages=(Stage("look", 1000, 1, SMALL_MIX),), warmup=100, decay_share=0.3)
    rates = [rate(step, plan) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and rates[150] == rates[650] == 1.0
    assert all(later <= earlier for earlier, later in zip(rates[100:], rates[101:], strict=False))
    assert rates[-1] < 0.03


def test_stages_are_chosen_by_name():
    assert [(stage.name, stage.steps) for stage in parse_stages("look=3,tiles=5")] == [("look", 3), ("tiles", 5)]
    assert parse_stages(None) == STAGES
    with pytest.raises(ValueError, match="cook"):
        parse_stages("cook=3")


def test_positions_differ():
    table = sine_positions(8, 64)
    distances = torch.cdist(table, table) + torch.eye(64) * 9
    assert table.shape == (64, 64) and distances.min() > 0.1
    assert math.isclose(table.abs().max().item(), 1.0, abs_tol=0.01)
