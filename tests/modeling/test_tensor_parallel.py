# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Two processes share the tensors of a model and compute what one computes alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from tests import llava
from tests.sharding import CHAT, FOLDERS, TOWERS, answers, batch, llava_answers, load
from transformers_internvl import InternVLDualEncoderConfig, InternVLDualEncoderTextModel, InternVLLlavaConfig
from transformers_internvl.evaluation.profile import build_on_meta
from transformers_internvl.modeling.tensor_parallel import with_whole_heads

ROOT = Path(__file__).resolve().parents[2]
NAMES = (*FOLDERS, "llava", "llava_qllama", "gradients")


def gradients(model) -> dict[str, torch.Tensor]:
    model(**batch(CHAT[0]), labels=batch(CHAT[0])["input_ids"]).loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {name: g.full_tensor() if hasattr(g, "full_tensor") else g for name, g in found.items()}


def held(model) -> int:
    return sum((p.to_local() if hasattr(p, "to_local") else p).numel() for p in model.parameters())


def work(scratch: Path) -> None:
    """One of the two processes."""
    from torch import distributed
    from transformers.distributed import DistributedConfig

    distributed.init_process_group(
        "gloo", init_method=f"file://{scratch}/store", world_size=2, rank=int(os.environ["RANK"])
    )
    report = {}
    for name in NAMES:
        folder = FOLDERS.get(name, CHAT[0] if name == "gradients" else scratch / name)
        ask = {"gradients": lambda model, _: gradients(model)}.get(
            name, answers if name in FOLDERS else lambda m, _: llava_answers(m)
        )
        alone, shared = (
            load(folder, **kwargs)
            for kwargs in ({}, {"distributed_config": DistributedConfig(tp_size=2, tp_plan="auto")})
        )
        expected, got = ask(alone, folder), ask(shared, folder)
        assert expected.keys() == got.keys(), name
        scale = max(float(value.abs().max()) for value in expected.values())  # some gradients are but noise around 0
        errors = {key: float((expected[key] - got[key]).abs().max()) / scale for key in expected}
        report[name] = {
            "error": max(errors.values()),
            "worst": max(errors, key=errors.get),
            "share": held(shared) / held(alone),
        }
    if os.environ["RANK"] == "0":
        (scratch / "report.json").write_text(json.dumps(report))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("two")
    llava.write_folder(scratch / "llava")
    llava.write_folder(scratch / "llava_qllama", "two_mlp")
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    common = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    common |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    command = [sys.executable, "-m", "tests.modeling.test_tensor_parallel", str(scratch)]
    ranks = [
        subprocess.Popen(
            command, cwd=ROOT, env={**common, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(error[-3000:] for error in errors)
    return json.loads((scratch / "report.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_give_the_numbers_of_one(report, name):
    found = report[name]
    assert found["error"] < 2e-5, found
    assert found["share"] < 0.9, found  # shared, not copied


def test_every_linear_layer_of_the_tower_is_cut():
    for folder in (*TOWERS, *CHAT):
        model = build_on_meta(AutoConfig.from_pretrained(folder))
        plan = {name for name in model.tp_plan if "encoder.layer" in name}
        leaves = {name.rpartition("*.")[2] for name in plan}
        attention = {f"attention.{part}" for part in ("q_proj", "k_proj", "v_proj", "projection_layer")}
        assert leaves == attention | {"mlp.fc1", "mlp.fc2"}


@pytest.mark.parametrize("ranks", [2, 4])
def test_heads_stay_together_where_they_cannot_be_shared_out(ranks):
    model = build_on_meta(AutoConfig.from_pretrained(FOLDERS["chat_qwen3"]))  # 4 heads, 2 key-value heads
    plan = with_whole_heads(model, model.tp_plan, ranks)
    if ranks == 2:
        assert plan == model.tp_plan
        return
    layer = "model.language_model.layers.*."
    assert {plan[f"{layer}self_attn.{part}_proj"] for part in "qkv"} == {"colwise_gather_output"}
    assert plan[f"{layer}self_attn.o_proj"] == "rowwise_split_input"
    assert f"{layer}self_attn.q_norm" in model.tp_plan and f"{layer}self_attn.q_norm" not in plan
    assert plan[f"{layer}mlp.up_proj"] == "colwise"


if __name__ == "__main__":
    work(Path(sys.argv[1]))


def test_models_inside_plain_modules_are_shared_out_too():
    with torch.device("meta"):
        half = InternVLDualEncoderTextModel(InternVLDualEncoderConfig())
    assert half.tp_plan["qllama.model.layers.*.mlp.up_proj"] == "colwise"
    assert "qllama.model.layers.*" in half._fsdp_plan
    chat = build_on_meta(InternVLLlavaConfig(**llava.llava_config("two_mlp")))
    for part in ("vision_model.encoder.layer.*", "qllama.layers.*"):
        assert f"model.vision_tower.{part}" in chat._fsdp_plan
        assert any(name.startswith(f"model.vision_tower.{part}") for name in chat.tp_plan)
