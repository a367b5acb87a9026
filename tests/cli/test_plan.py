# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl plan`: the table, JSON, what would do instead, and errors in one line."""

import json

import pytest

from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.cli.plan import stretches

SMALL = ["--tiles", 1, "--context", 300, "--new-tokens", 4]


def run(capsys, *arguments):
    code = main(["plan", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_release_by_name(capsys):
    code, out, err = run(capsys, "InternVL3-8B", "--gpus", "1x24GB", "--images", 2)
    assert (code, err) == (0, "")
    head, blank, columns, rule, row, blank, verdict = out.splitlines()
    assert head == "InternVL3-8B, bfloat16; 1 x (2 images of 12 tiles, 8192 positions, 512 new); sizes in GB"
    assert row.startswith("gpu 0: vision_tower, multi_modal_projector, language_model, lm_head ")
    weights, cache, activations, needed, room = map(float, row.split()[-5:])
    assert (weights, cache, room) == (15.9, 0.5, 24.0) and verdict == "It fits."
    assert needed == pytest.approx(weights + cache + activations, abs=0.15)


def test_what_would_do(capsys):
    code, out, err = run(capsys, "InternVL3-8B", "--gpus", "16GB")
    assert (code, err) == (1, "")
    assert "16.0 !" in out and "It does not fit. One of these would do: --dtype int8, --gpus 2x16GB, --cpu " in out


def test_json_has_the_map(capsys):
    folder = golden_root() / "chat_internlm2"
    code, out, err = run(capsys, folder, "--gpus", "2x2MB", *SMALL, "--dtype", "float32", "--json")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["fits"] and set(result["device_map"].values()) == {0, 1}
    for share in result["shares"]:
        need = share["needs"]
        assert need["total"] == need["weights"] + need["cache"] + need["activations"] <= share["capacity"]


def test_mixed_gpus_main_memory_and_disk(capsys):
    folder = golden_root() / "chat_internlm2"
    code, out, _ = run(capsys, folder, "--gpus", "1x2MB,2x1MB", "--cpu", "1MB", "--disk", "1GB", *SMALL)
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[4:9]] == ["gpu 0", "gpu 1", "gpu 2", "cpu", "disk"]


def test_this_machine_is_the_default(capsys):
    code, out, err = run(capsys, golden_root() / "chat_internlm2", *SMALL)
    assert (code, err) == (0, "") and "It fits." in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--gpus", "4x"], "--gpus must be like 4x80GB or 2x80GB,1x24GB, got '4x'"),
        (["--gpus", "0x80GB"], "--gpus must be like 4x80GB"),
        (["--cpu", "much"], "much"),
        (["--disk", "1GB"], "which can compute; got ['disk']"),
        (["--gpus", "80GB", "--images", 500], "image tokens, which a context of 300 does not hold"),
    ],
)
def test_errors_are_one_line(arguments, error, capsys):
    code, out, err = run(capsys, golden_root() / "chat_internlm2", *SMALL, *arguments)
    assert (code, out) == (2, "") and error in err and err.count("\n") == 1
    assert err.startswith("internvl plan: cannot plan ")


def test_other_models_are_refused(capsys):
    code, _, err = run(capsys, golden_root() / "intern_vit_6b")
    assert code == 2 and "planned for chat models" in err


def test_layers_in_few_words():
    names = [
        "model.tower.layer.0",
        "model.tower.layer.1",
        "model.text.embed",
        *(f"model.text.layers.{i}" for i in range(5)),
    ]
    names.append("lm_head")
    assert stretches(names, names) == "tower, text, lm_head"
    assert stretches(names[:5], names) == "tower, text.embed, text.layers 0–1"
    assert stretches(names[7:], names) == "text.layers 4, lm_head"
