# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The notebook runs in a fresh kernel, shortened; `python -m tests.test_notebooks` runs all of it.

What is stored in it is of a whole run, by the end of which the model has learned its task.
"""

import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "lora.ipynb"
ACCURACY = re.compile(r"Right (.+?): \d+ of 64, accuracy ([\d.]+)")
LOSSES = re.compile(r"Losses ([\d.]+) ([\d.]+)")
SHORTER = {"max_steps=400": "max_steps=40", '"training", 480': '"training", 80'}
DIFFERENCE = re.compile(r"merged and adapted: ([\d.e+-]+)")


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        whole = fresh(read(), Path(scratch), {})
        assert_it_has_learned(whole)
        print(printed(whole))
