# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl train`: what is typed, what is shown, and that it works on two ranks."""

import json
import sys

import pytest

from internvl_cli.arguments import spell_out_fields
from tests import ranks
from tests.parity.golden import golden_root
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.cli import main
from transformers_internvl.profiling.released import released_config
from transformers_internvl.training.recipes import recipe_names
from transformers_internvl.training.run.report import RunReport, read_log


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


def options(assigned):
    return [word for name, value in assigned.items() for word in (f"--{name.replace('_', '-')}", str(value).lower())]


def train(capsys, *words):
    code = main(["train", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def typed(folder, data="chat.jsonl", **fields):
    own = short(folder, data, **fields)
    paths = {name: own.pop(name) for name in ("model", "data", "output")}
    return [word for name, path in paths.items() for word in (f"--{name}", path)] + options(own)


@pytest.mark.parametrize(
    "words, spelled",
    [
        ("R --learning-rate 1e-4 --resume", "R --set learning-rate=1e-4 --resume"),
        ("R --bf16 --no-tf32 --seed=3", "R --set bf16=true --set tf32=false --set seed=3"),
        ("R --max-steps -1 --data x", "R --set max-steps=-1 --data x"),
        ("--model=a R --set b=c --dry-run", "--model=a R --set b=c --dry-run"),
    ],
)
def test_any_option_is_a_field(words, spelled):
    assert spell_out_fields(words.split()) == spelled.split()


def test_the_list(capsys):
    code, out, _ = train(capsys, "--list")
    rows = [line.split()[0] for line in out.splitlines()[2:-2]]
    assert code == 0 and rows == recipe_names() and max(map(len, out.splitlines())) < 150
    assert "internvl2.5-8b-lora" in out and out.splitlines()[-1].startswith(f"{len(rows)} recipes.")


def test_a_dry_run_of_the_embedded_model(folder, capsys):
    words = typed(folder, "meta.json", max_steps=9, batch_size=6)
    code, out, err = train(capsys, "internvl2.5-1b-full", *words, "--ranks", 3, "--dry-run")
    assert (code, err) == (0, "") and not (folder / "out").exists()
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["projector"][1:] == ["129,600", "129,600", "4e-05"] and "frozen" in lines["vision"]
    assert lines["half"][1:] == ["12", "0.5", "6"] and lines["batch"][1] == "6"
    assert "1 a device x 2 accumulated x 3 devices" in out and "epoch       3 steps" in out
    assert "run         9 steps, 3.0 epochs" in out and "peak of a step" in out


def test_a_dry_run_of_a_large_model_needs_its_config_alone(folder, capsys):
    released_config("InternVL2_5-8B").save_pretrained(folder / "config")
    zero = folder / "zero.json"
    zero.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    words = ["internvl2.5-8b-stage2", "--model", folder / "config", "--data", folder / "chat.jsonl", "--ranks", 64]
    code, out, _ = train(capsys, *words, "--deepspeed", zero, "--dry-run")
    assert code == 0 and "8,075,365,376" in out and "at most 8,388,608 tokens, 24,576 tiles" in out
    (peak,) = [line.split() for line in out.splitlines() if line.startswith("peak of a step")]
    assert 10 < float(peak[-2]) < 80 < float(peak[-4])  # fits a device when activations are recomputed


def test_a_dry_run_of_experts(folder, capsys):
    model = golden_root() / "chat_qwen3_moe"
    words = ["internvl3.5-30b-sft", "--model", model, "--data", folder / "chat.jsonl", "--dry-run"]
    code, out, _ = train(capsys, *words, "--packed-tokens", 64, "--packed-tiles", 4)
    assert code == 0 and "peak of a step" in out


def test_a_dry_run_of_the_dual_encoder(folder, capsys):
    from tests.evaluation.dual_encoder import MODEL

    words = ["internvl-14b-contrastive", "--model", MODEL, "--data", folder / "pairs.jsonl", "--batch-size", 4]
    code, out, _ = train(capsys, *words, "--drop-path", 0, "--dry-run")
    assert code == 0 and "Memory is worked out for answers, preferences and ViCO of chat models only." in out
    assert "pairs       12" in out and "text " in out and "0.0001" in out


def test_a_run_says_little_and_how_to_merge(folder, capsys):
    code, out, err = train(capsys, "internvl2.5-1b-lora", *typed(folder))
    assert code == 0 and out == ""
    said = [line for line in err.replace("\r", "\n").splitlines() if "step/s" not in line and "s/step" not in line]
    assert said[0] == f"internvl2.5-1b-lora: 236,800 of 3,590,560 parameters train, to {folder / 'out'}"
    assert said[-7].startswith("2 steps, loss ") and said[-6] == "To merge the adapters into the model:"
    code = "\n".join(line.strip() for line in said[-5:]).replace("'merged'", repr(str(folder / "merged")))
    exec(compile(code, "what it says", "exec"), {})
    assert (folder / "merged" / "model.safetensors").is_file()


def test_after_control_c_it_says_how_to_go_on(folder, capsys, monkeypatch):
    def stop(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt

    words = ["internvl2.5-1b-lora", *typed(folder, max_steps=3, save_steps=1)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["internvl", "train", *words])
        patch.setattr(RunReport, "on_step_begin", stop)
        code, _, err = train(capsys, *words)
    said = err.strip().splitlines()[-2:]
    assert code == 130 and said[0] == f"Stopped at step 2. To continue from {folder / 'out' / 'checkpoint-2'}:"
    again = said[1].split()
    assert again[:2] == ["internvl", "train"] and again[-1] == "--resume"
    code, _, err = train(capsys, *again[2:])
    assert code == 0 and "continuing from" in err and [row["step"] for row in read_log(folder / "out")] == [1, 2, 3]


@pytest.mark.parametrize(
    "words, reason",
    [
        ([], "give a recipe's name"),
        (["internvl2.5-1b-lorra"], "Did you mean internvl2.5-1b-lora"),
        (["internvl2.5-1b-lora", "--data", "x"], "`model` must be given"),
        (["internvl2.5-1b-lora", "--learnin-rate", "1"], "no field 'learnin_rate'. Did you mean learning_rate"),
        (["internvl2.5-1b-lora", "--ranks", "2"], "--ranks needs --dry-run"),
        (["internvl2.5-1b-lora", "--set", "seed"], "--set takes NAME=VALUE"),
        (["none.yaml"], "none.yaml"),
        (["internvl2.5-1b-lora", "--model", str(nano_path()), "--data", "none.jsonl"], "none.jsonl does not exist"),
    ],
)
def test_mistakes_are_one_line(words, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = train(capsys, *words)
    assert code == 2 and out == "" and err.count("\n") == 1 and reason in err


def test_two_ranks_give_the_losses_of_one(folder, capsys, tmp_path):
    fields = {"learning_rate": 1e-3, "drop_path": 0, "batch_size": 4, "max_steps": 2}
    assert train(capsys, "internvl2.5-1b-full", *typed(folder, **fields))[0] == 0
    words = typed(folder, **{**fields, "output": str(folder / "two")})
    codes = ranks.run(2, tmp_path, "transformers_internvl.cli", "train", "internvl2.5-1b-full", *words)
    logs = [(tmp_path / f"log.{rank}.txt").read_text() for rank in range(2)]
    assert codes == [0, 0], logs
    assert "parameters train on 2 devices" in logs[0]
    one, two = read_log(folder / "out"), read_log(folder / "two")
    assert [row["tokens"] for row in two] == [row["tokens"] for row in one]
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)
