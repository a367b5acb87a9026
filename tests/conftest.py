# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Every test runs offline, with our classes registered; the files that take longest come first."""

import gc
import os
from pathlib import Path

# The models here are so small that a second thread mostly waits, on a busy machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

import transformers_internvl  # noqa: E402, F401
from tests.parity.golden import golden_cases  # noqa: E402

# No drawn test fails for want of time: other processes may have the machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# About how many seconds they take; only the order counts. With `--dist loadfile` a long file that came last would
# leave a worker alone.
LONG = {
    "modeling/test_distributed.py": 50,
    "modeling/test_compiled.py": 45,
    "reliability/test_hostile_requests.py": 40,
    "test_hub.py": 25,
    "training/test_at_scale.py": 25,
    "reliability/test_serving.py": 20,
    "conversion/test_convert.py": 20,
    "cli/test_train.py": 20,
    "training/test_data_ranks.py": 20,
    "test_notebooks.py": 16,
    "reliability/test_serving_bounds.py": 15,
    "lab/nano/test_dense.py": 15,
    "test_docs.py": 14,
    "training/test_trainer.py": 12,
    "training/test_footprint.py": 10,
    "conversion/test_operations.py": 10,
    "training/test_data_trainer.py": 10,
    "training/test_feature_cache.py": 10,
    "lab/nano/test_dual_encoder.py": 9,
    "training/test_resume.py": 8,
}


def pytest_configure(config):
    # Else pytest-xdist would begin with the files of many tests, and end with these, which have few.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    seconds = {Path(__file__).parent / name: taken for name, taken in LONG.items()}
    items.sort(key=lambda item: -seconds.get(item.path, 0))


def pytest_collection_finish():
    """Leave out of garbage collections what was imported: `Trainer` collects whenever it begins to train."""
    gc.collect()
    gc.freeze()


# Golden models of the original layout that answer in chats.
CHATS = [path for path in golden_cases("chat_") if (path / "chat.json").exists()]


@pytest.fixture(scope="module", params=CHATS, ids=lambda path: path.name)
def chat_setting(request):
    """A model, its tokenizer and the pixels of its golden inputs."""
    path = request.param
    pixels = load_file(path / "inputs.safetensors")["pixel_values"]
    return AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path), pixels
