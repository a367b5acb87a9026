# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Ranks that share a model load, generate, train and save what one process does.

    python -m tests.modeling.distributed            # every layout on every mesh, with figures

Each rank holds the whole model next to its part of the shared one, and compares them.
"""

import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from tests import llava
from tests.ranks import launch
from tests.sharding import CHAT, FOLDERS, TOWERS, answers, batch, llava_batch, load

# Mesh -> its ranks, and what a user writes.
MESHES = {
    "tp": (2, {"tp_size": 2, "tp_plan": "auto"}),
    "fsdp": (2, {"fsdp_size": 2}),
    "fsdp x tp": (4, {"fsdp_size": 2, "tp_size": 2, "tp_plan": "auto"}),
    "hsdp": (4, {"dp_replicate_size": 2, "fsdp_size": 2}),
}
CLIPPED = ("fsdp", "hsdp")  # torch's clipping takes gradients of one mesh alone
# The canonical form of golden folders, one with fused projections and one of several others; and LLaVA's form.
CANONICAL = {f"canonical {name}": name for name in ("chat_internlm2", "chat_qwen3")}
LLAVA = {"llava": "mlp2x_gelu", "llava_qllama": "two_mlp"}
LAYOUTS = (*FOLDERS, *CANONICAL, *LLAVA)
# Layouts that the short form, too, spreads in every way: fused projections, tied weights, a scalar.
SHORT = ("chat_internlm2", "chat_qwen3_tied", "internvl_14b")
RATE = 0.1


def write_layouts(scratch: Path) -> None:
    """The folders that are not golden ones."""
    for name, source in CANONICAL.items():
        load(FOLDERS[source]).save_pretrained(scratch / name, save_original_format=False)
        shutil.copy(FOLDERS[source] / "ids.json", scratch / name)
    for name, projector in LLAVA.items():
        llava.write_folder(scratch / name, projector)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(model) -> dict[str, torch.Tensor]:
    """The whole parameters, as they are now."""
    return {key: whole(value.detach()).clone() for key, value in model.named_parameters()}


def objective(model, name: str, turn: int) -> torch.Tensor:
    """A loss to train; ranks that hold different data take different turns."""
    if name in LLAVA or name in CANONICAL or FOLDERS[name] in CHAT:
        inputs = llava_batch(model) if name in LLAVA else batch(FOLDERS[CANONICAL.get(name, name)])
        vocabulary = model.config.get_text_config().vocab_size
        return model(**inputs, labels=(inputs["input_ids"] + turn) % vocabulary).loss
    outputs = model(**batch(FOLDERS[name]))
    values = outputs.last_hidden_state if FOLDERS[name] in TOWERS else outputs.logits_per_image
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(turn))
    return (values * weights).mean()


def train(model, losses: list[torch.Tensor], clip: bool) -> float:
    """A step of gradient descent with the mean of the losses."""
    loss = sum(losses) / len(losses)
    loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if clip:
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
    torch.optim.SGD(trained, RATE).step()
    return loss.detach().item()


def numbers(model, name: str) -> dict[str, torch.Tensor]:
    if name in LLAVA:
        with torch.no_grad():
            inputs = llava_batch(model)
            ids = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None)
            return {"ids": ids.float(), "logits": model(**inputs).logits}
    return answers(model, FOLDERS[CANONICAL.get(name, name)])


def saved(model, folder: Path, name: str) -> dict[str, bytes]:
    """What `save_pretrained` writes, in every layout that the model has."""
    layouts = (True, False) if hasattr(model, "to_canonical") else (True,)
    for layout in layouts:
        model.save_pretrained(folder / str(layout), save_original_format=layout)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def compare(name: str, mesh: str, scratch: Path) -> dict:
    """One layout on one mesh: what differs from one process."""
    from transformers.distributed import DistributedConfig

    folder, first = FOLDERS.get(name, scratch / name), distributed.get_rank() == 0
    shared = load(folder, distributed_config=DistributedConfig(**MESHES[mesh][1]))
    alone = load(folder) if first else None  # one rank compares, all of them gather
    held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in shared.parameters())
    loaded = gathered(shared)
    here = scratch / mesh / name
    files, answered = saved(shared, here / "shared", name), numbers(shared, name)

    copies = MESHES[mesh][1].get("tp_size", 1)  # ranks that share a batch
    turns, mine = distributed.get_world_size() // copies, distributed.get_rank() // copies
    total = torch.tensor(train(shared, [objective(shared, name, mine)], clip=mesh in CLIPPED))
    distributed.all_reduce(total)
    trained = gathered(shared)
    if alone is None:
        return {}

    start = {key: value.detach().clone() for key, value in alone.named_parameters()}
    report = {"names": sorted(loaded.keys() ^ start.keys())}
    report["share"] = held / sum(value.numel() for value in start.values())
    report["loaded"] = [key for key, value in start.items() if not torch.equal(loaded[key], value)]
    theirs = saved(alone, here / "alone", name)
    report["saved"] = sorted(key for key in files.keys() | theirs.keys() if files.get(key) != theirs.get(key))
    report["files"] = len(theirs)

    known = numbers(alone, name)
    scale = max(float(value.abs().max()) for key, value in known.items() if key != "ids")
    report["ids"] = [] if "ids" not in known or torch.equal(known["ids"], answered["ids"]) else ["generated ids"]
    apart = {key: float((answered[key] - value).abs().max()) / scale for key, value in known.items() if key != "ids"}
    report["numbers"] = max(apart.values())

    of_one = train(alone, [objective(alone, name, turn) for turn in range(turns)], clip=mesh in CLIPPED)
    report["loss"] = abs(total.item() / distributed.get_world_size() - of_one) / max(abs(of_one), 1.0)
    expected = dict(alone.named_parameters())
    moved = {key: float((value - start[key]).abs().max()) for key, value in expected.items()}
    report["moved"] = sum(value > 0 for value in moved.values()) / len(moved)
    wrong = {key: float(_beyond_rounding(trained[key] - value, value).max()) for key, value in expected.items()}
    report["step"] = max(wrong.values()) / max(moved.values())
    report["worst"] = max(wrong, key=wrong.get)
    return report


def _beyond_rounding(difference: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """How far weights are apart but for a unit in the last place: a small step of a weight near 1 is few of them."""
    return (difference.abs() - torch.finfo(value.dtype).eps * value.abs()).clamp(min=0)


def faults(report: dict) -> Iterator[str]:
    """What of a report is not as it has to be."""
    if "error" in report:
        yield report["error"]
        return
    for key in ("names", "loaded", "saved", "ids"):
        if report[key]:
            yield f"{key}: {report[key]}"
    for key in ("numbers", "loss", "step"):
        if not report[key] < 2e-5:
            yield f"{key}: {report[key]:.1e}, worst {report['worst']}"
    if not (report["share"] < 0.9 and report["moved"] > 0.5 and report["files"]):
        yield f"not shared, not trained or not saved: {report}"


def work(scratch: Path, cases: list[list[str]]) -> None:
    """One of the ranks."""
    distributed.init_process_group("gloo")
    reports = {}
    for name, mesh in cases:
        try:
            start = time.process_time()
            reports[f"{name} {mesh}"] = compare(name, mesh, scratch)
            reports[f"{name} {mesh}"]["seconds"] = time.process_time() - start
        except (RuntimeError, ValueError, AssertionError, AttributeError, TypeError, KeyError, IndexError):
            reports[f"{name} {mesh}"] = {"error": traceback.format_exc()[-3000:]}
    if distributed.get_rank() == 0:
        (scratch / f"{distributed.get_world_size()}.json").write_text(json.dumps(reports))
    distributed.destroy_process_group()


def run(cases: list[tuple[str, str]], scratch: Path) -> dict[str, dict]:
    """The reports of cases, each a layout and a mesh: one launch for all with equally many ranks."""
    write_layouts(scratch)
    found = {}
    for ranks in sorted({MESHES[mesh][0] for _, mesh in cases}):
        chosen = [case for case in cases if MESHES[case[1]][0] == ranks]
        launch(ranks, scratch, "tests.modeling.distributed", str(scratch), json.dumps(chosen))
        found |= json.loads((scratch / f"{ranks}.json").read_text())
    return found


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work(Path(sys.argv[1]), json.loads(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            reports = run([(name, mesh) for mesh in MESHES for name in LAYOUTS], Path(folder))
        wrong = {name: found for name, report in reports.items() if (found := list(faults(report)))}
        for name, report in reports.items():
            found = wrong.get(name, [f"as one process; a rank holds {report.get('share', 1):.0%}"])
            print(f"{name:36}", "; ".join(found))
        print(f"{len(reports)} cases, {len(wrong)} differ from one process")
        sys.exit(bool(wrong))
