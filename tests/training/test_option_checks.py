# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every option that a run takes does something and is kept, or is refused: all fields, each by its name."""

import dataclasses
import json
import sys

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.parity.golden import golden_root
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.conversion.surgery.operations import merge_lora_folder
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.recipes import Recipe
from transformers_internvl.training.run import option_checks
from transformers_internvl.training.run.option_checks import check_options
from transformers_internvl.training.run.options import OWN_FIELDS, UNUSED, argument_types, read_options
from transformers_internvl.training.run.other_names import FOREIGN
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.run import RUN_FILE, keep_tile_limit, prepare

LORA = "internvl2.5-1b-lora"
# Fields of `TrainingArguments` that `Trainer` acts upon in any run, as its documentation has it. What is refused, or
# acts under a condition, is in the tables of `option_checks`; a field that is nowhere has to be put there.
ACT = [
    "output_dir",
    "per_device_train_batch_size",
    "num_train_epochs",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "optim",
    "optim_args",
    "weight_decay",
    "adam_epsilon",
    "gradient_accumulation_steps",
    "average_tokens_across_devices",
    "max_grad_norm",
    "label_smoothing_factor",
    "bf16",
    "fp16",
    "tf32",
    "activation_checkpointing",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "torch_compile",
    "torch_compile_backend",
    "torch_compile_mode",
    "use_cache",
    "neftune_noise_alpha",
    "torch_empty_cache_steps",
    "auto_find_batch_size",
    "logging_strategy",
    "logging_first_step",
    "log_on_each_node",
    "logging_nan_inf_filter",
    "include_num_input_tokens_seen",
    "log_level",
    "log_level_replica",
    "disable_tqdm",
    "report_to",
    "run_name",
    "project",
    "save_only_model",
    "save_strategy",
    "save_on_each_node",
    "save_total_limit",
    "enable_jit_checkpoint",
    "push_to_hub",
    "ignore_data_skip",
    "restore_callback_states_from_checkpoint",
    "full_determinism",
    "seed",
    "data_seed",
    "use_cpu",
    "accelerator_config",
    "parallelism_config",
    "dataloader_drop_last",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context",
    "ddp_find_unused_parameters",
    "ddp_bucket_cap_mb",
    "ddp_broadcast_buffers",
    "ddp_static_graph",
    "ddp_backend",
    "ddp_timeout",
    "fsdp",
    "deepspeed",
    "debug",
    "skip_memory_metrics",
]


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


def test_no_field_is_left_out():
    refused = {*option_checks._NO_USE, *option_checks._NO_USE_OF_CHATS, *option_checks._NEEDS}
    arguments, own = set(argument_types()), {*OWN_FIELDS, *(field.name for field in dataclasses.fields(Recipe))}
    assert arguments - refused - {*ACT} == set() and {*ACT} <= arguments and not refused & {*ACT}
    assert refused <= arguments | own
    assert {name for row in UNUSED.values() for name in row} <= own
    assert not FOREIGN.keys() & (arguments | own)
    assert {field for field, _ in FOREIGN.values() if field} <= arguments | own


def value_of(name):
    """A value that a field takes."""
    kinds = {"label_names": "a,b", "include_for_metrics": "loss", "length_column_name": "n", "local_rank": "0"}
    kinds |= {"train_sampling_strategy": "sequential", "fsdp_config": "{}", "activation_checkpointing_kwargs": "{}"}
    kinds |= {"liger_kernel_config": "{}", "optim_target_modules": "all-linear", "eval_strategy": "epoch"}
    kinds |= {"resume_from_checkpoint": "there", "metric_for_best_model": "loss", "hub_strategy": "end"}
    text = str(argument_types().get(name, "int"))
    return kinds.get(name, "true" if "bool" in text else "1" if "int" in text or "float" in text else "x")


@pytest.mark.parametrize("name", [*option_checks._NO_USE, *option_checks._NO_USE_OF_CHATS])
def test_what_does_nothing_is_refused(name, folder):
    options = read_options(LORA, short(folder, **{name: value_of(name)}))
    with pytest.raises(ValueError, match=f"`{name}` does nothing in a run: .* Leave it out"):
        check_options(options)


SETS = {"save_steps": {"save_strategy": "no"}, "logging_steps": {"logging_strategy": "epoch"}}
SETS |= {"activation_checkpointing_kwargs": {"gradient_checkpointing": "false"}}
MET = {"hub": {"push_to_hub": "true"}, "trackio": {"report_to": "trackio"}, "fsdp": {"fsdp": "true"}}
MET |= {"optim": {"optim": "galore_adamw"}, "activation": {"gradient_checkpointing": "true"}}
MET |= {"save": {"save_strategy": "steps"}, "logging": {"logging_strategy": "steps"}, "allow": {"allow_urls": "true"}}
MET |= {"shuffle": {"stream": "true"}}


@pytest.mark.parametrize("name", option_checks._NEEDS)
def test_what_needs_something_else_is_refused_without_it(name, folder, monkeypatch):
    monkeypatch.setattr(option_checks, "check_trackers", lambda report_to: None)
    given = short(folder, **{name: value_of(name), **SETS.get(name, {})})
    with pytest.raises(ValueError, match=f"`{name}` does nothing without `?"):
        check_options(read_options(LORA, given))
    met = MET.get(name.split("_")[0], {"eval_data": given["data"]})
    check_options(read_options(LORA, {**given, **met}))


@pytest.mark.parametrize(
    "recipe, fields, reason",
    [
        (LORA, {"patch_dropout": 0.5}, "`patch_dropout` does nothing .* needs all patches"),
        ("internvl2.5-8b-mpo", {"loss_reduction": "square"}, "`loss_reduction` does nothing for objective 'mpo'"),
        ("internvl-14b-contrastive", {"max_tiles": 4}, "images of pairs are not split"),
        ("internvl-14b-generative", {"loss_reduction": "square"}, "no weights of tokens"),
        ("internvl-14b-generative", {"mixing": "root"}, "not drawn by sets"),
        (
            LORA,
            {"batch_size": 8, "gradient_accumulation_steps": 2},
            "`batch_size` is 8, but 1 rank.* make 2: give one",
        ),
        (
            LORA,
            {"accelerator_config": "{split_batches: true}"},
            "`split_batches` of `accelerator_config` does nothing",
        ),
    ],
)
def test_what_an_objective_has_no_use_for(recipe, fields, reason, folder):
    with pytest.raises(ValueError, match=reason):
        check_options(read_options(recipe, short(folder, **fields)))


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"epochs": 2, "num_train_epochs": 3}, "`epochs` and `num_train_epochs` mean the same"),
        ({"warmup": 2, "warmup_steps": 3}, "`warmup_steps` was given twice"),
        ({"gradient_checkpointing": "true", "activation-checkpointing": "false"}, "given twice"),
        ({"trains": "language"}, "by its adapters, and beside them only projector and vision .* names language"),
        ({"trains": "projector,head"}, "names head"),
        ({"lora_rank": "null"}, "Nothing would train"),
        ({"eval_answers": -1}, "`eval_answers` is a number of samples from 0"),
    ],
)
def test_fields_that_contradict_each_other(fields, reason, folder):
    with pytest.raises(ValueError, match=reason):
        read_options(LORA, short(folder, **fields))


def test_adapters_that_are_asked_for_train_alone(folder):
    assert read_options("internvl2.5-8b-mpo", short(folder, lora_rank=4)).recipe.trains == ()
    recipe = read_options("internvl2.5-8b-mpo", short(folder, lora_rank=4, trains="vision")).recipe
    assert recipe.trains == ("vision",)


def test_the_upper_layer_wins_under_any_name(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        f"recipe: {LORA}\nmodel: a\ndata: b\nnum_train_epochs: 3\nlr_scheduler_type: linear\nbatch_size: 9\n"
    )
    options = read_options(file)
    assert (options.recipe.scheduler, options.arguments) == ("linear", {"num_train_epochs": 3.0})
    assert "epochs" not in options.as_mapping() and "batch_size" in options.as_mapping()
    options = read_options(file, {"epochs": "2", "scheduler": "constant", "gradient_accumulation_steps": "4"})
    assert (options.recipe.epochs, options.recipe.scheduler) == (2, "constant")
    assert options.arguments == {"gradient_accumulation_steps": 4} and "batch_size" not in options.as_mapping()
    check_options(options)


def test_a_part_beside_adapters_trains_in_a_run_and_is_saved(folder):
    ready = prepare(read_options(LORA, short(folder, trains="projector", learning_rate=1e-2, bf16=True, max_steps=1)))
    before = {name: p.detach().clone() for name, p in ready.model.named_parameters() if p.requires_grad}
    assert {name.split(".modules_to_save.")[0].split(".")[-1] for name in before if ".lora_" not in name} == {
        "multi_modal_projector"
    }
    ready.train()
    saved = AutoModelForImageTextToText.from_pretrained(folder / "out", dtype="float32").model.multi_modal_projector
    after = {name: p for name, p in ready.model.named_parameters() if "modules_to_save" in name and p.requires_grad}
    assert after and all(not torch.equal(before[name], value) for name, value in after.items())
    kept = dict(saved.named_parameters())
    for name, value in after.items():
        torch.testing.assert_close(
            kept[f"modules_to_save.default.{name.rpartition('.default.')[2]}"], value.float(), rtol=1e-2, atol=1e-2
        )


@pytest.mark.parametrize("recipe", ["internvl2.5-1b-full", LORA])
def test_the_limit_of_tiles_is_kept(recipe, folder):
    prepare(read_options(recipe, short(folder, max_tiles=2, max_steps=1, learning_rate=0))).train()
    picture = torch.zeros(3, 100, 900, dtype=torch.uint8)
    counts = []
    for place in (nano_path(), folder / "out"):
        tiles = AutoProcessor.from_pretrained(place).image_processor(picture, return_tensors="pt")["pixel_values"]
        counts.append(len(tiles))
    assert counts == [5, 3]  # with the thumbnail
    if recipe == LORA:
        merge_lora_folder(folder / "out", folder / "merged")
        assert AutoProcessor.from_pretrained(folder / "merged").image_processor.max_patches == 2


def test_the_limit_of_tiles_is_kept_in_the_layout_of_the_original_code(tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(golden_root() / "chat_qwen2_5")
    processor = AutoProcessor.from_pretrained(nano_path())
    assert model.config.max_dynamic_patch != 3
    keep_tile_limit(3, processor, model.config)
    for saved in (model, processor):
        saved.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["max_dynamic_patch"] == 3
    assert AutoProcessor.from_pretrained(tmp_path).image_processor.max_patches == 3


def test_an_adapter_brings_its_limit_of_tiles_into_what_it_is_merged_into(tmp_path):
    base = golden_root() / "chat_qwen2_5"
    model = AutoModelForImageTextToText.from_pretrained(base)
    processor = AutoProcessor.from_pretrained(nano_path())
    keep_tile_limit(3, processor, model.config)
    get_peft_model(model, lora_config("llm", model, r=2)).save_pretrained(tmp_path / "adapter")
    processor.save_pretrained(tmp_path / "adapter")
    merge_lora_folder(tmp_path / "adapter", tmp_path / "merged", base=base)
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["max_dynamic_patch"] == 3


def test_another_size_of_tiles_is_refused(folder):
    for start in (prepare, make_plan):
        with pytest.raises(
            ValueError, match="`image_size` is 224, but the tiles of .* have 112 pixels.*resize-positions"
        ):
            start(read_options(LORA, short(folder, image_size=224)))
    options = read_options(LORA, short(folder, image_size=112))
    make_plan(options)
    assert options.as_mapping()["image_size"] == 112
    assert "image_size" not in read_options(LORA, short(folder)).as_mapping()


def test_the_seed_of_the_data_orders_them(folder):
    def order(**fields):
        stream = prepare(read_options(LORA, short(folder, **fields))).data.samples
        return [int(sample["input_ids"].sum()) for sample in (stream[index] for index in range(len(stream)))]

    assert order() == order(data_seed=42) == order(seed=42) == order(seed=7, data_seed=42)
    assert order(data_seed=7) == order(seed=7) != order()


def test_no_bar_where_none_is_asked_for(folder, capsys):
    prepare(read_options(LORA, short(folder, disable_tqdm=True))).train()
    assert "step" not in capsys.readouterr().err


def test_trackers_that_are_not_installed_are_named_before_anything_is_loaded(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_tensorboard_available", lambda: False)
    options = read_options(LORA, short(folder, model="nowhere/at-all", report_to="tensorboard"))
    for start in (prepare, make_plan):
        with pytest.raises(ValueError, match="`report_to` names tensorboard, which cannot be used here: .*installed"):
            start(options)
    with pytest.raises(ValueError, match="tensorbord is not supported, only .*tensorboard"):
        prepare(read_options(LORA, short(folder, model="nowhere/at-all", report_to="tensorbord")))


@pytest.mark.parametrize(
    "name, said",
    [
        ("freeze_llm", "Did you mean `trains`, which names the parts that train, .*: leave `language` out"),
        ("use_llm_lora", "Did you mean `lora_rank`[?]"),
        ("max_dynamic_patch", "Did you mean `max_tiles`[?]"),
        ("meta_path", "Did you mean `data`[?]"),
        ("conv_style", "the conversation template is the model's own, and stays. Leave it out"),
        ("evaluation_strategy", "Did you mean `eval_strategy`[?]"),
    ],
)
def test_names_of_the_original_code_are_explained(name, said, folder, tmp_path):
    with pytest.raises(ValueError, match=f"There is no field '{name}'.* {said}"):
        read_options(LORA, short(folder, **{name.replace("_", "-"): "1"}))
    file = tmp_path / "run.yaml"
    file.write_text(f"recipe: {LORA}\nmodel: a\ndata: b\n{name}: true\n")
    with pytest.raises(ValueError, match=f"run.yaml: There is no field '{name}'.* {said}"):
        read_options(file)


def test_what_is_written_is_the_same_run_for_every_objective(folder, tmp_path):
    from transformers_internvl.training.run.options import write_options

    for recipe in (LORA, "internvl2.5-8b-mpo", "internvl-14b-contrastive"):
        options = read_options(recipe, short(folder, gradient_accumulation_steps=2))
        write_options(options, tmp_path / RUN_FILE, "a comment")
        again = read_options(tmp_path / RUN_FILE)
        check_options(again)
        assert again.as_mapping() == options.as_mapping()
        assert (tmp_path / RUN_FILE).read_text().count("gradient_accumulation_steps") == 1
