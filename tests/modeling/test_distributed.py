# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Ranks that share a model load, generate, train and save what one process does: the short form of `distributed.py`."""

import pytest

from tests.modeling.distributed import LAYOUTS, SHORT, faults, run

# Two ranks take every layout, four only some, each a launch.
CASES = [(name, mesh) for mesh in ("tp", "fsdp") for name in LAYOUTS] + [(name, "fsdp x tp") for name in SHORT]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return run(CASES, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("name", "mesh"), CASES)
def test_ranks_do_what_one_process_does(reports, name, mesh):
    assert list(faults(reports[f"{name} {mesh}"])) == []
