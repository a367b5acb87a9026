# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `prepare` makes of options, and in which order a run trains, evaluates and saves."""

import json
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText, PrinterCallback, ProgressCallback

from lab.nano.dual_encoder import SMALL, Settings, build_model, build_processor, build_tokenizer
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.data.pairs import ContrastiveCollator
from transformers_internvl.training.data.records import SkipPolicy
from transformers_internvl.training.run.answers import AnswerLog
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.run import RUN_FILE, SAVING, Run, fate_of_adapter, load_config, prepare

LORA, FULL, MPO = "internvl2.5-1b-lora", "internvl2.5-1b-full", "internvl2.5-1b-mpo"


@pytest.fixture
def folder(tmp_path):
    folder = write_data(tmp_path / "data")
    for name in ("chat", "pairs"):
        lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}-eval.jsonl").write_text("".join(lines[:3]))
    return folder


@pytest.fixture(scope="module")
def dual(tmp_path_factory):
    """A small dual encoder whose tiles have 28 pixels."""
    folder = tmp_path_factory.mktemp("dual")
    tokenizer = build_tokenizer(["a red dog", "a blue boat"])
    build_model(len(tokenizer), Settings(width=32, vision_layers=2, text_layers=2)).save_pretrained(folder)
    build_processor(tokenizer, SMALL).save_pretrained(folder)
    return folder


def with_evaluation(folder, data="chat", **fields):
    return short(folder, f"{data}.jsonl", eval_data=str(folder / f"{data}-eval.jsonl"), **fields)


def prepared(recipe, assigned):
    return prepare(read_options(recipe, assigned))


def callbacks(run, kind):
    return [one for one in run.trainer.callback_handler.callbacks if isinstance(one, kind)]


# --- prepare ---


def test_defaults_of_a_run_and_what_was_given_instead(folder):
    given = with_evaluation(folder, save_steps=7, data_seed=5, seed=9, max_tiles=3, disable_tqdm=True)
    given.pop("bf16")
    run = prepared(FULL, given)
    args = run.trainer.args
    assert (args.bf16, args.report_to, args.use_cpu, args.dataloader_pin_memory) == (True, [], True, False)
    assert (args.eval_strategy, args.eval_steps, args.per_device_eval_batch_size) == ("steps", 7, 1)
    assert run.data.samples.mixture.identity()["seed"] == run.trainer.eval_dataset.mixture.identity()["seed"] == 5
    assert run.trainer.train_dataset is run.data.stream and run.trainer.data_collator is run.data.collator
    assert run.trainer.given_eval_collator is run.data.eval_collator
    assert run.trainer.given_eval_collator == PaddingCollator(run.data.collator.pad_token_id)
    assert run.trainer.saved_beside is run.processor and run.checkpoint is None
    assert run.model.dtype == torch.float32 and run.model.config.vision_config.drop_path_rate == 0.1
    assert run.processor.image_processor.max_patches == 3
    assert not callbacks(run, (ProgressCallback, PrinterCallback)) and callbacks(run, type(run.report)) == [run.report]
    assert not run.report.with_bar and not run.adapters and run.begins_with_adapter == ""
    (answers,) = callbacks(run, AnswerLog)
    assert answers.folder == run.folder == folder / "out" and answers.processor is run.processor

    given = {"bf16": False, "eval_strategy": "epoch", "per_device_eval_batch_size": 3}
    args = prepared(FULL, {**with_evaluation(folder, **given), "eval_answers": 0}).trainer.args
    assert (args.bf16, args.eval_strategy) == (False, "epoch")
    assert args.per_device_eval_batch_size == 3


@pytest.mark.parametrize(
    "fields, evaluated, asked",
    [({}, False, False), ({"eval_answers": 0}, True, False), ({"eval_answers": 2}, True, True)],
)
def test_answers_are_asked_for_where_there_is_something_to_ask(folder, fields, evaluated, asked):
    given = with_evaluation(folder, **fields) if evaluated else short(folder, **fields)
    run = prepared(LORA, given)
    assert bool(callbacks(run, AnswerLog)) == asked and (run.trainer.eval_dataset is not None) == evaluated
    assert run.trainer.args.eval_strategy == ("steps" if evaluated else "no")
    assert run.adapters and run.report.with_bar


@pytest.mark.parametrize(
    "rates", [{"layer_decay": {"vision": 0.9}}, {"part_learning_rates": {"projector": 1e-3}}, {}], ids=str
)
def test_rates_of_parts_and_depths_reach_the_trainer(folder, rates):
    trainer = prepared(FULL, short(folder, **rates)).trainer
    for name in ("layer_decay", "part_learning_rates"):
        assert (getattr(trainer, name) or {}) == rates.get(name, {})


def test_weights_are_kept_in_the_dtype_of_the_options(folder):
    given = short(folder)
    given.pop("bf16")
    assert prepared(LORA, given).model.dtype == torch.bfloat16
    assert prepared(LORA, {**given, "dtype": "float16"}).model.dtype == torch.float16
    assert prepared(FULL, given).model.dtype == torch.float32


def test_options_that_contradict_each_other_or_the_model_are_refused_before_anything_is_loaded(folder):
    with pytest.raises(ValueError, match="`loss_reduction` does nothing for objective 'mpo'"):
        prepared(MPO, short(folder, "prefs.jsonl", loss_reduction="square"))
    with pytest.raises(ValueError, match="`image_size` is 448, but the tiles of .* have 112 pixels"):
        prepared(FULL, short(folder, image_size=448))


def test_pairs_have_whole_batches_and_a_size_of_their_own(folder, dual):
    fields = {"model": str(dual), "image_size": 2 * SMALL, "drop_path": 0, "batch_size": 4}
    fields |= {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 3}
    run = prepared("internvl-14b-contrastive", with_evaluation(folder, "pairs", **fields))
    assert run.trainer.args.dataloader_drop_last and isinstance(run.trainer.data_collator, ContrastiveCollator)
    assert tuple(run.model.config.vision_config.image_size) == (2 * SMALL, 2 * SMALL)
    assert not callbacks(run, AnswerLog)
    size = run.processor.image_processor
    assert size.size["shortest_edge"] == 2 * SMALL
    assert dict(size.crop_size) == {"height": 2 * SMALL, "width": 2 * SMALL}
    inputs = run.trainer.data_collator([run.data.samples[index] for index in range(4)])
    assert inputs["pixel_values"].shape == (4, 3, 2 * SMALL, 2 * SMALL)
    for name, count in (("per_device_train_batch_size", 13), ("per_device_eval_batch_size", 4)):
        there, whole = (12, {"batch_size": count}) if "train" in name else (3, {})
        given = with_evaluation(folder, "pairs", **{**fields, name: count, **whole}, output=str(folder / name))
        with pytest.raises(ValueError, match=f"There are {there} samples, but a batch of {count} is compared"):
            prepared("internvl-14b-contrastive", given)


def test_an_adapter_names_its_model(folder, tmp_path):
    model = AutoModelForImageTextToText.from_pretrained(nano_path())
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    base = read_options(LORA, short(folder))
    lora = read_options(LORA, short(folder, model=str(tmp_path / "adapter")))
    full = read_options(FULL, short(folder, model=str(tmp_path / "adapter")))
    assert load_config(lora).to_dict() == load_config(base).to_dict()
    fates = [fate_of_adapter(one) for one in (base, lora, full)]
    assert fates == ["", "is trained on", "is merged into its model"]


# --- a run ---


class Trainer:
    """Keeps in mind what it is told to do. A logged loss is 0.5, one of an evaluation 0.25."""

    def __init__(self, evaluated=None, evaluates=False, saves=True, card=None, fails=None):
        self.args = SimpleNamespace(should_save=saves, dataloader_drop_last=False)
        self.eval_dataset, self.evaluates, self.card, self.fails = evaluated, evaluates, card, fails
        self.state = SimpleNamespace(global_step=4, log_history=[])
        self.model, self.done, self.callbacks = torch.nn.Linear(1, 1), [], []

    def add_callback(self, callback):
        self.callbacks.append(callback)

    def remove_callback(self, kind):
        self.done.append(f"without {kind.__name__}")

    def train(self, resume_from_checkpoint):
        self.done.append(("train", resume_from_checkpoint))
        self.model(torch.ones(1, 1))
        self.state.log_history += [{"step": 4, "loss": 0.5}]
        if self.evaluates:
            self.state.log_history += [{"step": 4, "eval_loss": 0.25}]
        if self.fails:
            raise self.fails

    def evaluate(self):
        self.done.append("evaluate")
        self.state.log_history += [{"step": 4, "eval_loss": 0.25}]

    def save_model(self, folder):
        self.done.append("save")
        path = type(nano_path())(folder)
        path.mkdir(exist_ok=self.args.should_save)
        (path / "config.json").write_text("{}")
        if self.card:
            (path / "README.md").write_text(self.card)

    def repository(self):
        return "me/mine"

    def get_total_train_batch_size(self, args):
        assert args is self.args
        return 6


def job(tmp_path, trainer, checkpoint=None):
    options = read_options(FULL, {"model": str(nano_path()), "data": "d.jsonl", "output": str(tmp_path / "out")})
    policy = SkipPolicy(3)
    policy.skipped.append(("a, line 1", "broken"))
    data = SimpleNamespace(samples=SimpleNamespace(policy=policy))
    return Run(options, AutoModelForImageTextToText.from_pretrained(nano_path()), None, data, trainer, checkpoint)


class Evaluated(list):
    policy = SkipPolicy(1)


@pytest.mark.parametrize("evaluates", [True, False])
def test_a_run_evaluates_at_its_end_once_and_says_what_was_left_out(tmp_path, evaluates):
    evaluated = Evaluated([1, 2])
    evaluated.policy = SkipPolicy(1)
    evaluated.policy.skipped.append(("b, line 2", "none"))
    trainer = Trainer(evaluated, evaluates)
    run = job(tmp_path, trainer, tmp_path / "checkpoint-2")
    assert trainer.done == ["without ProgressCallback", "without PrinterCallback"] and trainer.callbacks == [
        run.report
    ]
    result = run.train()
    assert trainer.done[2:] == [
        ("train", str(tmp_path / "checkpoint-2")),
        *([] if evaluates else ["evaluate"]),
        "save",
    ]
    assert (result.steps, result.loss, result.eval_loss, result.adapters) == (4, 0.5, 0.25, False)
    assert result.skipped == [("a, line 1", "broken"), ("b, line 2", "none")] and result.notes == run.report.notes
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", RUN_FILE]
    assert "| samples in a step | 6 |" in (out / "README.md").read_text()
    assert "from_pretrained(" in (out / "README.md").read_text() or "me/mine" in (out / "README.md").read_text()
    assert not run.trainer.model._forward_pre_hooks


def test_a_run_without_evaluation_keeps_the_card_that_was_saved(tmp_path):
    (tmp_path / "out" / SAVING).mkdir(parents=True)
    (tmp_path / "out" / SAVING / "of a run that was killed.safetensors").write_text("x")
    trainer = Trainer(card="# My card\n")
    result = job(tmp_path, trainer).train()
    assert trainer.done[2:] == [("train", None), "save"] and result.eval_loss is None
    assert result.skipped == [("a, line 1", "broken")]
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", RUN_FILE]
    assert (out / "README.md").read_text().startswith("# My card\n\n## Training\n")


def test_ranks_that_do_not_save_write_nothing(tmp_path):
    trainer = Trainer(saves=False)
    (tmp_path / "out" / SAVING).parent.mkdir()
    job(tmp_path, trainer).train()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [SAVING]  # what its own `save_model` made


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken")], ids=["stopped", "failed"])
def test_what_is_unfinished_goes_when_a_run_ends_early(tmp_path, error):
    (tmp_path / "out" / "checkpoint-3").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-2").mkdir()
    (tmp_path / "out" / "checkpoint-2" / "trainer_state.json").write_text(json.dumps({}))
    run = job(tmp_path, Trainer(fails=error))
    with pytest.raises(type(error)):
        run.train()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint-2", RUN_FILE]
    assert not run.trainer.model._forward_pre_hooks


def test_a_full_disk_at_the_end_is_one_sentence(tmp_path):
    trainer = Trainer()

    def full(folder):
        raise RuntimeError("[enforce fail at inline_container.cc:600] . unexpected pos 704 vs 650")

    trainer.save_model = full
    with pytest.raises(OSError, match=r"\.saving cannot be written .*make room, and resume"):
        job(tmp_path, trainer).train()
