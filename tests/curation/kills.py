# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Curation in processes of its own: `python -m tests.curation.kills [--kills N] [--seed N] [--executor ray]`.

A corpus with planted faults is filtered, judged and translated through a server that fails, stalls and writes rubbish.
A run in one process is compared with runs in two processes, with runs that are killed at random moments and resumed,
and with `--executor ray` on a local Ray cluster: the same rows, the same findings, and no reply is asked for again but
those that were under way when a run was killed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from .corpus import write_corpus
from .endpoint import BAD, Server, serving

REQUESTS, TASKS = 4, 4
STEPS = ["images", "heuristics", "repetition", "text_duplicates", "image_duplicates"]


def pipeline(folder: Path, output: str, url: str, **executor: object) -> list[str]:
    """Writes a pipeline file; the command that runs it."""
    endpoint = {"url": url, "model": "m", "requests": REQUESTS, "timeout": 5.0}
    steps = [*STEPS, {"judge": endpoint}, {"translate": {**endpoint, "language": "Korean", "exempt": ["ko"]}}]
    keys = {
        "output": str(folder / output),
        "tasks": TASKS,
        "read": {"format": "meta", "path": str(folder / "corpus" / "meta.json")},
        "steps": steps,
        "write": {"format": "meta"},
        "executor": executor,
    }
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(keys))
    return [sys.executable, "-m", "transformers_internvl.cli", "curate", str(path), "--json"]


def started(command: list[str], log: Path) -> subprocess.Popen:
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


def run_killed(command: list[str], log: Path, moments: list[int], server: Server, seconds: float) -> int:
    """Run a command to its end, killed before; how often it was.

    Args:
        moments: replies of the server at which it is killed; a negative number is a share of `seconds`, in percent.
    """
    for number, moment in enumerate(moments):
        process, began = started(command, log), time.monotonic()
        while process.poll() is None:
            passed = 100 * (time.monotonic() - began) / seconds
            if server.kinds["good"] >= moment >= 0 or passed > -moment > 0:
                break
            time.sleep(0.02)
        if process.poll() is not None:
            return number  # it had ended
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if started(command, log).wait():
        raise SystemExit(f"{' '.join(command)} failed: see {log}")
    return len(moments)


def result(folder: Path, output: str) -> dict[str, object]:
    """What a run gave: the rows byte by byte, and the findings."""
    found = (folder / output / "review.jsonl").read_text(encoding="utf-8").splitlines()
    lines = [json.loads(line) for line in found]
    data = {path.name: path.read_bytes() for path in sorted((folder / output / "data").glob("*.jsonl"))}
    report = json.loads((folder / output / "report.json").read_text())
    return {
        "data": data,
        "review": found,
        "rows read": report["rows read"],
        "lines": lines,
        "costs": [(cost["replies"], cost["tokens_in"]) for cost in report["costs"]],
    }


def compare(name: str, folder: Path, output: str, server: Server, expected: dict, killed: int = 0) -> int:
    """Print a line; the number of errors."""
    got = result(folder, output)
    wrong = [key for key in ("data", "review", "rows read") if got[key] != expected[key]]
    replies = server.kinds["good"] + server.kinds["rubbish"]
    lost = replies - sum(count for count, _ in got["costs"])  # that the server gave, and that are not on disk
    if not 0 <= lost <= killed * REQUESTS * TASKS:
        wrong.append("replies")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(server.kinds.items()))
    print(f"{name}: {'differs in ' + ', '.join(wrong) if wrong else 'equal'}; {killed} kills, "
          f"{lost} of {replies} replies asked for again; server: {kinds}", flush=True)  # fmt: skip
    return len(wrong)


def planted_rows(folder: Path, rows: int) -> None:
    """The corpus, with some answers that the judge does not like."""
    print(write_corpus(folder, rows=rows, faults_each=3))
    for name in ("en", "ko"):
        path = folder / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if number % 9 == 0 and '"planted": "", ' in line and '"image"' not in line:
                row = json.loads(line)
                row["conversations"][1]["value"] += f" {BAD} {number}."
                lines[number] = json.dumps(row, ensure_ascii=False)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=120, help="sound rows of each language (%(default)s)")
    parser.add_argument("--kills", type=int, default=8, help="of each of three runs (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    options = parser.parse_args()
    draw, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted_rows(folder / "corpus", options.rows)
        with serving() as server:
            began = time.monotonic()
            run_killed(pipeline(folder, "one", server.url), folder / "one.log", [], server, 0)
            seconds = time.monotonic() - began
        expected = result(folder, "one")
        print(f"one process: {len(expected['review'])} findings in {expected['rows read']} rows, {expected['costs']}")
        runs = {"two processes": ({"workers": 2}, 0)}
        runs |= {f"two processes, killed ({n})": ({"workers": 2}, options.kills) for n in (1, 2, 3)}
        if options.executor == "ray":
            runs = {"Ray": ({"kind": "ray", "workers": 2, "mem_per_cpu_gb": 1}, 0)}
        for number, (title, (executor, kills)) in enumerate(runs.items()):
            with serving(faults=True, seconds=6.0) as server:
                command = pipeline(folder, f"run{number}", server.url, **executor)
                replies = sorted(draw.randrange(sum(count for count, _ in expected["costs"])) for _ in range(kills))
                moments = [-draw.randint(20, 80), *replies][:kills]
                killed = run_killed(command, folder / f"run{number}.log", moments, server, seconds)
                wrong += compare(title, folder, f"run{number}", server, expected, killed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
