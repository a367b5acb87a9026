# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Each recipe against the original shells and the papers' tables, and what it does to a model."""

from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_batch, tiny_model
from tests.tiny_dual_encoder import tiny_dual_config
from transformers_internvl import InternVLDualEncoderModel
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
    experts = ("visual_experts",) if row["recipe"].startswith("mono-") else ()  # `--unfreeze_ve True`
    parts = tuple(part for letter in "VML" if letter not in row["frozen"] for part in PARTS_OF[letter])
    assert recipe.trains == parts + experts
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
    others = {name for name in recipe_names() if "-vico" in name or "-gspo" in name}  # their own tests
    assert set(recipe_names()) == {row["recipe"] for row in shells()} | first_generation | others
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


# arXiv:2312.14238: section 3.3, tables 20 and 21; of the chat models their shells. 164K and 20K are 640 x 256 and
# 160 x 128.
# name -> learning rate, decay, warm-up, drop path, tokens, batch, side, steps, epochs, betas
FIRST_GENERATION = {
    "14b-contrastive": (1e-3, 0.1, 5000, 0.2, 80, 163840, 196, 175000, 1, (0.9, 0.95)),
    "14b-generative": (5e-5, 0.05, 2000, 0.0, 80, 20480, 224, 80000, 1, (0.9, 0.98)),
    "14b-retrieval-flickr": (1e-6, 0.05, 100, 0.3, 80, 1024, 364, None, 10, (0.9, 0.999)),
    "14b-retrieval-coco": (1e-6, 0.05, 100, 0.3, 80, 1024, 364, None, 5, (0.9, 0.999)),
    "chat-7b-pretrain": (1e-3, 0.0, 0.03, 0.0, 2048, 256, 336, None, 1, (0.9, 0.999)),
    "chat-13b-pretrain": (1e-3, 0.0, 0.03, 0.0, 2048, 256, 336, None, 1, (0.9, 0.999)),
    "chat-7b-finetune": (2e-5, 0.0, 0.03, 0.0, 2048, 128, 336, None, 1, (0.9, 0.999)),
    "chat-13b-finetune": (2e-5, 0.0, 0.03, 0.0, 2048, 128, 336, None, 1, (0.9, 0.999)),
    "chat-13b-custom": (2e-5, 0.0, 0.03, 0.0, 2048, 512, 336, None, 1, (0.9, 0.999)),
}


@pytest.mark.parametrize("name", FIRST_GENERATION)
def test_every_number_of_the_first_generation(name):
    recipe = get_recipe(f"internvl-{name}")
    found = (recipe.learning_rate, recipe.weight_decay, recipe.warmup, recipe.drop_path, recipe.max_length)
    found += (recipe.batch_size, recipe.image_size, recipe.max_steps, recipe.epochs, recipe.adam_betas)
    assert found == FIRST_GENERATION[name]
    assert recipe.max_tiles == 1 and recipe.scheduler == "cosine" and recipe.loss_reduction == "token"
    assert recipe.patch_dropout == (0.5 if name == "14b-contrastive" else 0)
    assert recipe.part_learning_rates == ({"text": 1e-4} if name == "14b-contrastive" else {})
    decayed = ("vision", "text", "bridge", "temperature") if "retrieval" in name else ()
    assert recipe.layer_decay == dict.fromkeys(decayed, 0.9)
    assert recipe.objective == (name.split("-")[1] if "14b" in name else "sft")
    assert recipe.lora_rank is None and recipe.packed_tokens is None


@pytest.mark.parametrize("name", recipe_names())
def test_arguments_are_the_recipes_numbers(name):
    """The same for all rows, so that none is a constant that happens to be right for one."""
    recipe = get_recipe(name)
    ranks = 4 if recipe.batch_size % 8 == 0 else 1
    values = recipe.argument_values(ranks, per_device_train_batch_size=2)
    assert values["gradient_accumulation_steps"] * 2 * ranks == recipe.batch_size
    assert (values["learning_rate"], values["weight_decay"]) == (recipe.learning_rate, recipe.weight_decay)
    assert (values["warmup_steps"], values["lr_scheduler_type"]) == (recipe.warmup, recipe.scheduler)
    assert (values["adam_beta1"], values["adam_beta2"]) == recipe.adam_betas
    assert (values["num_train_epochs"], values["max_steps"]) == (recipe.epochs, recipe.max_steps or -1)
    assert values["bf16"] is values["activation_checkpointing"] is True and values["logging_steps"] == 1
    changed = recipe.argument_values(1, gradient_checkpointing=False, gradient_accumulation_steps=3, learning_rate=7.0)
    assert (changed["activation_checkpointing"], changed["gradient_accumulation_steps"]) == (False, 3)
    assert changed["learning_rate"] == 7.0 and "gradient_checkpointing" not in changed


def test_fields_of_a_recipe_at_their_bounds():
    assert get_recipe("internvl2.5-8b-lora", lora_rank=1).lora_rank == 1
    for rank in (0, -1):
        with pytest.raises(ValueError, match="`lora_rank` is at least 1"):
            get_recipe("internvl2.5-8b-lora", lora_rank=rank)
    with pytest.raises(ValueError, match="Nothing would train"):
        get_recipe("internvl2.5-8b-lora", lora_rank=None)
    for only in ({"packed_tokens": 9}, {"packed_tiles": 9}):
        with pytest.raises(ValueError, match="Packing has two limits"):
            get_recipe("internvl2.5-8b-full", **only)
    assert get_recipe("internvl2.5-8b-full", lora_rank=4).trains == ()
    assert get_recipe("internvl2.5-8b-full", lora_rank=4, trains=("vision",)).trains == ("vision",)
    assert get_recipe("internvl2.5-8b-lora", trains=("projector",), lora_rank=4).trains == ("projector",)
    with pytest.raises(ValueError, match="`trains` names language, head"):
        get_recipe("internvl2.5-8b-full", lora_rank=4, trains=("projector", "language", "head"))


@pytest.mark.parametrize("beside", [(), ("projector",), ("vision", "projector")])
def test_adapters_are_the_language_models_and_what_is_beside_them_is_exact(beside):
    recipe = get_recipe("internvl2.5-8b-lora", lora_rank=3, trains=beside, drop_path=0.0)
    model = recipe.apply(tiny_model().to(torch.bfloat16))
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    adapters = [name for name, _ in trained if ".lora_" in name]
    assert adapters and all(".language_model." in name for name in adapters)
    config = model.peft_config["default"]
    assert (config.r, config.lora_alpha) == (3, 6)
    modules = {"projector": "multi_modal_projector", "vision": "vision_tower"}
    whole = {modules[part] for part in beside}
    assert {
        module for module in modules.values() if any(f"{module}.modules_to_save" in n for n, _ in trained)
    } == whole
    assert all(".lora_" in name or "modules_to_save" in name for name, _ in trained)
    assert all(parameter.dtype == torch.float32 for _, parameter in trained)


def test_chances_to_be_dropped():
    model = tiny_model()
    for rate in (0.3, 0.0):
        set_drop_path(model, rate)
        chances = [layer.drop_path.probability for layer in model.model.vision_tower.encoder.layer]
        assert chances == pytest.approx([rate * block / 3 for block in range(4)])
    for rate in (1.0, -0.1):
        with pytest.raises(ValueError, match="a probability in"):
            set_drop_path(model, rate)
    stage = get_recipe("internvl-14b-contrastive")
    dual = stage.apply(InternVLDualEncoderModel(tiny_dual_config()))
    assert dual.vision_model.config.patch_dropout == 0.5
    again = get_recipe("internvl-14b-generative").apply(dual)
    assert again.vision_model.config.patch_dropout == again.vision_model.config.drop_path_rate == 0
