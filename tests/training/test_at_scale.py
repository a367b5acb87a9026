# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Two ranks give one process's curve and weights, whatever engine spreads the work, and whatever they are given."""

import json
from functools import cache
from pathlib import Path

import pytest

from tests.training.ranks import check_sharding, compare, launched_with, save_models, train, train_on_two
from transformers_internvl.training import configs

# Engine -> how accelerate calls it, and the cases; `python -m tests.training.every_engine` runs all cases on all.
RUNS = {
    "ddp": ("MULTI_CPU", ["experts", "dual encoder"]),
    "fsdp2": ("FSDP", ["frozen tower", "checkpointing", "adapters on bfloat16", "InternLM2"]),
    "native": ("MULTI_CPU", ["full", "adapters"]),
    "tp": ("MULTI_XPU", ["dual encoder", "experts"]),
}


def test_two_ranks_are_one(tmp_path):
    save_models(tmp_path)
    runs = [f"{engine}/{case}" for engine, (_, cases) in RUNS.items() for case in cases]
    alone = cache(lambda case: train("one", case, tmp_path, 1))
    for run, found in train_on_two(runs, tmp_path).items():
        engine, case = run.split("/")
        assert found["distribution"].endswith(RUNS[engine][0])
        check_sharding(engine, case, found["sharded"])
        compare(tmp_path, engine, case, found, alone(case))


def test_engine_configurations():
    for engine, name in configs.ENGINES.items():
        path = Path(configs.engine_config(engine))
        assert path.name == name and path.is_file()
        if path.suffix == ".json":
            settings = json.loads(path.read_text())
            assert settings["zero_optimization"]["stage"] == int(engine[-1])
    with pytest.raises(ValueError, match="`engine` must be one of 'ddp', 'fsdp2', 'zero2', 'zero3', got 'zero4'"):
        configs.engine_config("zero4")
    assert launched_with(configs.engine_config("fsdp2"))["FSDP_VERSION"] == "2"
    assert "ACCELERATE_USE_FSDP" not in launched_with(configs.engine_config("ddp"))
