# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Curation in one process and in two, and its memory on ten times the data.

    python benchmarks/curation.py [--quick] [--rounds N]

The rows are those of the tests' corpus (`tests/curation/corpus.py`), in two languages, a third of them with a small
image; the steps are `images`, `heuristics` and `repetition`. `speed-up` is the rows a second of two processes over
those of one, of the least disturbed of the rounds, which go in turn; the processes have imported the package before,
and `startup` is what a run with a single row takes, in parts of the run in one process. It needs two cores that are
free. `memory` is the peak of a process that curates ten times as many rows, over that of the process that does not.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.curation.corpus import write_corpus  # noqa: E402 (needs the path)
from transformers_internvl.curation.pipeline import check_pipeline  # noqa: E402
from transformers_internvl.curation.running import run_pipeline  # noqa: E402

STEPS = ["images", "heuristics", "repetition"]
TASKS = 8


def rows_of(folder: Path, rows: int, times: int) -> Path:
    """A JSONL file with the corpus so many times."""
    if not (folder / "meta.json").exists():
        write_corpus(folder, rows=rows)
    path = folder / f"{times}.jsonl"
    if not path.exists():
        text = "".join((folder / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("en", "ko"))
        path.write_text(text * times, encoding="utf-8")
    return path


def curate(path: Path, output: Path, workers: int, tasks: int = TASKS) -> float:
    """Seconds of a run."""
    read = {"format": "jsonl", "path": str(path), "root": str(path.parent / "images")}
    keys = {"output": str(output), "tasks": tasks, "read": read, "steps": STEPS, "executor": {"workers": workers}}
    pipeline = check_pipeline(keys, "benchmark")
    began = time.perf_counter()
    run_pipeline(pipeline)
    return time.perf_counter() - began


def peak_memory(path: Path, output: Path) -> int:
    """Bytes of a process of its own."""
    command = [sys.executable, __file__, "--memory", str(path), str(output)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", nargs=2, metavar=("ROWS", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        curate(Path(options.memory[0]), Path(options.memory[1]), 1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    times, rounds = (4, 1) if options.quick else (40, options.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = rows_of(folder / "corpus", 200, times)
        few = folder / "corpus" / "few.jsonl"
        few.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
        for workers in (1, 2):  # imports, and the server that processes are forked from
            curate(few, folder / f"warm{workers}", workers, tasks=2)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        startup: dict[int, list[float]] = {1: [], 2: []}
        for number in range(rounds):
            for workers in (1, 2):
                seconds[workers].append(curate(path, folder / f"out{number}-{workers}", workers))
                startup[workers].append(curate(few, folder / f"few{number}-{workers}", workers, tasks=2))
        data = [sorted((folder / f"out0-{workers}" / "data").iterdir()) for workers in (1, 2)]
        if [file.read_bytes() for file in data[0]] != [file.read_bytes() for file in data[1]]:
            raise SystemExit("one process and two give different rows")
        report = json.loads((folder / "out0-1" / "report.json").read_text())
        one, two = min(seconds[1]), min(seconds[2])
        print(f"{report['rows read']:,} rows, {rounds} rounds")
        print(f"speed-up {one / two:.2f}; startup {min(startup[1]) / one:.2f} and {min(startup[2]) / one:.2f}")
        small, large = (
            peak_memory(rows_of(folder / "corpus", 200, count), folder / f"memory{count}")
            for count in (times // 4, times // 4 * 10)
        )
        print(f"memory {large / small:.3f} over ten times the rows")


if __name__ == "__main__":
    main()
