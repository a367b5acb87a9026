# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversions that are killed at random moments: none leaves a folder that loads wrong, running again finishes it.

    python -m tests.conversion.kills [--times 20] [--seed 0]

Every run is a process of its own that SIGKILL ends when it does its n-th thing to a file, n drawn anew. Some are
killed again and again before they are left to finish.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModel

from tests.parity.golden import golden_root, weights
from transformers_internvl.conversion.layouts.convert import convert_checkpoint

INTERNLM2 = golden_root() / "chat_internlm2"
SHARDS = {"max_shard_size": "150KB", "progress": False}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        other[key].dtype == tensor.dtype and torch.equal(other[key], tensor) for key, tensor in one.items()
    )


def run_until(target: Path, event_number: int | None) -> int:
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
        convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    killed = finished = whole = 0
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        events = run_until(root / "whole", None)
        expected = weights(root / "whole")
        target, partial = root / "out", root / "out.partial"
        while killed < arguments.times:
            moment = draw.randint(1, events)
            run_until(target, moment)
            if not target.exists():
                killed += 1
                whole += (loaded := loads(partial))
                if loaded and not equal(weights(partial), expected):
                    raise SystemExit(f"killed at {moment} of {events}: the folder loads, and is not whole")
                if draw.random() < 0.5:
                    continue  # it is killed once more
                convert_checkpoint(INTERNLM2, target, "hf", **SHARDS)
            if not equal(weights(target), expected) or partial.exists():
                raise SystemExit(f"killed at {moment} of {events}: running again did not finish it")
            finished += 1
            shutil.rmtree(target)
    print(
        f"{killed} kills among {events} moments; {finished} conversions finished; {whole} left a folder that is whole"
    )


if __name__ == "__main__":
    main()
