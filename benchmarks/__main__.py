# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""All benchmarks in one command: `python -m benchmarks [NAME ...] [--quick] [--device cuda] [--list]`.

Each is a script of its own, a row of `BENCHMARKS`, and ends with ratios. Their table is printed with the targets and
with what the same processor gave before. Unless it is `--quick`, a line is added to the processor's file in
`benchmarks/history/`, and the table of `benchmarks/README.md` is written again from the last lines of all processors.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm.auto import tqdm

ROOT = Path(__file__).resolve().parent
HISTORY = ROOT / "history"
FILE = "INTERNVL_BENCHMARK_FIGURES"
BEGIN, END = "<!-- figures: python -m benchmarks -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Benchmark:
    """A script and the targets of its ratios."""

    script: str
    at_most: dict[str, float] = field(default_factory=dict)
    at_least: dict[str, float] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    takes_device: bool = False
    quick: bool = True  # whether it has a short form; without, it is left out of the quick ones

    def target(self, figure: str) -> str:
        if figure in self.at_most:
            return f"≤ {self.at_most[figure]:g}"
        return f"≥ {self.at_least[figure]:g}" if figure in self.at_least else ""


BENCHMARKS = {
    "start-up": Benchmark("start_up.py", {"imports": 1.3, "first answer": 1.5}),
    "preprocessing": Benchmark(
        "preprocessing.py",
        at_least={
            "upstream / pil, geometric mean": 2.0,
            "original / pil, geometric mean": 1.5,
            "original / pil, least": 1,
        },
        arguments=("--threads", "2"),
    ),
    "tower": Benchmark(
        "tower.py", {"tower / products, 1 tile(s)": 1.3, "tower / products, 4 tile(s)": 1.3}, takes_device=True
    ),
    "prefill": Benchmark("prefill.py", takes_device=True),
    "flash": Benchmark("flash.py", {"half (6)": 0.65, "all but one (12)": 0.4}),
    "visual-experts": Benchmark("visual_experts.py", {"1 tiles, networks": 0.6, "6 tiles, networks": 0.6}),
    "second-question": Benchmark(
        "second_question.py", {"further": 0.1, "other conversation": 0.35}, takes_device=True
    ),
    "serving": Benchmark("serving.py", at_least={"answers per second": 3}, takes_device=True),
    "drafting": Benchmark("drafting.py"),
    "loading": Benchmark("loading.py", {"time, original / hf": 1.05, "memory, original / hf": 1.1}),
    "conversion": Benchmark("conversion.py"),
    "loss-memory": Benchmark("loss_memory.py"),
    "feature-cache": Benchmark("feature_cache.py", {"epoch 2, with cache": 0.5}),
    "packing": Benchmark("packing.py", at_least={"over upstream, batches of 4": 1.8}),
    "context-parallel": Benchmark("context_parallel.py", {"memory of a rank / one process": 0.6}),
    "training-memory": Benchmark("training_memory.py"),
    "memory-plan": Benchmark("memory_plan.py", quick=False),
    "token-pruning": Benchmark("token_pruning.py", arguments=("--images", "100", "--layers", "6", "--rounds", "2")),
    "growth": Benchmark("growth.py", takes_device=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="the short forms: smoke tests, nothing is kept")
    parser.add_argument("--device", help="passed to those that take a device; the others are left out")
    parser.add_argument("--list", action="store_true", help="print the names and targets, and run nothing")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    chosen = {name: BENCHMARKS[name] for name in options.names or BENCHMARKS}
    if options.device:
        chosen = {name: benchmark for name, benchmark in chosen.items() if benchmark.takes_device}
    if options.quick:
        chosen = {name: benchmark for name, benchmark in chosen.items() if benchmark.quick}
    if options.list:
        for name, benchmark in chosen.items():
            targets = {**benchmark.at_most, **benchmark.at_least}
            print(f"{name:<16}" + ", ".join(f"{figure} {benchmark.target(figure)}" for figure in targets))
        return
    failed = [name for name in tqdm(chosen, unit="benchmark") if not run(name, options.quick, options.device)]
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}; the messages are above.")


def run(name: str, quick: bool, device: str | None) -> bool:
    """Run one script, print its figures, and keep them; False if it failed."""
    benchmark = BENCHMARKS[name]
    command = [sys.executable, str(ROOT / benchmark.script), *benchmark.arguments]
    command += ["--quick"] if quick else []
    command += ["--device", device] if device else []
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "figures.json"
        if subprocess.run(command, env=os.environ | {FILE: str(file)}).returncode:
            return False
        found = json.loads(file.read_text(encoding="utf-8"))
    path = HISTORY / f"{slug(found['processor'])}.jsonl"
    show(name, found["figures"], latest(path).get(name, {}))
    if not quick:
        keep(path, name, found)
        write_table()
    return True


def show(name: str, figures: dict[str, float], before: dict[str, float]) -> None:
    table = Table(title=name, title_justify="left")
    for column, justify in (("figure", "left"), ("ratio", "right"), ("target", "right"), ("before", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for figure, value in figures.items():
        table.add_row(figure, f"{value:.3f}", BENCHMARKS[name].target(figure), f"{before.get(figure, '')}")
    Console().print(table)


def keep(path: Path, name: str, found: dict) -> None:
    """Add a run to the history of its processor."""
    versions = {package: importlib.metadata.version(package) for package in ("torch", "transformers", "pillow")}
    row = {"date": datetime.date.today().isoformat(), "processor": found["processor"], **versions}
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**row, "benchmark": name, "figures": found["figures"]}) + "\n")


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def latest(path: Path) -> dict[str, dict[str, float]]:
    """The figures of the last run of each benchmark."""
    return {row["benchmark"]: row["figures"] for row in rows(path)}


def slug(processor: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", processor.lower()).strip("-")


def table() -> str:
    """Every benchmark's last figures, a column for each processor, as Markdown."""
    histories = {rows(path)[-1]["processor"]: latest(path) for path in sorted(HISTORY.glob("*.jsonl"))}
    if not histories:
        return "Nothing has been recorded yet."
    lines = [f"| benchmark | figure | target | {' | '.join(histories)} |", "|---|---|---|" + "---|" * len(histories)]
    for name, benchmark in BENCHMARKS.items():
        figures = dict.fromkeys(figure for last in histories.values() for figure in last.get(name, {}))
        for figure in figures:
            values = [last.get(name, {}).get(figure) for last in histories.values()]
            shown = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append(f"| {name} | {figure} | {benchmark.target(figure)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def write_table() -> None:
    """Put the table between the two marks of the README."""
    path = ROOT / "README.md"
    text = path.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
