# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`device_map="auto"` over main memory and disk: the numbers of the whole, for every golden folder."""

import pytest
import torch

from tests import llava
from tests.sharding import FOLDERS, answers, llava_answers, load


@pytest.fixture(scope="module")
def llava_folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("llava")
    for name, form in (("llava", "mlp2x_gelu"), ("llava_qllama", "two_mlp")):
        llava.write_folder(root / name, form)
    return root


@pytest.mark.parametrize("name", [*FOLDERS, "llava", "llava_qllama"])
def test_auto_over_memory_and_disk(name, llava_folders, tmp_path):
    folder = FOLDERS.get(name, llava_folders / name)
    whole = load(folder)
    size = sum(weight.numel() * weight.element_size() for weight in whole.parameters())
    spread = load(folder, device_map="auto", max_memory={"cpu": int(0.8 * size)}, offload_folder=tmp_path)
    assert set(spread.hf_device_map.values()) == {"cpu", "disk"}
    assert any(weight.is_meta for weight in spread.parameters())
    expected, found = ((answers(m, folder) if name in FOLDERS else llava_answers(m)) for m in (whole, spread))
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
