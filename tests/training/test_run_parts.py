# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The decisions of a run, each by itself: seeds, dtypes, when it is evaluated, what is logged, asked and planned."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoProcessor

from transformers_internvl import nano_path
from transformers_internvl.profiling.training_memory import Work
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.data.records import DataSet, SkipPolicy, TableRows
from transformers_internvl.training.run import answers as answers_module
from transformers_internvl.training.run import plan, report, run
from transformers_internvl.training.run.answers import ANSWER_FILE, LONGEST, AnswerLog
from transformers_internvl.training.run.data import PairRows, read_sets
from transformers_internvl.training.run.objectives import objective_of
from transformers_internvl.training.run.option_checks import check_image_size, check_options
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.report import LOG_FILE, RunReport, draw_curve, read_log
from transformers_internvl.training.trainers.trainer import label_count, weight_of

LORA, FULL, MPO = "internvl2.5-1b-lora", "internvl2.5-1b-full", "internvl2.5-1b-mpo"


def options(recipe=LORA, **fields):
    return read_options(recipe, {"model": str(nano_path()), "data": "d.jsonl", **fields})


# --- seeds, dtypes, evaluation ---


@pytest.mark.parametrize(
    "given, seed",
    [
        ({}, 42),
        ({"seed": 7}, 7),
        ({"data_seed": 3}, 3),
        ({"data_seed": 3, "seed": 7}, 3),
        ({"data_seed": 0, "seed": 7}, 0),
    ],
)
def test_the_seed_of_the_data(given, seed):
    assert run.data_seed(options(**given)) == seed


@pytest.mark.parametrize(
    "recipe, given, weights, bf16",
    [
        (LORA, {}, "bfloat16", True),
        (LORA, {"bf16": False}, "float32", False),
        (LORA, {"fp16": True}, "float32", False),
        (LORA, {"fp16": True, "bf16": True}, "bfloat16", True),
        (LORA, {"dtype": "float16"}, "float16", True),
        (FULL, {}, "float32", True),
        (FULL, {"dtype": "bfloat16", "bf16": False}, "bfloat16", False),
    ],
)
def test_dtypes(recipe, given, weights, bf16):
    chosen = options(recipe, **given)
    assert (run.weights_dtype(chosen), run.uses_bf16(chosen)) == (weights, bf16)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, ("steps", 500, 1)),
        ({"save_steps": 20, "per_device_train_batch_size": 4}, ("steps", 20, 4)),
        ({"save_strategy": "epoch"}, ("epoch", None, 1)),
        ({"save_strategy": "no"}, ("no", None, 1)),
        ({"save_strategy": "best", "save_steps": 30}, ("steps", 30, 1)),
        ({"save_strategy": "epoch", "eval_steps": 5, "save_steps": 9}, ("steps", 9, 1)),
    ],
)
def test_when_it_is_evaluated(given, expected):
    """What is given itself (`eval_steps`) comes on top, and wins."""
    found = run._when_to_evaluate(options(eval_data="e.jsonl", **given))
    assert (found["eval_strategy"], found.get("eval_steps"), found["per_device_eval_batch_size"]) == expected
    assert run._when_to_evaluate(options(**given)) == {}


@pytest.mark.parametrize(
    "ranks, size, count, right", [(1, 4, 4, True), (1, 4, 3, False), (2, 4, 8, True), (2, 4, 7, False)]
)
def test_a_whole_batch_is_there(ranks, size, count, right):
    arguments = SimpleNamespace(world_size=ranks, dataloader_drop_last=True)
    if right:
        run._check_batch(arguments, range(count), size)
    else:
        with pytest.raises(ValueError, match=f"There are {count} samples, but a batch of {ranks * size} is compared"):
            run._check_batch(arguments, range(count), size)
    run._check_batch(SimpleNamespace(world_size=ranks, dataloader_drop_last=False), range(1), size)


@pytest.mark.parametrize("count, rest", [(8, 0), (9, 1), (11, 3), (3, 3)])
def test_samples_that_fill_no_batch_are_said(count, rest):
    arguments = SimpleNamespace(dataloader_drop_last=True, per_device_eval_batch_size=2, world_size=2)
    found = run._left_out(SimpleNamespace(eval_dataset=range(count), args=arguments))
    assert found == ([f"{rest} of {count} samples were not evaluated: they fill no batch."] if rest else [])
    arguments.dataloader_drop_last = False
    assert run._left_out(SimpleNamespace(eval_dataset=range(count), args=arguments)) == []


def test_the_tile_limit_is_written_into_processor_and_config():
    processor, config = SimpleNamespace(image_processor=SimpleNamespace(max_patches=12)), SimpleNamespace()
    run.keep_tile_limit(7, processor, config)
    assert processor.image_processor.max_patches == 7 and not vars(config)
    config.max_dynamic_patch = 12
    run.keep_tile_limit(6, SimpleNamespace(image_processor=SimpleNamespace()), config)
    assert config.max_dynamic_patch == 6


def test_what_was_logged_last_and_the_card(tmp_path):
    history = [{"step": 2, "eval_loss": 3.0}, {"step": 2, "loss": 1.0}, {"step": 4, "loss": 0.5}]
    job = object.__new__(run.Run)
    trained = SimpleNamespace(global_step=4, log_history=history)
    job.trainer = SimpleNamespace(state=trained, args=None, get_total_train_batch_size=lambda args: 24)
    assert (job._last("loss"), job._last("eval_loss"), job._last("other")) == (0.5, 3.0, None)
    assert not job._is_evaluated()
    history.append({"step": 4, "eval_loss": 2.0})
    assert job._is_evaluated() and job._last("eval_loss") == 2.0
    card = tmp_path / "README.md"
    for chosen, rank in (
        (options(data="x/d.jsonl", learning_rate=3e-4), 16),
        (options(FULL, learning_rate=3e-4), None),
    ):
        job.options = chosen
        card.write_text("# A model\n\n")
        job._describe(card)
        text = card.read_text()
        assert text.startswith("# A model\n\n## Training\n\nBy `internvl train`:\n\n| | |\n|---|---|\n")
        found = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE))
        expected = {"recipe": chosen.recipe.name, "data": "d.jsonl", "steps": "4", "samples in a step": "24"}
        expected |= {"learning rate": "0.0003", "loss": "0.5000", "evaluation loss": "2.0000"}
        assert found == expected | ({} if rank is None else {"rank of the adapters": str(rank)})


@pytest.mark.parametrize("disabled", [None, True, False])
def test_a_bar_unless_it_is_switched_off(disabled):
    chosen = options(**({} if disabled is None else {"disable_tqdm": disabled}))
    trainer = SimpleNamespace(remove_callback=lambda kind: None, add_callback=lambda callback: None)
    job = run.Run(chosen, None, None, None, trainer, None)
    assert job.report.with_bar is (not disabled)


# --- what is checked before ---


@pytest.mark.parametrize("ranks, device, steps, whole", [(1, 2, 3, 6), (4, 2, 3, 24), (2, None, 3, 6)])
def test_the_batch_that_two_fields_make(ranks, device, steps, whole, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    given = {"gradient_accumulation_steps": steps, **({"per_device_train_batch_size": device} if device else {})}
    check_options(options(batch_size=whole, **given))
    with pytest.raises(ValueError, match=rf"{ranks} rank\(s\) .* make {whole}: give one of the two"):
        check_options(options(batch_size=whole + 1, **given))


@pytest.mark.parametrize(
    "key", ["split_batches", "dispatch_batches", "even_batches", "use_seedable_sampler", "data_seed"]
)
def test_keys_of_a_loader_that_is_our_own(key):
    given = {"accelerator_config": {"non_blocking": True, key: True}}
    with pytest.raises(ValueError, match=f"`{key}` of `accelerator_config` does nothing"):
        check_options(options(**given))
    check_options(options("internvl-14b-contrastive", **given))  # pairs have Trainer's loader
    check_options(options(accelerator_config={"non_blocking": True}))


def test_trackers_by_their_names():
    check_options(options(report_to=["none"]))
    check_options(options(report_to="all"))
    for names in (["none", "mlflou"], ["mlflou"]):
        with pytest.raises(ValueError, match="mlflou"):
            check_options(options(report_to=names))


@pytest.mark.parametrize("side", [448, [448, 448], (448, 448)])
def test_a_size_of_tiles_is_the_models(side):
    config = SimpleNamespace(vision_config=SimpleNamespace(image_size=side))
    check_image_size(options(image_size=448), config)
    check_image_size(options(), SimpleNamespace(vision_config=SimpleNamespace(image_size=56)))
    with pytest.raises(ValueError, match="`image_size` is 224, but the tiles of .* have 448 pixels"):
        check_image_size(options(image_size=224), config)


def test_a_field_without_use_may_have_its_rows_value():
    check_options(options(MPO, loss_reduction="token"))
    with pytest.raises(ValueError, match="`loss_reduction` does nothing for objective 'mpo'"):
        check_options(options(MPO, loss_reduction="square"))
    check_options(options(image_size=448))
    check_options(options(gradient_checkpointing_kwargs={"use_reentrant": False}))  # checkpointing is on by itself
    check_options(options(eval_steps=None))
    for optimizer in ("galore_adamw", "apollo_adamw"):
        check_options(options(optim=optimizer, optim_target_modules="all-linear"))
    for strategy in ("epoch", "no"):
        with pytest.raises(ValueError, match="`save_steps` does nothing without"):
            check_options(options(save_strategy=strategy, save_steps=5))


# --- the log ---


def state(step, **more):
    return SimpleNamespace(global_step=step, max_steps=10, is_world_process_zero=True, **more)


class Bar:
    """A bar that remembers."""

    def __init__(self, total, initial, **_):
        self.total, self.n, self.closed = total, initial, False

    def update(self, by):
        self.n += by

    def set_postfix(self, values):
        self.shown = values

    def close(self):
        self.closed = True


def test_a_log_goes_on_from_its_step(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "tqdm", Bar)
    clock = iter([100.0, 104.0, 105.0, 106.5, 200.0, 300.0])
    monkeypatch.setattr(report.time, "perf_counter", lambda: next(clock))
    rows = [{"step": step, "loss": 1.0} for step in (1, 2, 3, 4)]
    (tmp_path / LOG_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 5, "lo')
    assert read_log(tmp_path) == rows  # a line that was not written to its end is none
    log = RunReport(tmp_path)
    log._counts.tokens, log._counts.tiles = [999], 9  # of steps that are done again
    log.on_train_begin(None, state(3), None)
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3] and log._bar.n == 3
    assert log._counts.take() == (0, 0)
    log.on_step_end(None, SimpleNamespace(global_step=5, max_steps=12), None)
    assert (log._bar.n, log._bar.total) == (5, 12)
    monkeypatch.setattr(log._counts, "take", lambda: (80, 6))
    log.on_log(None, state(5), None, {"loss": 0.5, "learning_rate": 1e-4, "epoch": 0.1, "other": 1})
    (row,) = read_log(tmp_path)[3:]
    spent = {"tokens": 80, "tiles": 6, "tokens_per_second": 20.0}
    assert row == {"step": 5, "epoch": 0.1, "loss": 0.5, "learning_rate": 1e-4, **spent, "other": 1}
    assert list(row)[:4] == ["step", "epoch", "loss", "learning_rate"]
    log._bar.write = lambda *_, **__: None
    log.on_log(None, state(5), None, {"eval_loss": 2.0})  # at 105: its time is none of the next step's
    log.on_log(None, state(6), None, {"loss": 0.5, "learning_rate": 1e-4})
    assert read_log(tmp_path)[-2:] == [
        {"step": 5, "eval_loss": 2.0},
        {"step": 6, "loss": 0.5, "learning_rate": 1e-4, "tokens": 80, "tiles": 6, "tokens_per_second": 53.3},
    ]
    bar = log._bar
    log._close()
    assert bar.closed and log._bar is None


def test_a_curve_is_drawn_once_for_a_step(tmp_path, monkeypatch):
    drawn, log = [], RunReport(tmp_path, bar=False)
    monkeypatch.setattr(report, "draw_curve", lambda rows, path: drawn.append(path.name))
    for step in (2, 2, 4):
        log.on_save(None, state(step), None)
    log.on_train_end(None, state(4), None)
    log.on_save(None, SimpleNamespace(global_step=9, is_world_process_zero=False), None)
    assert drawn == ["loss.png"] * 2

    def without(rows, path):
        raise ImportError("no matplotlib")

    monkeypatch.setattr(report, "draw_curve", without)
    for step in (5, 6):
        log.on_save(None, state(step), None)
    assert log.notes == ["no matplotlib"]  # once


def test_lines_of_evaluations_are_no_losses_of_the_curve(tmp_path):
    draw_curve([{"step": 1, "eval_loss": 1.0}, {"step": 1, "loss": 2.0}], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    draw_curve([], tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


# --- answers ---


def sample(prompt, answer, more=(), side="", **extra):
    ids = torch.arange(1, 1 + prompt + answer + len(more))
    labels = ids.clone()
    labels[:prompt] = -100
    labels[prompt + answer :] = -100
    return {f"{side}input_ids": ids, f"{side}labels": labels, **extra}


class Model:
    """Writes tokens 7, and says how it was asked."""

    dtype = torch.float32

    def __init__(self):
        self.asked, self.training = [], True

    def eval(self):
        self.training = False

    def generate(self, input_ids, **options):
        assert not self.training
        self.asked.append({**options, "input_ids": input_ids.tolist()})
        return torch.cat([input_ids, torch.full((1, 2), 7)], dim=1)


def test_questions_and_how_they_are_asked(tmp_path):
    pair = {**sample(3, 2, side="rejected_"), **sample(2, 1, side="chosen_")}
    pixels = torch.zeros(1, 3, 4, 4)
    samples = [None, sample(0, 4), pair, sample(2, 200, pixel_values=pixels), sample(2, 3, more=[1]), sample(1, 1)]
    processor = SimpleNamespace(decode=lambda ids, skip_special_tokens: "é" + ",".join(map(str, ids.tolist())))
    log = AnswerLog(tmp_path, processor, samples, 3)
    arguments = SimpleNamespace(bf16=False, fp16=False, device=torch.device("cpu"))
    model = Model()
    log.on_evaluate(arguments, state(4), None, model=model)
    assert [each["input_ids"] for each in model.asked] == [[[1, 2]], [[1, 2]], [[1, 2]]]
    assert [each["max_new_tokens"] for each in model.asked] == [2 * 1 + 16, LONGEST, 2 * 3 + 16] == [18, 256, 22]
    assert all(each["do_sample"] is False and each["attention_mask"].all() for each in model.asked)
    assert ["pixel_values" in each for each in model.asked] == [False, True, False]
    text = (tmp_path / ANSWER_FILE).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["step"], line["sample"]) for line in lines] == [(4, 2), (4, 3), (4, 4)] and "é" in text
    assert (lines[0]["prompt"], lines[0]["expected"], lines[0]["answer"]) == ("é1,2", "é3", "é7,7")
    log.on_evaluate(arguments, state(6), None, model=model)
    log.on_train_begin(None, state(4), None)
    kept = [json.loads(line)["step"] for line in (tmp_path / ANSWER_FILE).read_text(encoding="utf-8").splitlines()]
    assert kept == [4, 4, 4]
    assert answers_module.last_stretch(torch.tensor([True, False, True])) == (2, 3)


# --- the plan ---


def test_the_work_of_a_step():
    config = SimpleNamespace(vision_config=SimpleNamespace(image_size=(56, 56)), image_seq_length=4)
    model = SimpleNamespace(config=config)

    def work(chosen, batch, probes):
        return plan._work(chosen, model, batch, probes)[0]

    packed = options("internvl2.5-1b-stage2", packed_tokens=200, packed_tiles=9)
    assert work(packed, 3, [(50, 2)]) == Work(1, 600, 27, 56)
    assert work(options(), 3, [(50, 2), (40, 5)]) == Work(3, 50, 15, 56)
    assert work(options(MPO), 3, [(51, 2), (40, 5)]) == Work(3, 26, 15, 56, 2)
    assert work(options(max_length=100, max_tiles=6), 2, []) == Work(2, 100, 14, 56)  # with the thumbnail
    assert work(options(max_length=100, max_tiles=1), 2, []) == Work(2, 100, 2, 56)
    assert work(options(max_length=20, max_tiles=6), 2, []) == Work(2, 20, 10, 56)  # no more than have room


@pytest.mark.parametrize(
    "values, shard",
    [
        ({}, 0),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, 2),
        ({"deepspeed": {}}, 0),
        ({"deepspeed": {"train_batch_size": 8}}, 0),
        ({"deepspeed": {"zero_optimization": {"overlap_comm": True}}}, 0),
        ({"fsdp": "full_shard auto_wrap"}, 3),
        ({"fsdp": "shard_grad_op"}, 2),
        ({"fsdp": True}, 3),
    ],
)
def test_what_is_sharded(values, shard):
    assert plan._shard(values) == shard


def test_the_facts_of_a_plan():
    sets = [plan.SetPlan("a", 90, 1.0, 90), plan.SetPlan("b", 20, 0.5, 11)]
    values = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 5,
        "max_steps": -1,
        "num_train_epochs": 3,
    }
    facts = plan._facts(options(), values, 4, sets, [(10, 1), (20, 4)])
    assert facts["batch"] == "40 samples: 2 a device x 5 accumulated x 4 devices"
    assert facts["a step"] == "about 600 tokens, 100 tiles (by 2 samples)"
    assert (facts["epoch"], facts["run"]) == ("3 steps", "3 epochs, 9 steps")  # 101 / 40, begun ones count
    one = plan._facts(options(), {**values, "max_steps": 1, "num_train_epochs": 1}, 1, sets, [])
    assert (one["run"], one["epoch"]) == ("1 step, 0.09 epochs", "11 steps")
    assert one["a step"] == f"at most {10 * options().recipe.max_length:,} tokens"
    packed = options("internvl2.5-1b-stage2", packed_tokens=100, packed_tiles=10)
    facts = plan._facts(packed, {**values, "max_steps": 100}, 1, sets, [(10, 1), (20, 4)])
    assert facts["a step"] == "at most 1,000 tokens, 100 tiles"
    assert (facts["epoch"], facts["run"]) == ("about 3 steps", "100 steps, about 33.33 epochs")  # tiles bind: 101 / 4
    seen = plan._facts(packed, {**values, "max_steps": 100}, 1, sets, [])
    assert seen["run"] == "100 steps; how many packs make an epoch is seen on the way"


def test_the_memory_of_a_reference():
    parameters = [torch.nn.Parameter(torch.zeros(10)), torch.nn.Parameter(torch.zeros(5), requires_grad=False)]
    model = SimpleNamespace(parameters=lambda: iter(parameters))
    assert plan._reference_bytes(options(MPO), model) == 60
    assert plan._reference_bytes(options(MPO, lora_rank=2), model) == 0
    assert plan._reference_bytes(options(FULL), model) == 0


# --- counts ---


def test_counts_are_of_what_is_predicted():
    labels = torch.tensor([[5, 6, -100, 7], [-100, 1, 2, 3]])
    assert label_count([{"labels": labels}, {"labels": labels[:1]}]).item() == 5 + 2
    assert label_count([{"labels": labels, "shift_labels": labels}]).item() == 6
    weights = torch.tensor([[8.0, 1.0, 2.0], [16.0, 0.5, 0.25]])
    assert weight_of([{"loss_weight": weights}, {"loss_weight": weights[1:]}]).item() == 3.75 + 0.75
    assert weight_of([{"loss_weight": weights, "shift_labels": labels}]).item() == 27.75
    assert weight_of([{"loss_weight": weights.double()}]).dtype == torch.float32


# --- data and objectives ---


def test_pairs_of_rows():
    picture = Image.new("RGB", (4, 4), (9, 8, 7))
    rows = [
        {"image": picture, "caption": "a", "captions": ["b", "c"]},
        {"image": picture, "caption": "d"},
        {"image": picture, "captions": ["e", 7]},
        {"image": picture, "captions": []},
        {"image": None, "caption": "f"},
        {"image": "", "caption": "f"},
    ]
    policy = SkipPolicy(4)
    pairs = PairRows([DataSet("x", TableRows("x", rows[:1])), DataSet("y", TableRows("y", rows[1:]))], policy)
    assert [caption for *_, caption in pairs.pairs] == ["b", "c", "d"] and len(pairs) == 3
    assert [where for where, _ in policy.skipped] == [f"y, row {row}" for row in (1, 2, 3, 4)]
    assert pairs[2]["caption"] == "d" and pairs[2]["image"].getpixel((0, 0)) == (9, 8, 7)
    for change in ({"repeat": 2.0}, {"augment": True}):
        with pytest.raises(ValueError, match="Set 'y': pairs are neither repeated nor augmented"):
            PairRows([DataSet("x", TableRows("x", rows[:2])), DataSet("y", TableRows("y", rows), **change)], policy)
    with pytest.raises(ValueError, match="No pair of an image and a caption is left"):
        PairRows([DataSet("x", TableRows("x", rows[3:4]))], SkipPolicy(1))


def test_a_folder_of_tables_is_read_in_the_order_of_their_names(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    for name in ("c", "a", "b"):
        Dataset.from_dict({"image": [f"{name}.png"], "caption": [name]}).to_parquet(folder / f"{name}.parquet")
    (part,) = read_sets(folder, 5)
    assert [part.rows.fields(row)["caption"] for row in range(3)] == ["a", "b", "c"]
    assert (part.name, part.max_patches, part.rows.root) == ("tables", 5, str(folder))
    (alone,) = read_sets(folder / "b.parquet", root="https://host/part")
    assert (alone.rows.root, alone.max_patches, len(alone.rows)) == ("https://host/part", None, 1)


@pytest.mark.parametrize("part", ["packed_tokens", "part_learning_rates", "layer_decay"])
def test_what_an_objective_cannot_do(part):
    given = {"packed_tokens": 9, "packed_tiles": 9} if part == "packed_tokens" else {part: {"vision": 0.9}}
    assert objective_of(options("internvl2.5-1b-full", **given)).chats
    with pytest.raises(ValueError, match="cannot be packed" if part == "packed_tokens" else "all parts at one rate"):
        objective_of(options(MPO, **given))
    if part == "packed_tokens":
        with pytest.raises(ValueError, match="Objective 'contrastive' cannot be packed"):
            objective_of(options("internvl-14b-contrastive", **given))


@pytest.mark.parametrize("max_steps", [None, 7])
def test_options_reach_the_data(tmp_path, max_steps):
    path = tmp_path / "d.jsonl"
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    path.write_text((json.dumps({"conversations": turns}) + "\n") * 3)
    fields = {"data": str(path), "eval_data": str(path), "mixing": "root", "too_long": "truncate", "max_length": 77}
    fields |= {"on_bad_sample": "skip:2", "text_tokens": "regions", "max_tiles": 5, "max_steps": max_steps}
    processor = AutoProcessor.from_pretrained(nano_path())
    packed = {"packed_tokens": 300, "packed_tiles": 9, "loss_reduction": "sample"}
    chosen = options(FULL, **fields, **packed)
    data = objective_of(chosen).read(chosen, processor, 13)
    evaluated = objective_of(chosen).evaluates(chosen, processor, 13)
    for samples in (data.samples, evaluated):
        assert samples.mixture.identity() == {"sizes": [3], "repeats": [1.0], "mixing": "root", "seed": 13}
        encoder = samples.encoder
        assert (encoder.max_length, encoder.too_long, encoder.text_tokens) == (77, "truncate", "regions")
        assert samples.policy.limit == 2 and samples.sets[0].max_patches == 5
    assert data.samples.policy is not evaluated.policy
    assert data.stream.endless is (max_steps is not None) and data.stream.limits["max_tokens"] == 300
    pad = processor.tokenizer.pad_token_id
    assert data.collator == PackingCollator("sample", pad) and data.eval_collator == PaddingCollator(pad)
    rows = options(FULL, **fields, loss_reduction="square")
    plain = objective_of(rows).read(rows, processor, 13)
    assert plain.stream is plain.samples and plain.collator == PaddingCollator(pad, reduction="square")
    assert plain.eval_collator == PaddingCollator(pad)
