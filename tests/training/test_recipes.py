# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Each recipe against the authors' shells and the papers' tables, and what it does to a model."""

from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.training.parameters import count_parameters
from transformers_internvl.training.recipes import get_recipe, recipe_names, set_drop_path

PARTS_OF = {"V": ("vision",), "M": ("projector",), "L": ("language", "head")}


def shells() -> list[dict[str, str]]:
    lines = (Path(__file__).parent / "shells.txt").read_text().splitlines()
    header, *rows = [line.split() for line in lines if not line.startswith("#")]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.parametrize("row", shells(), ids=lambda row: row["recipe"])
def test_row_equals_the_shell(row):
    recipe = get_recipe(row["recipe"])
    assert recipe.batch_size == int(row["batch"])
    assert recipe.trains == tuple(part for letter in "VML" if letter not in row["frozen"] for part in PARTS_OF[letter])
    assert recipe.lora_rank == (None if row["lora"] == "-" else int(row["lora"]))
    assert (recipe.learning_rate, recipe.weight_decay) == (float(row["lr"]), float(row["wd"]))
    assert (recipe.warmup, recipe.drop_path) == (float(row["warmup"]), float(row["drop_path"]))
    assert recipe.max_length == int(row["tokens"])
    default = 1 if "1.2-" in row["recipe"] else 12  # 1.2 does not cut images; else the code's default
    assert recipe.max_tiles == (default if row["tiles"] == "-" else int(row["tiles"]))
    assert recipe.max_steps == (None if row["steps"] == "-" else int(row["steps"]))
    limits = (None, None) if row["packed"] == "-" else tuple(map(int, row["packed"].split("/")))
    assert (recipe.packed_tokens, recipe.packed_tiles) == limits
    assert recipe.loss_reduction == ("token" if row["packed"] == "-" else "square")
    assert recipe.objective == ("mpo" if "-mpo" in row["recipe"] else "sft")
    assert (recipe.scheduler, recipe.epochs, recipe.image_size) == ("cosine", 1, 448)


# arXiv:2412.05271, table 3: learning rate, batch, drop path, weight decay.
TABLE_3 = {
    "1b-stage1": (2e-4, 512, 0, 0.01),
    "1b-stage2": (4e-5, 512, 0.1, 0.01),
    "2b-stage1": (2e-4, 512, 0, 0.01),
    "2b-stage2": (4e-5, 512, 0.1, 0.01),
    "4b-stage1": (2e-4, 512, 0, 0.01),
    "4b-stage2": (4e-5, 512, 0.1, 0.01),
    "8b-stage1": (2e-4, 512, 0, 0.05),
    "8b-stage1.5": (1e-5, 1024, 0.1, 0.05),
    "8b-stage2": (4e-5, 512, 0.1, 0.05),
    "26b-stage1": (2e-4, 512, 0, 0.05),
    "26b-stage1.5": (1e-5, 1024, 0.4, 0.05),
    "26b-stage2": (2e-5, 512, 0.4, 0.05),
    "38b-stage1": (2e-4, 512, 0, 0.05),
    "38b-stage2": (2e-5, 512, 0.4, 0.05),
    "78b-stage1": (2e-4, 512, 0, 0.05),
    "78b-stage2": (2e-5, 512, 0.4, 0.05),
}


@pytest.mark.parametrize("name", TABLE_3)
def test_row_equals_the_paper_of_2_5(name):
    recipe = get_recipe(f"internvl2.5-{name}")
    row = (recipe.learning_rate, recipe.batch_size, recipe.drop_path, recipe.weight_decay)
    assert row == TABLE_3[name]
    assert (recipe.max_length, recipe.packed_tokens, recipe.packed_tiles) == (16384, 16384, 48)
    assert recipe.trains == {"1": ("projector",), "1.5": ("vision", "projector")}.get(
        name.split("stage")[1], ("vision", "projector", "language", "head")
    )


def test_rows_of_the_first_generation():
    """arXiv:2312.14238, section 3.3 and tables 20 and 21; `scripts_internvl` for the LLaVA style."""
    contrastive = get_recipe("internvl-14b-contrastive")
    assert contrastive.part_learning_rates == {"text": 1e-4} and contrastive.learning_rate == 1e-3
    assert (contrastive.adam_betas, contrastive.weight_decay, contrastive.drop_path) == ((0.9, 0.95), 0.1, 0.2)
    assert (contrastive.warmup, contrastive.max_steps, contrastive.image_size) == (5000, 175000, 196)
    assert contrastive.batch_size * contrastive.max_steps == pytest.approx(28.7e9, rel=0.005)
    generative = get_recipe("internvl-14b-generative")
    assert generative.trains == ("bridge", "temperature")
    assert (generative.learning_rate, generative.adam_betas, generative.weight_decay) == (5e-5, (0.9, 0.98), 0.05)
    assert (generative.warmup, generative.max_steps, generative.image_size) == (2000, 80000, 224)
    assert generative.batch_size * generative.max_steps == pytest.approx(1.6e9, rel=0.03)
    for name, epochs in (("flickr", 10), ("coco", 5)):
        retrieval = get_recipe(f"internvl-14b-retrieval-{name}")
        assert (retrieval.learning_rate, retrieval.batch_size, retrieval.warmup) == (1e-6, 1024, 100)
        assert (retrieval.drop_path, retrieval.image_size, retrieval.epochs) == (0.3, 364, epochs)
        assert set(retrieval.layer_decay.values()) == {0.9} and {"vision", "text"} <= set(retrieval.layer_decay)
    for size in ("7b", "13b"):
        first, second = get_recipe(f"internvl-chat-{size}-pretrain"), get_recipe(f"internvl-chat-{size}-finetune")
        assert (first.trains, first.learning_rate, first.batch_size) == (("projector",), 1e-3, 256)
        assert (second.learning_rate, second.batch_size, second.warmup) == (2e-5, 128, 0.03)
        assert second.trains == ("projector", "language", "head") and first.weight_decay == second.weight_decay == 0
        assert first.max_length == second.max_length == 2048
    assert get_recipe("internvl-chat-13b-custom").batch_size == 512


def test_no_row_is_untested():
    first_generation = {name for name in recipe_names() if name.startswith(("internvl-14b-", "internvl-chat-"))}
    assert set(recipe_names()) == {row["recipe"] for row in shells()} | first_generation
    assert len(first_generation) == 9


def test_overrides_and_mistakes():
    assert get_recipe("internvl2.5-8b-full", learning_rate=1.0).learning_rate == 1.0
    with pytest.raises(ValueError, match="Did you mean .*internvl2.5-8b-stage2"):
        get_recipe("internvl2_5-8b-stage2")
    with pytest.raises(ValueError, match="no field 'lr'. It has: .*learning_rate"):
        get_recipe("internvl2.5-8b-full", lr=1.0)
    with pytest.raises(ValueError, match="two limits"):
        get_recipe("internvl2.5-8b-full", packed_tokens=1024)
    with pytest.raises(ValueError, match="at least 1"):
        get_recipe("internvl2.5-8b-lora", lora_rank=0)
    with pytest.raises(AttributeError):
        get_recipe("internvl2.5-8b-full").learning_rate = 1.0


def test_training_arguments(tmp_path, monkeypatch):
    recipe = get_recipe("internvl2.5-8b-stage2", batch_size=24, adam_betas=(0.8, 0.9))
    arguments = recipe.to_training_arguments(tmp_path, per_device_train_batch_size=4, use_cpu=True)
    assert arguments.gradient_accumulation_steps == 6
    assert (arguments.learning_rate, arguments.weight_decay, arguments.warmup_steps) == (4e-5, 0.05, 0.03)
    assert (arguments.max_steps, arguments.lr_scheduler_type, arguments.bf16) == (5500, "cosine", True)
    assert (arguments.adam_beta1, arguments.adam_beta2, arguments.gradient_checkpointing) == (0.8, 0.9, True)
    assert not arguments.remove_unused_columns and arguments.get_warmup_steps(5500) == 165
    assert recipe.to_training_arguments(tmp_path, use_cpu=True, bf16=False, max_steps=7).max_steps == 7
    assert get_recipe("internvl2.5-8b-lora").to_training_arguments(tmp_path, use_cpu=True).num_train_epochs == 1
    with pytest.raises(ValueError, match="batch of internvl2.5-8b-stage2 is 24, which 1 rank.* size=5|batch_size=5"):
        recipe.to_training_arguments(tmp_path, per_device_train_batch_size=5, use_cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "7")
    with pytest.raises(ValueError, match="which 7 rank"):
        recipe.to_training_arguments(tmp_path, use_cpu=True)


def test_apply():
    model = tiny_model()
    assert get_recipe("internvl2.5-26b-stage1.5").apply(model) is model
    counts = count_parameters(model)
    assert all(trained == total for part, (total, trained) in counts.items() if part in ("vision", "projector"))
    assert counts["language"][1] == counts["head"][1] == 0 and model.config.loss_reduction == "square"
    chances = [layer.drop_path.probability for layer in model.model.vision_tower.encoder.layer]
    assert chances == pytest.approx([0, 0.4 / 3, 0.8 / 3, 0.4]) and model.config.vision_config.drop_path_rate == 0.4


def test_drop_path_needs_a_tower_and_a_probability():
    with pytest.raises(ValueError, match="no InternViT"):
        set_drop_path(tiny_model().lm_head, 0.1)
    with pytest.raises(ValueError, match="probability"):
        set_drop_path(tiny_model(), 1.0)


def test_a_step_trains_what_the_recipe_says():
    model = get_recipe("internvl2.5-1b-stage1").apply(tiny_model()).train()
    batch = tiny_batch([1, 1])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(**batch, labels=batch["input_ids"]).loss.backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in before if "multi_modal_projector" in name}
