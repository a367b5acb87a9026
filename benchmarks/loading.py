# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Time and memory of loading an original checkpoint directly, next to loading the same weights in the -hf layout.

Both of a synthetic checkpoint of 2 GB (InternVL2-8B with fewer layers, so that tower and language model have fused
weights), in turn, each in a process of its own that reads every weight once after loading. Of the times the least
disturbed counts, of the memory the greatest peak.

    python benchmarks/loading.py [--quick] [--folder DIR] [--rounds N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from conversion import held, write_checkpoint
from figures import record


def one(folder: str) -> dict[str, float]:
    """Load in this process; CPU seconds, and bytes above what the imports took."""
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    import transformers_internvl  # noqa: F401

    logging.disable_progress_bar()
    before, used = held("VmRSS"), time.process_time()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
    loaded = time.process_time() - used
    total = sum(int(parameter.detach().reshape(-1).view(torch.int16)[::512].sum()) for parameter in model.parameters())
    return {"cpu": loaded, "memory": held("VmHWM") - before, "sum": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small checkpoint, to see whether it runs")
    parser.add_argument("--folder", type=Path, help="where 5 GB fit (default: the system's folder for such files)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one)))
        return
    from transformers_internvl.conversion.layouts.convert import convert_checkpoint

    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folders = {"original": Path(place) / "original", "hf": Path(place) / "hf"}
        write_checkpoint(folders["original"], 1, None, "safetensors", arguments.quick)
        convert_checkpoint(folders["original"], folders["hf"], "hf", progress=False)
        runs: dict[str, list[dict[str, float]]] = {"original": [], "hf": []}
        for _ in range(arguments.rounds):
            for name, folder in folders.items():
                command = [sys.executable, __file__, "--one", str(folder)]
                runs[name].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    if len({run["sum"] for side in runs.values() for run in side}) != 1:
        raise SystemExit("The two do not hold the same weights.")
    cpu = {name: min(run["cpu"] for run in side) for name, side in runs.items()}
    memory = {name: max(run["memory"] for run in side) for name, side in runs.items()}
    record(
        {
            "time, original / hf": cpu["original"] / cpu["hf"],
            "memory, original / hf": memory["original"] / memory["hf"],
        }
    )
    print(f"CPU time original / hf  {cpu['original'] / cpu['hf']:.2f}")
    print(f"memory   original / hf  {memory['original'] / memory['hf']:.2f}  ({memory['original'] / 2**30:.2f} GB)")


if __name__ == "__main__":
    main()
