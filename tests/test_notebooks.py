# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The notebooks run, shortened where they train; `python -m tests.test_notebooks` runs all of each in a fresh kernel.

`lora.ipynb` runs in a kernel here, too, the others cell by cell in this process, `fine_tune.ipynb` up to the server.
What is stored in them is of a whole run: what was trained has learned its task by the end, and the others print now
what they printed then.
"""

import contextlib
import io
import re
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import nbformat
import pytest
from matplotlib import pyplot
from nbclient import NotebookClient
from transformers.utils import logging

from transformers_internvl.cli import main

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "lora.ipynb"
ACCURACY = re.compile(r"Right (.+?): \d+ of 64, accuracy ([\d.]+)")
LOSSES = re.compile(r"Losses ([\d.]+) ([\d.]+)")
SHORTER = {"max_steps=400": "max_steps=40", '"training", 480': '"training", 80'}
OTHERS = ("inference", "looking", "retrieval")
FEWER = {
    '"--max-steps", "200"': '"--max-steps", "3"',
    '"--logging-steps", "10"': '"--logging-steps", "1"',
    '"training", 400': '"training", 24',
    '"held-out", 50': '"held-out", 5',
}
SCORES = re.compile(r"Score (\w+): ([\d.]+) of (\d+) answers")
NUMBER = re.compile(r"\d+\.\d+")
DIFFERENCE = re.compile(r"merged and adapted: ([\d.e+-]+)")


def read(name="lora"):
    return nbformat.read(NOTEBOOK.with_stem(name), as_version=4)


def outputs(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook) -> str:
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def fresh(notebook, folder: Path, shorter: dict[str, str]):
    """The notebook after a run in a kernel of its own, with some of its text replaced."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for old in shorter:
        assert sum(cell.source.count(old) for cell in cells) == 1, old
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            for old, new in shorter.items():
                cell.source = cell.source.replace(old, new)
    copy.cells.append(nbformat.v4.new_code_cell("print('Losses', history[0][1], history[-1][1])"))
    (folder / "lab").symlink_to(NOTEBOOK.parent.parent / "lab")  # as in the repository
    folder = folder / "notebooks"
    folder.mkdir()
    NotebookClient(copy, timeout=900, kernel_name="python3").execute(cwd=str(folder))
    assert (folder / "adapter" / "adapter_config.json").is_file() and (folder / "merged" / "config.json").is_file()
    return copy


def is_complaint(output) -> bool:
    """An error or a warning, other than the line that bitsandbytes logs on processors with bfloat16 instructions."""
    stderr = output.text if output.get("name") == "stderr" else ""
    return output.output_type == "error" or any("gemm_4bit_forward" not in line for line in stderr.splitlines())


def assert_it_ran(notebook):
    accuracy = {when: float(share) for when, share in ACCURACY.findall(printed(notebook))}
    assert set(accuracy) == {"before", "after", "merged and loaded again"}
    assert accuracy["merged and loaded again"] == pytest.approx(accuracy["after"], abs=0.02)
    (difference,) = DIFFERENCE.findall(printed(notebook))
    assert float(difference) < 1e-3
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == 4
    assert not [output for output in outputs(notebook) if is_complaint(output)]


def assert_it_has_learned(notebook):
    assert_it_ran(notebook)
    accuracy = {when: float(share) for when, share in ACCURACY.findall(printed(notebook))}
    assert accuracy["before"] < 0.05 and accuracy["after"] > 0.75


@pytest.fixture(scope="module")
def stored():
    return read()


def test_the_stored_outputs_are_those_of_a_whole_run(stored):
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert_it_has_learned(stored)
    assert NOTEBOOK.stat().st_size < 400_000


def test_it_runs(stored, tmp_path):
    notebook = fresh(stored, tmp_path, SHORTER)
    assert_it_ran(notebook)
    ((first, last),) = LOSSES.findall(printed(notebook))
    assert float(last) < float(first) / 2


# --- the others ------------------------------------------------------------------------------------------------------


def stream(cell) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def assert_same_text(found: str, expected: str):
    """The same words, and nearly the same fractions: their last digits depend on the processor."""
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", expected).split()
    numbers, stored_numbers = ([float(number) for number in NUMBER.findall(text)] for text in (found, expected))
    assert numbers == pytest.approx(stored_numbers, abs=0.02)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`notebooks` as in a clone, and the state of libraries that notebooks change set back afterwards."""
    (tmp_path / "tests").symlink_to(NOTEBOOK.parent.parent / "tests")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    matplotlib.use("agg")
    with warnings.catch_warnings():
        yield tmp_path / "notebooks"
    pyplot.close("all")
    logging.enable_progress_bar()


@pytest.mark.parametrize("name", OTHERS)
def test_another_prints_what_is_stored(name, folder, capsys):
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    names: dict = {}
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if is_complaint(output)]
    for cell in cells:
        exec(compile(cell.source, f"{name}.ipynb", "exec"), names)
        assert_same_text(capsys.readouterr().out, stream(cell))


def test_the_others_are_small():
    names = {"fine_tune", *OTHERS}
    assert all(NOTEBOOK.with_stem(name).stat().st_size < 200_000 for name in names)
    assert {path.stem for path in NOTEBOOK.parent.glob("*.ipynb")} == {"lora", *names}


# --- from a folder of images to a server -----------------------------------------------------------------------------


def assert_it_was_fine_tuned(notebook):
    scores = {when: (float(score), int(answers)) for when, score, answers in SCORES.findall(printed(notebook))}
    assert scores["before"] == (0.0, 50) and scores["after"][0] > 90 and scores["after"][1] == 50
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert re.fullmatch(r"\{'price': \d{2,3}\}", stream(last).strip())
    assert not [output for output in outputs(notebook) if is_complaint(output)]


def test_the_stored_run_has_fine_tuned_the_model():
    assert_it_was_fine_tuned(read("fine_tune"))


def test_a_folder_of_images_becomes_a_merged_model(folder, capsys, monkeypatch):
    run = subprocess.run

    def run_here(command, **options):
        if "transformers_internvl.cli" not in command:
            return run(command, **options)
        printed, complained = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            code = main(command[3:])
        return SimpleNamespace(returncode=code, stdout=printed.getvalue(), stderr=complained.getvalue())

    *cells, served = [cell.source for cell in read("fine_tune").cells if cell.cell_type == "code"]
    assert "serve" in served
    monkeypatch.setattr(subprocess, "run", run_here)
    names: dict = {}
    for old, new in FEWER.items():
        assert sum(cell.count(old) for cell in cells) == 1, old
        cells = [cell.replace(old, new) for cell in cells]
    for source in cells:
        exec(compile(source, "fine_tune.ipynb", "exec"), names)
    assert [count for _, _, count in SCORES.findall(capsys.readouterr().out)] == ["5", "5"]
    assert (folder / "run" / "adapter_model.safetensors").is_file()
    assert (folder / "merged" / "model.safetensors").is_file()


def run_whole(name: str):
    """The notebook after a run in a kernel of its own."""
    notebook = read(name)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "tests").symlink_to(NOTEBOOK.parent.parent / "tests")
        inner = Path(scratch) / "notebooks"
        inner.mkdir()
        NotebookClient(notebook, timeout=900, kernel_name="python3").execute(cwd=str(inner))
    return notebook


def run_all():
    with tempfile.TemporaryDirectory() as scratch:
        whole = fresh(read(), Path(scratch), {})
        assert_it_has_learned(whole)
        print(printed(whole))
    for name in OTHERS:
        whole = run_whole(name)
        assert_same_text(printed(whole), printed(read(name)))
        print(f"{name}: as stored")
    whole = run_whole("fine_tune")
    assert_it_was_fine_tuned(whole)
    print(printed(whole))


if __name__ == "__main__":
    run_all()
