# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The notebook runs in a fresh kernel, and the model has learned its task by the end of it."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "lora.ipynb"
ACCURACY = re.compile(r"Right (.+?): \d+ of 64, accuracy ([\d.]+)")
DIFFERENCE = re.compile(r"merged and adapted: ([\d.e+-]+)")


def outputs(notebook) -> list:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook) -> str:
    return "".join(output.text for output in outputs(notebook) if output.output_type == "stream")


def assert_it_has_learned(notebook):
    accuracy = {when: float(share) for when, share in ACCURACY.findall(printed(notebook))}
    assert accuracy["before"] < 0.05 and accuracy["after"] > 0.75
    assert accuracy["merged and loaded again"] == pytest.approx(accuracy["after"], abs=0.02)
    (difference,) = DIFFERENCE.findall(printed(notebook))
    assert float(difference) < 1e-3
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == 4
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs(notebook))


@pytest.fixture(scope="module")
def stored():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_stored_outputs_are_those_of_a_whole_run(stored):
    counts = [cell.execution_count for cell in stored.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert_it_has_learned(stored)
    assert NOTEBOOK.stat().st_size < 400_000


def test_it_runs(stored, tmp_path):
    fresh = nbformat.from_dict(stored)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(fresh, timeout=900, kernel_name="python3").execute(cwd=str(tmp_path))
    assert_it_has_learned(fresh)
    assert (tmp_path / "adapter" / "adapter_config.json").is_file() and (tmp_path / "merged" / "config.json").is_file()
