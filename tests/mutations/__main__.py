# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How many changes of the source do the tests find?

`python -m tests.mutations --modules 'training/*' --sample 100 --seed 1` draws 100 places of those modules, changes
each once (cosmic-ray's operators and those of `operators.py`; needs `pip install cosmic-ray`, the extra `mutations`),
and runs the test files that belong to the module (`table.py`) on each change, until one fails. Printed are those that
no test sees, and the share of those that were seen. A copy of the working tree is changed, not the tree itself.
"""

import argparse
import ast
import collections
import difflib
import fnmatch
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from .table import PACKAGE, belonging, modules, tree_of

# As in tests/conftest.py, for what is loaded before it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


@dataclass
class Baseline:
    """What a test file does without a mutation."""

    seconds: float = 0.0
    failed: set[str] = field(default_factory=set)  # tests that fail as it is, and so say nothing
    entered: dict[str, list[str]] = field(default_factory=dict)  # `training/mpo:42`, a function -> tests that enter it
    has_processes: bool = False


@dataclass
class Mutant:
    module: str
    line: int
    operator: str
    source: str
    end: str = ""  # killed, timeout, survived
    by: str = ""  # the test that failed
    seconds: float = 0.0

    def diff(self) -> str:
        before = (PACKAGE / f"{self.module}.py").read_text(encoding="utf-8").splitlines()
        lines = difflib.unified_diff(before, self.source.splitlines(), n=0, lineterm="")
        changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        return "\n".join([f"src/transformers_internvl/{self.module}.py:{self.line} ({self.operator})", *changed])


def drawn_mutants(chosen: list[str], sample: int | None, seed: int) -> list[Mutant]:
    from .operators import check_examples, draw, operators, places_of

    check_examples()
    sources = {module: (PACKAGE / f"{module}.py").read_text(encoding="utf-8") for module in chosen}
    everywhere = operators()
    places = [place for module in chosen for place in places_of(module, sources[module], everywhere)]
    drawn = random.Random(seed)
    drawn.shuffle(places)
    print(f"{len(places)} places in {len(chosen)} modules", flush=True)
    found = []
    for place in places:
        if sample is not None and len(found) == sample:
            break
        mutation = draw(place, sources[place.module], drawn)
        if mutation is not None:
            found.append(Mutant(place.module, place.start[0], mutation[0], mutation[1]))
    return sorted(found, key=lambda mutant: (mutant.module, mutant.line))


def function_at(module: str, line: int) -> str | None:
    """The innermost function around a line, as `Baseline.entered` names it; None for the module's own lines.

    A line of a function's head, defaults and decorators, runs when the module is imported.
    """
    found = None
    for node in ast.walk(tree_of(PACKAGE / f"{module}.py")):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.body[0].lineno <= line <= node.end_lineno:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found = max(found or 0, first)
    return None if found is None else f"{module}:{found}"


def tests_of(mutant: Mutant, file: str, baseline: Baseline) -> set[str] | None:
    """The tests of a file that enter the function, which come first; None if none does, nor other processes may."""
    function = function_at(mutant.module, mutant.line)
    entered = set(baseline.entered.get(function, ())) if function else {"import"}
    return entered - {"import"} if entered or baseline.has_processes else None


class Workers:
    """Runs in forked processes, one in each copy of the tree at a time."""

    def __init__(self, trees: list, memory: int):
        self.free, self.memory = list(trees), memory

    def run(self, tasks: list, begin, end) -> None:
        """`begin(tree, task)` gives the run of a task, `end(task, run)` gets it when it is over."""
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread beside the forks
        waiting, running = collections.deque(tasks), []
        try:
            with tqdm(total=len(tasks), smoothing=0, mininterval=1) as bar:
                while waiting or running:
                    while waiting and self.free:
                        tree, task = self.free.pop(), waiting.popleft()
                        run = begin(tree, task)
                        run.memory = self.memory
                        run.start()
                        running.append((task, run))
                    for task, run in [pair for pair in running if pair[1].is_over()]:
                        running.remove((task, run))
                        self.free.append(run.tree)
                        end(task, run)
                        bar.update()
                    time.sleep(0.02)
        finally:
            for _, run in running:
                run.stop()


def baselines_of(files: list[str], workers: Workers) -> dict[str, Baseline]:
    from .trees import Run

    found = {}

    def end(file: str, run: Run) -> None:
        noted = run.result()
        seconds = time.monotonic() - run.started
        if not noted or run.code not in (0, 1, 5):
            text = run.log.read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"tests/{file} does not run to its end without a mutation:\n{text[-4000:]}")
        found[file] = Baseline(seconds, set(noted["failed"]), noted["entered"], noted["has_processes"])
        if noted["failed"]:
            print(f"left out, since they fail without a mutation: {', '.join(noted['failed'])}", flush=True)

    workers.run(files, lambda tree, file: Run(tree, [file], trace=True), end)
    return found


def run_mutants(mutants: list[Mutant], depth: int | None, workers: Workers, note) -> None:
    """Run the first test file of each mutant, on those that survive it the second, and so on."""
    from .trees import NO_TESTS, PASSED, Run

    baselines: dict[str, Baseline] = {}

    def begin(tree, task: tuple[Mutant, str]) -> Run:
        mutant, file = task
        baseline = baselines[file]
        tree.put(mutant.module, mutant.source)
        first = tests_of(mutant, file, baseline) or set()
        return Run(tree, [file], first, baseline.failed, limit=60 + 4 * baseline.seconds)

    def end(task: tuple[Mutant, str], run: Run) -> None:
        mutant, _ = task
        run.tree.put(mutant.module, None)
        mutant.seconds += round(time.monotonic() - run.started, 1)
        if run.code not in (PASSED, NO_TESTS):
            mutant.end = "timeout" if run.timed_out else "killed"
            mutant.by = ", ".join(run.result().get("failed", [])[:1])
            note(mutant)

    for at in itertools.count():
        alive = [mutant for mutant in mutants if not mutant.end]
        tasks = [(mutant, belonging(mutant.module)[at]) for mutant in alive if at < len(belonging(mutant.module))]
        if not tasks or at == depth:
            break
        new = {file: None for _, file in tasks if file not in baselines}
        print(f"round {at + 1}: {len(alive)} mutants; first {len(new)} test files without one", flush=True)
        baselines |= baselines_of(list(new), workers)
        workers.run([task for task in tasks if tests_of(*task, baselines[task[1]]) is not None], begin, end)
    for mutant in mutants:
        if not mutant.end:
            mutant.end = "survived"
            note(mutant)


def report(mutants: list[Mutant]) -> None:
    by_part = collections.defaultdict(collections.Counter)
    for mutant in mutants:
        part = mutant.module.split("/")[0] if "/" in mutant.module else "(the package's own)"
        for key in (part, "all"):
            by_part[key][mutant.end] += 1
    print(f"{'':22}{'mutants':>9}{'found':>7}{'of them by the time':>21}{'survived':>10}{'share found':>13}")
    for part in [*sorted(set(by_part) - {"all"}), "all"]:
        ends = by_part[part]
        total = sum(ends.values())
        seen = total - ends["survived"]
        print(f"{part:22}{total:9}{seen:7}{ends['timeout']:21}{ends['survived']:10}{seen / max(total, 1):13.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--modules", nargs="+", default=["*"], help="patterns of paths below the package, without .py")
    parser.add_argument("--sample", type=int, help="how many places are changed; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants that are tried at a time")
    parser.add_argument("--depth", type=int, help="how many of a module's test files are run; default: all")
    parser.add_argument("--memory", type=float, default=12, help="GiB that a run of tests may take")
    parser.add_argument("--list", action="store_true", help="print the mutants, and run nothing")
    parser.add_argument("--list-survivors", type=Path, metavar="FILE", help="print the survivors of an earlier --out")
    parser.add_argument("--out", type=Path, help="a file to which each result is written, a line of JSON each")
    arguments = parser.parse_args()
    if arguments.list_survivors:
        earlier = [json.loads(line) for line in arguments.list_survivors.read_text(encoding="utf-8").splitlines()]
        print("\n\n".join(result["diff"] for result in earlier if result["end"] == "survived"))
        return
    chosen = [name for name in modules() if any(fnmatch.fnmatch(name, pattern) for pattern in arguments.modules)]
    if not chosen:
        parser.error(f"no module is called {' or '.join(arguments.modules)}; they are called such as `training/mpo`.")
    try:
        import cosmic_ray  # noqa: F401
    except ImportError:
        parser.exit(2, "This command needs cosmic-ray, which makes the mutants: `pip install cosmic-ray`.\n")
    mutants = drawn_mutants(chosen, arguments.sample, arguments.seed)
    if arguments.list:
        print("\n\n".join(mutant.diff() for mutant in mutants))
        return
    survivors = run_all(mutants, arguments)
    print(f"\n{len(survivors)} survivors:\n" if survivors else "\nNo survivors.\n")
    print("\n\n".join(mutant.diff() for mutant in survivors) + "\n")
    report(mutants)


def run_all(mutants: list[Mutant], arguments) -> list[Mutant]:
    from .trees import Tree, load_libraries

    load_libraries()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(1)
    )  # the forks have sessions of their own, and end with this one
    folder = Path(tempfile.mkdtemp(prefix="mutations-"))
    out = arguments.out.open("w", encoding="utf-8") if arguments.out else None

    def note(mutant: Mutant) -> None:
        if mutant.end == "survived":
            print(f"\nsurvived: {mutant.diff()}", flush=True)
        if out:
            named = {name: getattr(mutant, name) for name in ("module", "line", "operator", "end", "by", "seconds")}
            out.write(json.dumps(named | {"diff": mutant.diff()}) + "\n")
            out.flush()

    try:
        trees = [Tree(folder / str(job)) for job in range(arguments.jobs)]
        workers = Workers(trees, int(arguments.memory * 2**30))
        run_mutants(mutants, arguments.depth, workers, note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if out:
            out.close()
    return [mutant for mutant in mutants if mutant.end == "survived"]


if __name__ == "__main__":
    sys.exit(main())
