# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Ranks that share a model do what one process does: the short form of `distributed.py`."""

import pytest

from tests.modeling.distributed import LAYOUTS, SHORT, faults, run

# Golden folders whose weights have the names and forms of another's: the long form takes them, too.
ALIKE = ("chat_internlm2_dynamic_rope", "chat_llama_v1_2", "chat_phi3_long", "chat_qwen2_5", "chat_qwen3")
ALIKE += ("chat_qwen3_moe_aux",)
# Every other layout on two ranks, in turns by either way; some by both, and on four.
CASES = [
    (name, ("tp", "fsdp")[number % 2]) for number, name in enumerate(name for name in LAYOUTS if name not in ALIKE)
]
CASES += [(name, mesh) for name in SHORT for mesh in ("tp", "fsdp", "fsdp x tp") if (name, mesh) not in CASES]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return run(CASES, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize(("name", "mesh"), CASES)
def test_ranks_do_what_one_process_does(reports, name, mesh):
    assert list(faults(reports[f"{name} {mesh}"])) == []
