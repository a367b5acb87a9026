# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversions and merges that are killed at random moments: no folder loads wrong, running again finishes it.

    python -m tests.conversion.kills [--times 20] [--merges 20] [--seed 0]

Every run is a process of its own that SIGKILL ends when it does its n-th thing to a file, n drawn for each. Some are
killed again and again before they are left to finish. A merge (`internvl surgery merge-lora`) makes no folder of its
target's name before all of it is there.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors import SafetensorError
from transformers import AutoModel

from tests.parity.golden import golden_root, weights
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.conversion.surgery.operations import merge_lora_folder

INTERNLM2 = golden_root() / "chat_internlm2"
SHARDS = {"max_shard_size": "150KB", "progress": False}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        other[key].dtype == tensor.dtype and torch.equal(other[key], tensor) for key, tensor in one.items()
    )


def convert(target: Path) -> None:
    convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)


def run_until(target: Path, event_number: int | None, work: Callable[[Path], object] = convert) -> int:
    """A run in a process of its own that is killed when it does its n-th thing to a file; None: how many it does."""
    count = target.with_name("count")
    child = os.fork()
    if child == 0:
        seen = 0

        def watch(event: str, arguments: tuple) -> None:
            nonlocal seen
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "shutil.copyfile"):
                seen += 1
                if seen == event_number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work(target)
        count.write_text(str(seen))
        os._exit(0)
    os.waitpid(child, 0)
    return int(count.read_text()) if event_number is None else 0


def loads(folder: Path) -> bool:
    """Whether transformers makes a model of a folder."""
    try:
        AutoModel.from_pretrained(folder)
    except (OSError, ValueError, SafetensorError):
        return False
    return True


def kill_conversions(root: Path, times: int, draw: random.Random) -> str:
    """Kill conversions so many times; some go on where they were. Returns what was seen, in words."""
    killed = finished = whole = 0
    events = run_until(root / "whole", None)
    expected = weights(root / "whole")
    target, partial = root / "out", root / "out.partial"
    while killed < times:
        moment = draw.randint(1, events)
        run_until(target, moment)
        if not target.exists():
            killed += 1
            whole += (loaded := loads(partial))
            if loaded and not equal(weights(partial), expected):
                raise SystemExit(f"killed at {moment} of {events}: the folder loads, and is not whole")
            if draw.random() < 0.5:
                continue  # it is killed once more
            convert(target)
        if not equal(weights(target), expected) or partial.exists():
            raise SystemExit(f"killed at {moment} of {events}: running again did not finish it")
        finished += 1
        shutil.rmtree(target)
    return (
        f"{killed} kills among {events} moments; {finished} conversions finished; {whole} left a folder that is whole"
    )


def kill_merges(root: Path, times: int, draw: random.Random) -> str:
    """Kill merges of an adapter so many times. Returns what was seen, in words."""
    base, adapter = root / "base", root / "adapter"
    shutil.copytree(golden_root() / "chat_qwen2", base)
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModel.from_pretrained(base), config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(adapter)

    def merge(target: Path) -> None:
        merge_lora_folder(adapter, target, max_shard_size="100KB")

    events = run_until(root / "whole", None, merge)
    expected, files = weights(root / "whole"), {path.name for path in (root / "whole").iterdir()}
    if equal(expected, weights(base)):
        raise SystemExit("the merge changes nothing")
    target, killed = root / "merged", 0
    while killed < times:
        moment = draw.randint(1, events)
        run_until(target, moment, merge)
        if not target.exists():
            killed += 1
            merge(target)
        if not equal(weights(target), expected) or {path.name for path in target.iterdir()} != files:
            raise SystemExit(f"killed at {moment} of {events}: the merged folder is not whole")
        shutil.rmtree(target)
    return f"{killed} kills of merges among {events} moments: no folder before it is whole, each merged when run again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="kills of conversions")
    parser.add_argument("--merges", type=int, default=20, help="kills of merges")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    for kill, times in ((kill_conversions, arguments.times), (kill_merges, arguments.merges)):
        with tempfile.TemporaryDirectory() as place:
            print(kill(Path(place), times, draw), flush=True)


if __name__ == "__main__":
    main()
