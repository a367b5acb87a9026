# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl convert` and `internvl verify`: what they print, and their exit codes."""

import json

import pytest
from safetensors.torch import load_file, save_file

from tests.parity.golden import golden_root
from transformers_internvl.cli import main

INTERNLM2 = str(golden_root() / "chat_internlm2")


def run(capsys, *arguments):
    code = main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def hf(tmp_path, capsys):
    code, out, err = run(capsys, "convert", INTERNLM2, tmp_path / "hf", "--to", "hf", "--max-shard-size", "200KB")
    assert (code, err) == (0, "") and out == f"written  {tmp_path / 'hf'}\n"
    return tmp_path / "hf"


def test_equal_checkpoints(hf, capsys):
    code, out, err = run(capsys, "verify", INTERNLM2, hf)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == [
        "language_model",
        "lm_head",
        "multi_modal_projector",
        "vision_tower",
    ]
    assert all(line.split()[3:] == ["0", "0"] for line in lines[2:6])
    assert lines[-2].startswith("outputs  they differ by 0;") and lines[-1] == "equal"


def test_where_they_part(hf, capsys):
    """A number, a dtype, settings, a template: each is named."""
    path = sorted(hf.glob("*.safetensors"))[0]
    weights = load_file(path)
    name = next(key for key in weights if weights[key].dim() == 2)
    weights[name][1, 2] += 0.5
    other = next(key for key in weights if weights[key].dim() == 1)
    weights[other] = weights[other].bfloat16()
    save_file(weights, path, metadata={"format": "pt"})
    config = json.loads((hf / "config.json").read_text())
    config["vision_config"]["layer_norm_eps"] = 0.5
    (hf / "config.json").write_text(json.dumps(config))
    settings = json.loads((hf / "generation_config.json").read_text())
    (hf / "generation_config.json").write_text(json.dumps({**settings, "bos_token_id": 7}))
    template = (hf / "chat_template.jinja").read_text()
    (hf / "chat_template.jinja").write_text("Hello " + template)
    code, out, _ = run(capsys, "verify", INTERNLM2, hf, "--all")
    assert code == 1
    assert "config.json: vision_config.layer_norm_eps is 1e-06, and 0.5" in out
    assert f"{name}: 1 of {weights[name].numel()} numbers differ, by 0.5 at most; the first at [1, 2]:" in out
    assert f"{other}: float32 and bfloat16" in out
    assert "generation_config.json: bos_token_id is 1, and 7" in out and "chat template: a prompt is" in out
    assert "differs  outputs: [1, " in out  # the prompts are of different lengths
    shown = run(capsys, "verify", INTERNLM2, hf, "--no-forward")
    assert shown[0] == 1 and "outputs" not in shown[1]
    assert out.splitlines()[-1] == f"different in {out.count('differs  ')} places"


def test_different_models(tmp_path, capsys):
    code, out, _ = run(capsys, "verify", INTERNLM2, golden_root() / "chat_qwen2_5", "--all")
    assert code == 1 and "the two are of different architectures" in out and "has none" in out
    assert "config.json: text_config.hidden_size is 48, and 42" in out


def test_errors_are_one_line(tmp_path, capsys):
    code, out, err = run(capsys, "convert", tmp_path / "nowhere", tmp_path / "out", "--to", "hf")
    assert code == 2 and out == "" and err.count("\n") == 1 and "internvl convert: cannot convert" in err
    code, out, err = run(capsys, "verify", tmp_path / "nowhere", INTERNLM2)
    assert code == 2 and out == "" and err.count("\n") == 1 and "internvl verify: cannot compare" in err
    with pytest.raises(SystemExit) as stop:
        main(["convert", INTERNLM2, str(tmp_path / "out"), "--to", "native"])
    assert stop.value.code == 2
