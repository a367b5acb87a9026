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
    "reliability/test_hostile_requests.py": 90,
    "modeling/test_compiled.py": 85,
    "modeling/test_distributed.py": 65,
    "reliability/test_hostile_connections.py": 50,
    "test_notebooks.py": 50,
    "conversion/test_convert.py": 35,
    "training/test_at_scale.py": 30,
    "test_pages.py": 30,
    "training/test_run_folder.py": 30,
    "test_hub.py": 28,
    "training/test_resume.py": 22,
    "training/test_lora.py": 20,
    "reliability/test_serving_bounds.py": 20,
    "reliability/test_serving.py": 20,
    "training/test_adapted.py": 18,
    "training/test_feature_cache_of_runs.py": 18,
    "cli/test_train.py": 17,
    "training/test_data_ranks.py": 17,
    "training/test_evaluation_of_runs.py": 16,
    "training/test_mpo.py": 16,
    "parity/test_flash.py": 16,
    "lab/nano/test_dense.py": 15,
    "training/test_footprint.py": 15,
    "training/test_run.py": 14,
    "test_registry.py": 12,
    "training/test_feature_cache.py": 12,
    "test_docs.py": 12,
    "training/test_vico_runs.py": 12,
    "modeling/test_offloading.py": 11,
    "training/test_streamed.py": 11,
    "conversion/test_operations.py": 11,
    "curation/test_judging.py": 10,
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
