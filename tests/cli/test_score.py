# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl score`: the file it writes, its summary, and errors in one line."""

import json
import shutil

import pytest
from PIL import Image
from transformers import AutoProcessor

from internvl_cli.arguments import STEP_MODES
from tests.parity.golden import golden_root
from transformers_internvl import InternVLRewardModel
from transformers_internvl.cli import main
from transformers_internvl.evaluation.step_scores import MODES
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.text.solution_steps import PRM_SYSTEM_PROMPT

MODEL = golden_root() / "visual_prm"
LINES = [
    {"id": 7, "question": "Sum?", "image": "1.png", "responses": ["a\n\nb", "c"]},
    {"question": "<image> or <image>?", "images": ["1.png", "1.png"], "response": "d\n\ne\n\nf"},
    {"question": "求和", "responses": ["a", "b", "c"]},
]


def test_the_modes_are_those_of_the_scorer():
    assert STEP_MODES == MODES


def write(folder, lines):
    Image.linear_gradient("L").resize((120, 60)).convert("RGB").save(folder / "1.png")
    path = folder / "solutions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(capsys, *arguments):
    code = main(["score", "--model", str(MODEL), *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_file_holds_the_models_scores(tmp_path, capsys):
    path = write(tmp_path, LINES)
    code, out, err = run(capsys, path, "--system-message", "prm", "--max-steps", 2)
    assert (code, err) == (0, "")
    written = [json.loads(line) for line in (tmp_path / "solutions.scores.jsonl").read_text().splitlines()]
    model, processor = InternVLRewardModel.from_pretrained(MODEL).eval(), AutoProcessor.from_pretrained(MODEL)
    model.system_message = PRM_SYSTEM_PROMPT
    means = []
    for line, found in zip(LINES, written, strict=True):
        assert {key: found[key] for key in line} == line
        images = [str(tmp_path / name) for name in line.get("images", [line["image"]] if "image" in line else [])]
        responses = line.get("responses", [line.get("response")])
        scores = model.score_steps(line["question"], images, responses, processor=processor, max_steps=2)
        assert [one["overall"] for one in found["scores"]] == pytest.approx([one.overall for one in scores], abs=1e-5)
        assert [[step["step"] for step in one["steps"]] for one in found["scores"]] == [list(s.steps) for s in scores]
        overall = [one["overall"] for one in found["scores"]]
        assert [overall[place] for place in found["ranking"]] == sorted(overall, reverse=True)
        means += overall
    assert f"{sum(means) / 6:.4f}" in out and "solutions.scores.jsonl" in out


@pytest.mark.parametrize(
    "line, reason",
    [
        ({"responses": ["a"]}, 'line 2: expected an object with "question"'),
        ({"question": "Q"}, '"responses" must be a list'),
        ({"question": "Q", "responses": [1]}, '"responses" must be a list'),
        ({"question": "Q", "responses": ["a"], "response": "a"}, "exclude each other"),
        ({"question": "Q", "responses": ["a"], "image": "2.png"}, "2.png does not exist"),
        ({"question": "Q", "responses": ["a"], "images": "1.png"}, "list of paths"),
        ({"question": "Q", "responses": ["a"], "scores": []}, 'has "scores" already'),
        ({"question": "Q <image><image>", "responses": ["a"], "image": "1.png"}, "line 2: There are 1 images"),
    ],
)
def test_wrong_lines_write_nothing(line, reason, tmp_path, capsys):
    path = write(tmp_path, [{"question": "Q", "responses": ["a"]}, line])
    code, _, err = run(capsys, path)
    assert code == 2 and reason in err and len(err.splitlines()) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.png", "solutions.jsonl"]


def test_the_template_is_the_models_or_named(tmp_path, capsys):
    path = write(tmp_path, [{"question": "Q", "responses": ["a"], "image": "1.png"}])
    assert main(["score", str(path)]) == 0  # the embedded model
    other = shutil.copytree(nano_path(), tmp_path / "other")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text() + "{#- changed -#}")
    named = ["--model", str(other), "--output", str(tmp_path / "named.jsonl")]
    assert main(["score", str(path), *named]) == 2
    assert "name one by `template`" in capsys.readouterr().err
    assert main(["score", str(path), *named, "--template", "internvl_hf"]) == 0
    (line,) = (tmp_path / "solutions.scores.jsonl").read_text().splitlines()
    assert 0 < json.loads(line)["scores"][0]["overall"] < 1
    assert json.loads(line)["scores"] == json.loads((tmp_path / "named.jsonl").read_text())["scores"]


def test_wrong_files(tmp_path, capsys):
    path = write(tmp_path, [{"question": "Q", "responses": ["a"]}])
    for arguments, reason in (
        ((tmp_path / "none.jsonl",), "Cannot read"),
        ((path, "--output", path), "is the input"),
        ((path, "--template", "internvl9"), "`template` is one of"),
        ((path, "--output", tmp_path / "no" / "scores.jsonl"), "does not exist"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2 and reason in err and len(err.splitlines()) == 1
    path.write_text("")
    assert "holds nothing" in run(capsys, path)[2]
