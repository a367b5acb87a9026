# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl evaluate`, whatever happens to it, gives the same answers and scores.

    python -m tests.evaluation.kills                  # ten questions of each drawn benchmark, twelve kills
    python -m tests.evaluation.kills --count 3 --kills 3

Drawn benchmarks of every kind (`drawn.py`) are asked by processes of the command: once left alone; killed by SIGKILL
at random moments and resumed, on one rank and on two; in batches; and through a process of `internvl serve`.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.evaluation.drawn import draw_benchmarks
from tests.reliability.serving import running_server

FIXED = ("--max-new-tokens", "6", "--max-tiles", "2", "--frames", "3", "--no-plot", "--seed", "3")


def command(data: Path, output: Path, tasks: list[str], *more: str) -> list[str]:
    """The arguments of one run."""
    arguments = ["--task", ",".join(tasks), "--data", str(data), "--output", str(output), *FIXED, *more]
    return ["-m", "transformers_internvl.cli", "evaluate", *arguments]


def run(words: list[str], ranks: int = 1, kill_after: float | None = None) -> bool:
    """Run on so many ranks, and kill them all after so many seconds. Returns whether they ended by themselves."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
    shared |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    processes = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
        )
        for rank in range(ranks)
    ]
    killed = threading.Event()

    def kill() -> None:
        killed.set()
        for process in processes:
            process.kill()

    timer = threading.Timer(kill_after or 10**6, kill)
    timer.start()
    codes = [process.wait() for process in processes]
    timer.cancel()
    if any(codes) and not killed.is_set():
        raise RuntimeError(f"The run ended with {codes}: {' '.join(words)}")
    return not killed.is_set()


def results(output: Path) -> dict[str, object]:
    """Scores and predictions of a run."""
    tasks = json.loads((output / "scores.json").read_text())["tasks"]
    found: dict[str, object] = {task["task"]: (task["score"], task["table"]) for task in tasks}
    for file in sorted(output.glob("*/*/predictions.jsonl")):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(output))] = [(row["index"], row["prediction"], row["score"]) for row in rows]
    return found


def check(name: str, got: dict[str, object], expected: dict[str, object]) -> bool:
    """Print whether two runs agree, and where they do not."""
    different = [key for key in {*got, *expected} if got.get(key) != expected.get(key)]
    print(
        f"{name}: {'the same answers and scores' if not different else f'different in {sorted(different)}'}",
        flush=True,
    )
    return not different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="questions of each benchmark")
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    right = True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tasks = draw_benchmarks(root / "data", arguments.count)
        began = time.monotonic()
        run(command(root / "data", root / "plain", tasks))
        took = time.monotonic() - began
        expected = results(root / "plain")
        for ranks in (1, 2):
            output, kills = root / f"killed-{ranks}", 0
            while not run(
                command(root / "data", output, tasks, "--device", "cpu"),
                ranks,
                chance.uniform(3, took) if kills < arguments.kills else None,
            ):
                kills += 1
            right &= check(f"killed {kills} times, {ranks} rank(s)", results(output), expected)
        run(command(root / "data", root / "batches", tasks, "--batch-size", "4"))
        right &= check("in batches of four", results(root / "batches"), expected)
        with running_server() as (url, _):
            run(command(root / "data", root / "server", tasks, "--endpoint", url, "--requests", "4"))
        right &= check("through internvl serve", results(root / "server"), expected)
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
