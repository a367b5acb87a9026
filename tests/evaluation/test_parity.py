# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl parity`: code beside a checkpoint runs in a Python of its own, and where it differs is found.

The code here is a stand-in of a few lines. The original code is not part of this repository.
"""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from internvl_cli import main
from tests.parity.golden import golden_cases
from transformers_internvl.evaluation.parity import compare, draw_cases, make_environment, report, requirements
from transformers_internvl.evaluation.parity.original import card_function

# Differs from our model in what the projector returns; returns new ids alone, as the original code does.
CODE = """
from transformers import AutoModel
from transformers_internvl.internvl_chat import InternVLChatModel
from transformers_internvl.modeling.original.configuration_chat import InternVLChatConfig

class StandInConfig(InternVLChatConfig):
    pass

class StandInModel(InternVLChatModel):
    config_class = StandInConfig

    def extract_feature(self, pixel_values):
        return super().extract_feature(pixel_values) * 1.5

    def generate(self, **options):
        return super().generate(**options)[:, options["input_ids"].shape[1]:]

AutoModel.register(StandInConfig, StandInModel)
"""


@pytest.fixture
def checkpoint(tmp_path):
    (source,) = [path for path in golden_cases("chat_") if path.name == "chat_qwen2"]
    folder = tmp_path / "checkpoint"
    shutil.copytree(source, folder)
    (folder / "README.md").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "configuration_standin.StandInConfig"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "configuration_standin.py").write_text(CODE)
    return folder


def test_nothing_runs_without_leave(checkpoint, capsys):
    (checkpoint / "configuration_standin.py").write_text("raise SystemExit('it ran')")
    assert main(["parity", str(checkpoint)]) == 2
    assert "runs the Python code of" in capsys.readouterr().err


def test_a_difference_is_found_where_it_is(checkpoint, capsys):
    line = ["parity", str(checkpoint), "--run-remote-code", "--python", sys.executable, "--max-new-tokens", "4"]
    assert main(line) == 1
    page = capsys.readouterr().out
    cells = [row.strip("| ").split(" | ") for row in page.splitlines() if "of 4" in row]
    rows = {row[0]: row for row in cells}
    assert [row[-1] for row in rows.values()] == ["yes", "**no**", "**no**", "**no**"]
    assert all("equal" in row[2] for row in rows.values())  # prompts
    assert rows["text"][5] == "4 of 4"
    assert float(rows["wide"][3].split()[0]) > 0.1 and float(rows["text"][4].split()[0]) < 1e-3
    assert "not compared: README.md of the checkpoint has no `load_image`" in page


def test_what_fails_is_said(checkpoint, capsys):
    line = ["parity", str(checkpoint), "--run-remote-code", "--python"]
    assert main([*line, "/nowhere/python"]) == 2
    assert "/nowhere/python" in capsys.readouterr().err
    assert main([*line, shutil.which("false")]) == 2
    assert "fails under" in capsys.readouterr().err


CARD = """
# Model
```python
print("no function here")
```
```python
import a_library_that_nobody_has
import numpy as np
MEAN = (0.5, 0.25)
raise SystemExit("the example itself is not run")
def half(x):
    return np.array(x) * MEAN[0]
def load_image(path, input_size=448, max_num=12):
    return half(input_size), max_num
model = load_model()
```
"""


def test_functions_of_a_model_card(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    load_image = card_function(tmp_path / "README.md", "load_image")
    assert load_image("x", input_size=56, max_num=6) == (28, 6)
    assert card_function(tmp_path / "README.md", "load_video") is None
    assert card_function(tmp_path / "nothing.md", "load_image") is None


def test_every_kind_of_difference(tmp_path):
    case = draw_cases(tmp_path)[1:2]
    names = {"pixels": (2, 3), "prompt": (4,), "features": (2, 5), "logits": (4, 7), "new": (3,)}
    original = {f"0.{name}": np.ones(shape, np.float32) for name, shape in names.items()}

    def row(name, value):
        ours = {**original, f"0.{name}": value}
        return compare(case, original, ours, {"0.pixels": ours["0.pixels"]}, dtype="float32")[0]

    assert row("prompt", original["0.prompt"]).equal
    assert row("features", np.full((2, 5), 1 + 2e-5, np.float32)).equal
    assert not row("features", np.full((2, 5), 1.01, np.float32)).equal
    assert not row("pixels", np.full((2, 3), 1.01, np.float32)).equal
    assert row("pixels", np.ones((3, 3), np.float32)).pixels == float("inf")
    assert not row("prompt", np.array([1, 1, 2, 1])).prompt
    found = row("new", np.array([1, 2, 1]))
    assert (found.same, found.new, found.equal) == (1, 3, False)
    assert (row("new", np.array([1, 1, 1, 1])).same, row("new", np.array([1, 1, 1, 1])).new) == (3, 4)
    page = report("m", {"machine": "x"}, [replace(found, pixels=float("inf"))])
    assert "| one tile | other shape | 4 equal | 0 (1) | 0 (1) | 1 of 3 | **no** |" in page


def test_what_a_checkpoint_asks_for(tmp_path):
    def asks(config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return requirements(tmp_path)[0]

    assert asks({}) == "transformers==4.37.2"
    assert asks({"transformers_version": None, "llm_config": {"transformers_version": "4.55.0"}}) == (
        "transformers==4.55.0"
    )
    assert asks({"transformers_version": "4.52.0.dev0"}) == "transformers==4.52.0"
    with pytest.raises(ValueError, match="--python"):
        asks({"transformers_version": "; rm"})


def test_what_pip_cannot_install_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ValueError, match="pip cannot install transformers==0.0.0 .* give it with --python"):
        make_environment(["transformers==0.0.0"], tmp_path)
