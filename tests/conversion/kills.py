# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversions that are killed at random moments: none leaves a folder that loads wrong, running again finishes it.

    python -m tests.conversion.kills [--times 20] [--seed 0]

Every run is a process of its own that SIGKILL ends when it does its n-th thing to a file, n drawn anew. Some are
killed again and again before they are left to finish.
"""

import argparse
import random
import shutil
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModel

from tests.conversion.test_convert import INTERNLM2, SHARDS, equal, run_until, weights
from transformers_internvl.conversion.layouts.convert import convert_checkpoint


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
