# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What an output folder holds, when a run may begin in it, go on, and go further; and that checkpoints are whole."""

import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.cli import main
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import RUN_FILE, prepare
from transformers_internvl.training.trainers.checkpoints import has_optimizer

LORA = "internvl2.5-1b-lora"


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


def run(assigned, resume=False, recipe=LORA):
    return prepare(read_options(recipe, assigned), resume)


def test_a_run_that_failed_before_its_first_step_leaves_its_folder_free(folder):
    path = folder / "chat.jsonl"
    right = path.read_text()
    path.write_text(right.replace("pictures/", "nowhere/"))
    with pytest.raises(ValueError, match=r"nowhere.*png"):
        run(short(folder)).train()
    assert (folder / "out" / RUN_FILE).is_file() and read_log(folder / "out") == []
    path.write_text(right)
    assert run(short(folder, learning_rate=1e-3)).train().steps == 2
    assert read_options(folder / "out" / RUN_FILE).recipe.learning_rate == 1e-3
    with pytest.raises(ValueError, match="holds another run"):
        run(short(folder))


@pytest.mark.parametrize("length", ["max_steps", "epochs"])
def test_a_run_that_has_ended_goes_further(length, folder):
    longer = {"max_steps": 4} if length == "max_steps" else {"epochs": 2, "max_steps": None, "batch_size": 6}
    shorter = {**longer, length: longer[length] // 2}
    common = short(folder, learning_rate=1e-3, warmup=0, drop_path=0)
    assert run({**common, **shorter}).train().steps == 2
    with pytest.raises(ValueError, match="--resume continues it. A run that has ended goes further with more"):
        run({**common, **longer})
    with pytest.raises(ValueError, match=f"holds another run .{length}: {shorter[length]} there, 0 now"):
        run({**common, **shorter, length: 0}, resume=True)
    result = run({**common, **longer}, resume=True).train()
    rows = read_log(folder / "out")
    assert result.steps == 4 and [row["step"] for row in rows] == [1, 2, 3, 4]
    # The rate follows the schedule of the longer run from there on: the step before is done at half of a cosine.
    expected = [1e-3 * (1 + math.cos(math.pi * done / 4)) / 2 for done in range(4)]
    assert [row["learning_rate"] for row in rows][2:] == pytest.approx(expected[2:], rel=1e-6)
    assert getattr(read_options(folder / "out" / RUN_FILE).recipe, length) == longer[length]
    assert run({**common, **longer}, resume=True).train().steps == 4  # nothing is left to do


def test_checkpoints_of_weights_alone_say_that_they_are(folder):
    fields = short(folder, max_steps=2, save_steps=1, save_only_model=True)
    run(fields).train()
    last = folder / "out" / "checkpoint-2"
    assert last.is_dir() and not has_optimizer(last)
    with pytest.raises(ValueError, match=f"{last} holds weights alone .*`--model {last}` with another output"):
        run({**fields, "max_steps": 4}, resume=True)
    again = run({**fields, "model": str(last), "output": str(folder / "on")})
    begun = {name: p.detach().clone() for name, p in again.model.named_parameters() if ".lora_" in name}
    saved = load_file(last / "adapter_model.safetensors")
    assert len(saved) == len(begun)
    for name, value in begun.items():
        torch.testing.assert_close(saved[name.replace(".default", "")], value)
    again.train()


def test_the_last_checkpoint_to_go_on_from_is_taken(folder):
    fields = short(folder, max_steps=1, save_steps=1)
    run(fields).train()
    run({**fields, "max_steps": 2, "save_only_model": True}, resume=True).train()
    assert run({**fields, "max_steps": 3}, resume=True).checkpoint == folder / "out" / "checkpoint-1"


def test_an_end_without_checkpoints_is_not_overwritten(folder):
    fields = short(folder, save_strategy="no")
    run(fields).train()
    with pytest.raises(ValueError, match="out holds the end of this run and no checkpoint, from which"):
        run({**fields, "max_steps": 4}, resume=True)


@pytest.mark.parametrize("recipe", [LORA, "internvl2.5-1b-full", "internvl2.5-8b-mpo"])
def test_checkpoints_can_be_asked(recipe, folder, capsys):
    data = "prefs.jsonl" if recipe.endswith("mpo") else "chat.jsonl"
    run(short(folder, data, max_steps=2, save_steps=1), recipe=recipe).train()
    for place in ("checkpoint-1", "checkpoint-2", "."):
        path = folder / "out" / place
        assert AutoProcessor.from_pretrained(path).chat_template
        AutoModelForImageTextToText.from_pretrained(path)
    words = ["chat", "What is drawn?", "--image", str(folder / "pictures/0.png"), "--max-new-tokens", "3"]
    assert main([*words, "--model", str(folder / "out" / "checkpoint-2")]) == 0
    assert capsys.readouterr().out.strip()


def test_the_card_of_an_adapter_has_content_and_its_snippet_runs(folder, monkeypatch):
    run(short(folder, max_steps=2, save_steps=1)).train()
    for place in (folder / "out" / "checkpoint-1", folder / "out"):
        card = (place / "README.md").read_text(encoding="utf-8")
        assert "More Information Needed" not in card and "An adapter" in card and "library_name: peft" in card
        assert str(nano_path()) in card and "lora" in card
    assert f"| recipe | {LORA} |" in card and "| steps | 2 |" in card and "| rank of the adapters | 16 |" in card
    code = card.split("```python\n")[1].split("```")[0].replace("max_new_tokens=32", "max_new_tokens=2")
    exec(compile(code, "README.md", "exec"), {})


def test_a_whole_model_has_a_card_too(folder):
    run(short(folder, max_steps=1), recipe="internvl2.5-1b-full").train()
    card = (folder / "out" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: image-text-to-text" in card and "| recipe | internvl2.5-1b-full |" in card


def test_what_a_dry_run_does_not_do(folder, capsys):
    words = ["train", LORA, "--model", str(nano_path()), "--data", str(folder / "chat.jsonl"), "--dry-run", "--resume"]
    assert main(words) == 2 and "--resume and --dry-run exclude each other" in capsys.readouterr().err


def test_names_of_the_original_code_on_the_command_line(folder, capsys):
    words = ["train", LORA, "--model", str(nano_path()), "--data", str(folder / "chat.jsonl")]
    assert main([*words, "--freeze_llm", "True"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "Did you mean `trains`" in err
    assert main([*words, "--report-to", "tensorbord"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "tensorbord is not supported" in err
