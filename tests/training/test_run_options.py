# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a run is: layers of fields, their types, and what is said about those that do not exist."""

import pytest

from transformers_internvl.training.recipes import get_recipe, recipe_names
from transformers_internvl.training.run.options import read_options, write_options

GIVEN = {"model": "m", "data": "d.jsonl"}


def read(recipe="internvl2.5-1b-lora", **fields):
    return read_options(recipe, {**GIVEN, **fields})


@pytest.mark.parametrize("name", ["internvl2.5-1b-lora", "internvl-14b-contrastive", "internvl2.5-8b-mpo"])
def test_a_name_alone_is_the_row(name):
    options = read(name)
    assert options.recipe == get_recipe(name) and options.arguments == {}
    assert options.output == f"runs/{name}" and name in recipe_names()


def test_assignments_win_over_the_file_and_the_file_over_the_recipe(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("recipe: internvl2.5-8b-lora\nmodel: a\ndata: b\nlearning_rate: 1e-3\nlora-rank: 4\nseed: 5\n")
    options = read_options(file, {"learning_rate": "2e-3", "data": "c"})
    assert (options.recipe.name, options.recipe.learning_rate, options.recipe.lora_rank) == (
        "internvl2.5-8b-lora",
        2e-3,
        4,
    )
    assert (options.model, options.data, options.arguments) == ("a", "c", {"seed": 5})
    assert read_options("internvl2.5-2b-lora", {}, file).recipe.name == "internvl2.5-2b-lora"
    assert read_options("internvl2.5-2b-lora", {}, file).recipe.lora_rank == 4


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("learning_rate", "1e-4", 1e-4),
        ("max_steps", "null", None),
        ("adam_betas", "0.9,0.95", (0.9, 0.95)),
        ("trains", "vision, projector", ("vision", "projector")),
        ("part_learning_rates", "{vision: 1e-5}", {"vision": 1e-5}),
        ("objective", "mpo", "mpo"),
    ],
)
def test_texts_become_values_of_the_recipe(name, text, value):
    assert getattr(read(**{name: text}).recipe, name) == value


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("bf16", "false", False),
        ("save_strategy", "no", "no"),
        ("save_steps", "0.5", 0.5),
        ("num-train-epochs", "2", 2.0),
        ("deepspeed", "zero.json", "zero.json"),
        ("run_name", "7", "7"),
        ("optim_args", None, None),
    ],
)
def test_texts_become_values_of_the_arguments(name, text, value):
    found = read(**{name: text}).arguments[name.replace("-", "_")]
    assert found == value and type(found) is type(value)


def test_epochs_that_are_asked_for_win_over_steps_that_are_not(tmp_path):
    assert read("internvl2.5-1b-stage2").recipe.max_steps == 22000
    assert read("internvl2.5-1b-stage2", epochs="3").recipe.max_steps is None
    assert read("internvl2.5-1b-stage2", epochs="3", max_steps="9").recipe.max_steps == 9
    file = tmp_path / "a.yaml"
    file.write_text("recipe: internvl2.5-1b-stage2\nmax_steps: 7\n")
    assert read(file).recipe.max_steps == 7
    assert read(file, num_train_epochs="1").recipe.max_steps is None


def test_what_is_written_is_read_as_the_same_run(tmp_path):
    options = read(learning_rate="3e-4", adam_betas="0.8,0.9", on_bad_sample="skip:3", bf16="false", epochs="2")
    write_options(options, tmp_path / "run.yaml", "a comment")
    assert read_options(tmp_path / "run.yaml") == options


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"learning_rat": 1}, "no field 'learning_rat'. Did you mean learning_rate"),
        ({"qqqq": 1}, "no field 'qqqq'. See Recipe"),
        ({"bf16": "3"}, "`bf16` should be true or false, got '3'"),
        ({"epochs": "1.5"}, "`epochs` should be int, got '1.5'"),
        ({"learning_rate": "fast"}, "`learning_rate` should be float, got 'fast'"),
        ({"adam_betas": "0.9"}, "`adam_betas` should be"),
        ({"mixing": "x"}, "`mixing` is one of size, root; got 'x'"),
        ({"dtype": "x"}, "`dtype` is one of float32, bfloat16, float16, None; got 'x'"),
        ({"on_bad_sample": "skip"}, "`on_bad_sample` is 'raise', or 'skip:N'"),
        ({"packed_tokens": 5}, "Packing has two limits"),
        ({"model": ""}, "`model` must be given"),
    ],
)
def test_mistakes_are_named(fields, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(").replace("?", r"\?")):
        read(**fields)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a: [", "not YAML"),
        ("- a\n", "expected fields"),
        ("model: a\n", "`recipe` is missing"),
        ("recipe: internvl2.5-1b-lora\nfoo: 1\n", "no field 'foo'"),
        ("recipe: internvl2.5-1b-lora\n5: 1\n", "no field '5'"),
        ("recipe: internvl9\n", "no recipe 'internvl9'"),
    ],
)
def test_mistakes_in_files_are_named(text, reason, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "run.yaml")
