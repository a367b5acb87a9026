# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of `python -m tests.mutations`: every module has test files, and every row is about what there is."""

from .mutations.__main__ import function_at
from .mutations.table import PACKAGE, ROWS, TESTS, belonging, exports, modules, users


def test_every_module_has_test_files():
    assert [module for module in modules() if not belonging(module)] == []
    assert len(modules()) > 120


def test_rows_name_modules_and_test_files():
    assert [module for module in ROWS if not (PACKAGE / f"{module}.py").is_file()] == []
    assert [file for files in ROWS.values() for file in files if not (TESTS / file).is_file()] == []


def test_what_belongs_to_a_module():
    assert belonging("processing/images/tiling")[0] == "processing/test_tiling.py"  # of the same name
    assert "parity/test_preprocessing.py" in belonging("processing/images/tiling")  # imports it
    assert exports()["processing.images.select_grid"] == exports()["select_grid"] == "processing/images/tiling"
    assert {"test_registry.py", "test_loading.py"} <= set(belonging("registry"))  # its name, its row
    assert "training/recipes" in users()["training/parameters"]
    assert "training/test_recipes.py" in belonging("training/parameters")  # that of its user


def test_lines_are_in_functions_or_run_at_the_import():
    source = (PACKAGE / "processing/images/tiling.py").read_text(encoding="utf-8").splitlines()
    heads = {line.split("(")[0].removeprefix("def "): at for at, line in enumerate(source, 1) if line[:4] == "def "}
    call = next(at for at, line in enumerate(source, 1) if "check_sizes(max_tiles=max_tiles, n" in line)
    assert function_at("processing/images/tiling", call) == f"processing/images/tiling:{heads['tile_budget']}"
    assert function_at("processing/images/tiling", heads["tile_budget"]) is None
