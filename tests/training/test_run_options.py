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


def test_defaults_of_a_run():
    options = read()
    assert (options.eval_answers, options.on_bad_sample, options.mixing) == (4, "raise", "size")
    assert (options.too_long, options.text_tokens, options.dtype) == ("raise", "added", None)
    assert options.policy().limit == 0 and read(on_bad_sample="skip:3").policy().limit == 3
    assert read(eval_answers="0").eval_answers == 0
    for wrong, reason in (("-1", "a number of samples from 0"), ("1.5", "should be int")):
        with pytest.raises(ValueError, match=reason):
            read(eval_answers=wrong)
    for wrong in ("skip:-1", "skip:x", "skip:1.5", "raise:1", "keep:1"):
        with pytest.raises(ValueError, match="'raise', or 'skip:N'"):
            read(on_bad_sample=wrong)


@pytest.mark.parametrize(
    "given, tokens",
    [
        ("added", "added"),
        ("regions", "regions"),
        ("all", "all"),
        ("<a>, <b>", ("<a>", "<b>")),
        (["<a>", "<b>"], ("<a>", "<b>")),
    ],
)
def test_tokens_of_texts(given, tokens):
    assert read(text_tokens=given).writable_tokens() == tokens


def test_what_a_root_belongs_to():
    plain, meta = "a.jsonl", "m.json"
    for data, eval_data, roots in (
        (plain, plain, ("r", "r")),
        (plain, meta, ("r", None)),
        (meta, plain, (None, "r")),
        (meta, meta, ("r", "r")),  # nothing that it could belong to: reading them says so
        (meta, None, ("r", None)),
        ("table", None, ("r", None)),
    ):
        options = read(data=data, data_root="r", **({"eval_data": eval_data} if eval_data else {}))
        found = options.root_of(options.data), options.root_of(options.eval_data) if eval_data else None
        assert found == roots, (data, eval_data)


@pytest.mark.parametrize("one, other", [("num_train_epochs", "epochs"), ("gradient_accumulation_steps", "batch_size")])
def test_of_two_that_say_the_same_the_later_stands(one, other, tmp_path):
    file = tmp_path / "run.yaml"
    for written, assigned in ((one, other), (other, one)):
        file.write_text(f"recipe: internvl2.5-1b-lora\nmodel: m\ndata: d\n{written}: 7\n")
        options = read_options(file, {assigned: "3"})
        assert written not in options.given and assigned in options.given
        found = options.as_mapping()
        assert found[assigned] == 3 and found.get(written, None) != 7


def test_a_field_is_given_once():
    for names in (("output", "output_dir"), ("warmup", "warmup_steps"), ("scheduler", "lr_scheduler_type")):
        with pytest.raises(ValueError, match="was given twice"):
            read(**dict.fromkeys(names, "1"))
    with pytest.raises(ValueError, match="was given twice"):
        read_options("internvl2.5-1b-lora", {**GIVEN, "max-steps": 1, "max_steps": 2})
    with pytest.raises(ValueError, match="`epochs` and `num_train_epochs` mean the same"):
        read(epochs=1, num_train_epochs=1)


def test_names_of_trainers_are_those_of_recipes():
    options = read(output_dir="o", warmup_steps="9", lr_scheduler_type="linear", gradient_checkpointing="false")
    assert (options.output, options.recipe.warmup, options.recipe.scheduler) == ("o", 9.0, "linear")
    assert options.arguments == {"activation_checkpointing": False}
    more = read(gradient_checkpointing_kwargs="{use_reentrant: false}")
    assert more.arguments == {"activation_checkpointing_kwargs": {"use_reentrant": False}}


@pytest.mark.parametrize("name", ["num_train_epochs", "epochs"])
def test_epochs_end_a_run_wherever_they_are_said(name, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(f"recipe: internvl2.5-1b-stage2\n{name}: 2\n")
    assert read(file).recipe.max_steps is None and read(file, max_steps=5).recipe.max_steps == 5
    file.write_text(f"recipe: internvl2.5-1b-stage2\n{name}: 2\nmax_steps: 6\n")
    assert read(file).recipe.max_steps == 6 and read(file, **{name: 3}).recipe.max_steps is None


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("batch_size", "64.0", 64),
        ("lora_rank", "null", None),
        ("lora_rank", "8", 8),
        ("warmup", "100", 100.0),
        ("adam_betas", [0.8, 0.9], (0.8, 0.9)),
        ("trains", "projector", ("projector",)),
        ("layer_decay", {"vision": "9e-1"}, {"vision": 0.9}),
        ("drop_path", 0, 0.0),
    ],
)
def test_values_of_the_recipe_have_its_types(name, text, value):
    more = {"trains": "projector"} if name == "lora_rank" and value is None else {}
    found = getattr(read(**{**more, name: text}).recipe, name)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"adam_betas": "0.9,0.95,0.99"}, "`adam_betas` should be"),
        ({"adam_betas": "0.9,x"}, "`adam_betas` should be"),
        ({"batch_size": "1.5"}, "`batch_size` should be int"),
        ({"batch_size": "true"}, "`batch_size` should be int"),
        ({"part_learning_rates": "{vision: x}"}, "`part_learning_rates` should be"),
        ({"part_learning_rates": "3"}, "`part_learning_rates` should be"),
        ({"data": ""}, "`data` must be given"),
        ({"model": "", "data": ""}, "`model`, `data` must be given"),
    ],
)
def test_values_of_another_type_are_named(fields, reason):
    with pytest.raises(ValueError, match=reason):
        read(**fields)


@pytest.mark.parametrize(
    "recipe, fields",
    [
        ("internvl2.5-1b-lora", {"text_tokens": "<a>,<b>", "data_root": "r", "dtype": "float16", "seed": 5}),
        ("internvl2.5-1b-lora", {"eval_data": "e.jsonl", "eval_answers": 2, "save_strategy": "epoch"}),
        ("internvl2.5-1b-lora", {"eval_answers": 2}),
        ("internvl2.5-1b-stage2", {"num_train_epochs": 2, "gradient_accumulation_steps": 3}),
        ("internvl2.5-1b-stage2", {"layer_decay": {"vision": 0.9}, "part_learning_rates": {"head": 1e-5}}),
        ("internvl2.5-8b-mpo", {"loss_reduction": "sample", "fsdp_config": {"version": 2}, "optim_args": "a=1"}),
        ("internvl-14b-contrastive", {"max_tiles": 3, "text_tokens": "all"}),
    ],
)
def test_every_field_comes_back_from_a_file(recipe, fields, tmp_path):
    options = read(recipe, **fields)
    write_options(options, tmp_path / "run.yaml", "a comment")
    again = read_options(tmp_path / "run.yaml")
    assert again == options and fields.keys() <= again.given
    assert {name: getattr(again.recipe, name, getattr(again, name, again.arguments.get(name))) for name in fields} == {
        name: getattr(options.recipe, name, getattr(options, name, options.arguments.get(name))) for name in fields
    }
