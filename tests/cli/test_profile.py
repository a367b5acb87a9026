# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl profile`: tables, JSON, and errors in one line."""

import json

import pytest

from tests.parity.golden import golden_root
from transformers_internvl import nano_path
from transformers_internvl.cli import main
from transformers_internvl.profiling import study
from transformers_internvl.profiling.study import PUBLISHED


def run(capsys, *arguments):
    code = main(["profile", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def cells(out):
    return {line.split("  ")[0]: line.split() for line in out.splitlines() if "  " in line}


def test_a_release_by_name(capsys):
    code, out, err = run(capsys, "InternVL3_5-30B-A3B", "--tiles", 13, "--text-length", 100)
    assert (code, err) == (0, "")
    head, work, blank, *table = out.splitlines()
    assert head == "InternVLChatModel: 30.85 B parameters" and not blank
    assert work == "one pass: 13 tiles of 448 x 448 px, 100 text tokens"
    rows = cells("\n".join(table))
    assert rows["vision tower"][2:4] == ["304,012,288", "1.0"]
    assert rows["total"][1:3] == ["30,848,730,112", "100.0"]
    assert table[-1] == "active per token: 3,669,640,192 (3.67 B)"
    assert len({len(line) for line in table[:-1] if not line.startswith("active")}) == 1  # columns stand in line


@pytest.mark.parametrize(
    "case, parts",
    [
        ("chat_qwen2", ["vision tower", "projector", "text embeddings", "language model", "lm head"]),
        ("intern_vit_6b", ["vision tower"]),
        ("internvl_14b", ["vision tower", "image pool", "queries", "QLLaMA body", "QLLaMA cross attention"]),
    ],
)
@pytest.mark.parametrize("file", ["", "config.json"])
def test_folders_and_files(case, parts, file, capsys):
    code, out, err = run(capsys, golden_root() / case / file)
    assert (code, err) == (0, "") and "M-MACs" in out
    assert set(parts) <= set(cells(out))


def test_the_canonical_layout(capsys):
    code, out, _ = run(capsys, nano_path())
    assert code == 0 and "lm head (tied)" in out


def test_json(capsys):
    code, out, _ = run(capsys, golden_root() / "internvl_14b", "--json", "--mode", "InternVL-C", "--image-size", 28)
    report = json.loads(out)
    assert code == 0 and report["model"] == "InternVLDualEncoderModel"
    asked = {"num_tiles": 1, "image_size": 28, "text_length": 80, "mode": "InternVL-C"}
    assert report["work"] == asked | {"compressed_tiles": None}
    for name, total in report["total"].items():
        assert total == sum(part[name] for part in report["parts"]) > 0


def test_the_study(capsys):
    code, out, err = run(capsys, "--study")
    assert (code, err) == (0, "")
    rows = [line for line in out.splitlines()[2:] if line[0].isdigit()]
    assert len(rows) == 16
    for (depth, head_dim, ratio), (variant, parameters, macs) in PUBLISHED.items():
        (row,) = [line for line in rows if line.endswith(f"variant {variant}: {parameters}M, {macs}G")]
        assert row.split()[:3] == [str(depth), str(head_dim), str(ratio)]


def test_the_study_as_json_at_another_budget(capsys, monkeypatch):
    monkeypatch.setattr(study, "DEPTHS", (32,))
    code, out, _ = run(capsys, "--study", "--json", "--budget", 30_000_000)
    candidates = json.loads(out)
    assert code == 0 and len(candidates) == 4 and "variant" not in candidates[0]
    assert {candidate["width"] % candidate["head_dim"] for candidate in candidates} == {0}


@pytest.mark.parametrize(
    "arguments, reason",
    [
        ([], "give the name of a model, or --study"),
        (["InternVL3-1B", "--study"], "and not both"),
        (["InternVL3-1B", "--budget", "5"], "--budget needs --study"),
        (["--study", "--budget", "5"], "cannot fit the candidates: 5 parameters are too few"),
        (["InternVL3-1B", "--image-size", "100"], "multiple of the patch size 14, got 100"),
        (["InternVL3-1B", "--mode", "C"], "`mode` must be one of"),
        (["{folder}"], "cannot read the config of"),
    ],
)
def test_mistakes_are_one_line(arguments, reason, tmp_path, capsys):
    code, out, err = run(capsys, *(argument.format(folder=tmp_path) for argument in arguments))
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith("internvl profile: ") and reason in err
