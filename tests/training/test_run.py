# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs from beginning to end on the embedded model: every objective, every kind of data, stopping and going on."""

import json
import sys

import pytest
import torch
from datasets import Dataset, Image
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoModelForPreTraining, AutoProcessor

from lab.nano.dual_encoder import SMALL, Settings, build_model, build_processor, build_tokenizer
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.training.run.data import read_sets
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.report import RunReport, read_log, smoothed, smoothing
from transformers_internvl.training.run.run import RUN_FILE, discard_unfinished, prepare

LORA = "internvl2.5-1b-lora"


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


def run(recipe, assigned, resume=False):
    return prepare(read_options(recipe, assigned), resume)


def test_adapters_are_trained_logged_drawn_and_saved(folder):
    result = run(LORA, short(folder, "meta.json", max_steps=12, learning_rate=4e-3)).train()
    out = folder / "out"
    rows = read_log(out)
    assert (result.steps, result.adapters, result.skipped, result.notes) == (12, True, [], [])
    assert [row["step"] for row in rows] == [*range(1, 13)] and rows[-1]["loss"] == result.loss
    assert list(rows[0])[:7] == ["step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "tiles"]
    assert rows[0]["tiles"] == 2 and 60 < rows[0]["tokens"] < 120 and rows[0]["tokens_per_second"] > 0
    assert sum(row["loss"] for row in rows[-4:]) < 0.7 * sum(row["loss"] for row in rows[:4])
    assert (out / "loss.png").stat().st_size > 5000
    assert read_options(out / RUN_FILE).recipe.learning_rate == 4e-3
    base = AutoModelForImageTextToText.from_pretrained(nano_path())
    merged = PeftModel.from_pretrained(base, out).merge_and_unload()
    assert AutoProcessor.from_pretrained(out).tokenizer.vocab_size and merged.config.image_token_id
    assert not (out / ".saving").exists()


def test_packs_train_everything_and_an_epoch_is_all_samples(folder):
    assigned = short(folder, epochs=1, packed_tokens=200, packed_tiles=8, batch_size=1)
    assigned.pop("max_steps")
    run("internvl2.5-1b-stage2", assigned).train()
    rows = read_log(folder / "out")
    assert sum(row["tiles"] for row in rows) == 12 and max(row["tokens"] for row in rows) <= 200
    saved = AutoModelForImageTextToText.from_pretrained(folder / "out")
    assert saved.config.vision_config.drop_path_rate == 0.1


def test_preferences(folder):
    result = run("internvl2.5-8b-mpo", short(folder, "prefs.jsonl", lora_rank=2)).train()
    (first, _) = read_log(folder / "out")
    assert result.steps == 2 and {"rewards/margins", "loss/preference"} <= first.keys()


def test_a_table_of_datasets(folder):
    rows = [json.loads(line) for line in (folder / "chat.jsonl").read_text().splitlines()]
    table = Dataset.from_dict(
        {
            "messages": [
                [
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is drawn?"}]},
                    {"role": "assistant", "content": [{"type": "text", "text": row["conversations"][1]["value"]}]},
                ]
                for row in rows
            ],
            "images": [[str(folder / row["image"])] for row in rows],
        }
    ).cast_column("images", [Image()])
    table.save_to_disk(folder / "table")
    table.to_parquet(folder / "rows.parquet")
    losses = []
    for name in ("table", "rows.parquet"):
        losses.append(run(LORA, short(folder, name, output=str(folder / f"out-{name}"), max_steps=1)).train().loss)
    assert losses[0] == losses[1] > 0


@pytest.mark.parametrize("stage", ["contrastive", "generative"])
def test_the_dual_encoder(stage, folder):
    captions = [json.loads(line)["caption"] for line in (folder / "pairs.jsonl").read_text().splitlines()]
    tokenizer = build_tokenizer(captions)
    model = build_model(len(tokenizer), Settings(width=32, vision_layers=2, text_layers=2))
    model.save_pretrained(folder / "dual")
    build_processor(tokenizer, SMALL).save_pretrained(folder / "dual")
    assigned = short(folder, "pairs.jsonl", model=str(folder / "dual"), image_size=SMALL, drop_path=0, batch_size=4)
    assigned["per_device_train_batch_size"] = 4
    result = run(f"internvl-14b-{stage}", assigned).train()
    rows = read_log(folder / "out")
    assert result.steps == 2 and rows[0]["tiles"] == 4 and 0 < rows[0]["loss"] < 100
    after = AutoModelForPreTraining.from_pretrained(folder / "out")
    changed = {name for name, value in after.named_parameters() if not torch.equal(value, model.get_parameter(name))}
    assert ("query_tokens" in changed) == (stage == "generative")
    assert any(name.startswith("vision_model.") for name in changed) == (stage == "contrastive")


class _Stop(RunReport):
    """Ctrl-C in the third step, and a checkpoint that was not written to its end."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 3:
            (self.folder / "checkpoint-3").mkdir()
            (self.folder / ".saving").mkdir()
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_to_the_same_end(folder, monkeypatch):
    packed = {"packed_tokens": 120, "packed_tiles": 8, "drop_path": 0.3}
    fields = short(folder, max_steps=5, save_steps=2, batch_size=1, **packed)
    whole = run("internvl2.5-1b-stage2", {**fields, "output": str(folder / "whole")}).train()
    with monkeypatch.context() as patch:
        patch.setattr("transformers_internvl.training.run.run.RunReport", _Stop)
        with pytest.raises(KeyboardInterrupt):
            run("internvl2.5-1b-stage2", fields).train()
    out = folder / "out"
    assert [row["step"] for row in read_log(out)] == [1, 2, 3]
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint-2", "log.jsonl", "loss.png", RUN_FILE]
    with pytest.raises(ValueError, match="holds this run, which reached step 2: --resume continues"):
        run("internvl2.5-1b-stage2", fields)
    with pytest.raises(ValueError, match="holds another run .learning_rate: 4e-05 there, 0.001 now"):
        run("internvl2.5-1b-stage2", {**fields, "learning_rate": 1e-3}, resume=True)
    resumed = run("internvl2.5-1b-stage2", {**fields, "save_total_limit": 9}, resume=True).train()
    assert (resumed.steps, resumed.loss) == (whole.steps, whole.loss)
    timeless = [[{**row, "tokens_per_second": 0} for row in read_log(folder / name)] for name in ("whole", "out")]
    assert timeless[0] == timeless[1]
    ends = [load_file(folder / name / "model.safetensors") for name in ("whole", "out")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_checkpoints_of_others_are_left_alone(folder):
    strange = folder / "out" / "checkpoint-4"
    strange.mkdir(parents=True)
    (strange / "trainer_state.json").write_text("{}")
    with pytest.raises(ValueError, match="not made by this command"):
        run(LORA, short(folder))
    discard_unfinished(folder / "out")
    assert strange.is_dir()


def test_samples_that_cannot_be_used(folder):
    path = folder / "chat.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("pictures/3.png", "pictures/none.png")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"chat\.jsonl, line 4: .*none\.png"):
        run(LORA, short(folder, max_steps=6)).train()
    fields = short(folder, max_steps=6, on_bad_sample="skip:1", output=str(folder / "other"))
    ((where, reason),) = run(LORA, fields).train().skipped
    assert where.endswith("chat.jsonl, line 4") and "none.png" in reason


@pytest.mark.parametrize(
    "recipe, data, fields, reason",
    [
        ("internvl-14b-retrieval-coco", "pairs.jsonl", {}, "Objective 'retrieval' .* cannot be run"),
        ("internvl2.5-8b-mpo", "prefs.jsonl", {"layer_decay": {"vision": 0.9}}, "trains all parts at one rate"),
        ("internvl2.5-8b-mpo", "prefs.jsonl", {"packed_tokens": 9, "packed_tiles": 9}, "cannot be packed"),
        (LORA, "none.jsonl", {}, "none.jsonl does not exist"),
        (LORA, "pictures", {}, "pictures is no data"),
        (LORA, "empty.jsonl", {}, "empty.jsonl holds no rows"),
    ],
)
def test_what_cannot_be_run_says_why(recipe, data, fields, reason, folder):
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=reason):
        run(recipe, short(folder, data, **fields))
    assert not (folder / "out").exists()


def test_sets_take_the_limit_of_the_recipe_where_they_have_none(folder):
    meta = json.loads((folder / "meta.json").read_text())
    meta["half"]["max_dynamic_patch"] = 2
    (folder / "meta.json").write_text(json.dumps(meta))
    assert [part.max_patches for part in read_sets(folder / "meta.json", 6)] == [6, 2]


def test_the_smooth_curve_has_no_bias_towards_its_beginning():
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0] * 3)
    assert smoothed([1.0, 0.0], weight=0.5) == pytest.approx([1.0, 1 / 3])


def test_the_smooth_curve_of_a_short_run_does_not_lag():
    assert [smoothing(count) for count in (1, 10, 20, 100, 9000)] == pytest.approx([0, 0, 0.5, 0.9, 0.9])
    falling = [9.0, 5.0, 2.0]
    assert smoothed(falling, smoothing(3)) == falling


def test_without_matplotlib_a_sentence_says_so(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run(LORA, short(folder, max_steps=1)).train()
    assert result.notes == ["No loss.png was drawn: pip install matplotlib (extra `train`)."]
    assert not (folder / "out" / "loss.png").exists()
