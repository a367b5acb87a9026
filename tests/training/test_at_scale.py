# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Two ranks give one process's curve and weights, whatever engine spreads the work, and whatever they are given."""

import shutil

import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests.parity.golden import golden_root
from tests.tiny import tiny_model
from tests.training.ranks import CASES, launch, train

GOLDEN = {"experts": "chat_qwen3_moe_aux", "InternLM2": "chat_internlm2"}
EXACT = dict.fromkeys(CASES, 2e-6) | {"adapters on bfloat16": 2e-4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models of the cases; the golden ones are in the authors' layout, InternLM2 with fused projections."""
    root = tmp_path_factory.mktemp("scale")
    model = tiny_model(loss_reduction="square", vision_chunk_size=2)
    for case in CASES:
        if case in GOLDEN:
            golden = AutoModelForImageTextToText.from_pretrained(golden_root() / GOLDEN[case])
            golden.config.vision_config.drop_path_rate = 0.0
            golden.config.vision_chunk_size = 2
            golden.save_pretrained(root / "models" / case)
        elif case == "full":
            model.save_pretrained(root / "models" / case)
        else:
            shutil.copytree(root / "models" / "full", root / "models" / case)
    return root


@pytest.fixture(scope="module")
def alone(folder):
    """What one process finds."""
    return {case: train("one", case, folder, 1) for case in CASES}


@pytest.mark.parametrize("engine", ["ddp", "fsdp2", "native"])
def test_two_ranks_are_one(engine, folder, alone):
    found = launch(engine, folder, list(CASES))
    print(engine, found)
    print(alone)
