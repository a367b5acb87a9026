# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Run upstream transformers' own suites on our classes and, with `--long`, on upstream's, and compare.

    python tests/stock/run.py [folder of an unpacked sdist's tests/] [--suite NAME ...] [--long]

The suites are taken from the source distribution of the installed transformers, fetched from the package index into a
temporary folder; `overlay/` adds what the distribution lacks, and a driver for each row of `suites.py`. Exit status 0:
every test passes on our classes, except those that `not_passed.txt` lists with the reason.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from suites import SUITES, Suite

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.forked import Parent  # noqa: E402

AT_ONCE = 2
LIMIT_S = 1800  # of one suite on one side, perhaps beside the tests


@dataclass(frozen=True)
class Side:
    """A suite on upstream's classes or on ours."""

    suite: Suite
    package: str
    classes: tuple[str, ...]

    def resolvable(self) -> str:
        """The classes as `module:Name`, with spaces between."""
        return " ".join(name if ":" in name else f"{self.package}:{name}" for name in self.classes)


@dataclass(frozen=True)
class Result:
    """Outcomes: test -> `passed`, `skipped: why` or `failed: why`."""

    outcomes: dict[str, str]
    report: str
    seconds: float

    def counts(self) -> list[int]:
        found = Counter(outcome.partition(":")[0] for outcome in self.outcomes.values())
        return [found[outcome] for outcome in ("passed", "skipped", "failed")]


@dataclass(frozen=True)
class Row:
    """A line of `not_passed.txt`: patterns of suites, tests and outcomes, and the reason."""

    suites: str
    tests: str
    outcomes: str
    why: str

    def allows(self, suite: str, test: str, outcome: str) -> bool:
        pairs = ((suite, self.suites), (test, self.tests), (outcome, self.outcomes))
        return all(fnmatchcase(value, pattern) for value, pattern in pairs)


def fetch(into: Path) -> Path:
    """The `tests` folder of the installed release's source distribution."""
    release = version("transformers")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(into), f"transformers=={release}"], check=True)
    (archive,) = into.glob("transformers-*.tar.gz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if "/tests/" in member.name]
        tar.extractall(into, members=members, filter="data")
    return into / f"transformers-{release}" / "tests"


def run(folder: Path, side: Side) -> Result:
    """One suite on one side, in a process of its own."""
    began = time.monotonic()
    golden = Path(os.environ.get("INTERNVL_GOLDEN", HERE.parent / "golden")).resolve()
    environment = {"STOCK_SUITE_CLASSES": side.resolvable(), "INTERNVL_GOLDEN": str(golden)}
    log, record = (folder / f"{side.package}-{side.suite.name}.{kind}" for kind in ("txt", "xml"))
    command = ["-m", "pytest", f"tests/internvl/{side.suite.driver}", "-q", "--disable-warnings"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull, f"--junitxml={record}"]
    (status,) = _parent(side.package).start(command, [(log, log, environment)], LIMIT_S, folder)
    outcomes = _outcomes(record) if record.exists() else {}
    failed = any(outcome.startswith("failed") for outcome in outcomes.values())
    if status != failed:  # 0: all passed, 1: some did not, others: pytest itself went wrong
        outcomes["pytest"] = f"failed: its exit status is {status}"
    return Result(outcomes, log.read_text(errors="replace"), time.monotonic() - began)


_PARENTS = threading.local()  # one that has imported a package, for each suite that runs at the same time


def _parent(package: str) -> Parent:
    modules = ("torch", "transformers.modeling_utils", "transformers.generation", "pytest", package)
    if not hasattr(_PARENTS, package):
        setattr(_PARENTS, package, Parent(*modules))
    return getattr(_PARENTS, package)


def _outcomes(record: Path) -> dict[str, str]:
    """The outcome of every test in a file of pytest's; of several (a test and its subtests) the worst."""
    kinds = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(record).iter("testcase"):
        marks = [f"{kinds[mark.tag]}: {_why(mark)}" for mark in case if mark.tag in kinds]
        test = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        outcomes[test] = min([*marks, outcomes.get(test, "passed")], key=_severity)
    return outcomes


def _why(mark: ElementTree.Element) -> str:
    """The message; of a failure the report, too, as pytest may shorten the message."""
    return mark.get("message", "") + ("" if mark.tag == "skipped" else f"\n{mark.text}")


def _severity(outcome: str) -> int:
    return ("failed", "skipped", "passed").index(outcome.partition(":")[0])


def listed() -> list[Row]:
    lines = (HERE / "not_passed.txt").read_text(encoding="utf-8").splitlines()
    return [Row(*(cell.strip() for cell in line.split("|"))) for line in lines if line and not line.startswith("#")]


def compare(suite: Suite, ours: Result, stock: Result | None, rows: list[Row]) -> list[str]:
    """Print the suite's lines of the table; return what is wrong."""
    for side, result in (("stock", stock), ("ours", ours)):
        if result is not None:
            print(f"{suite.name:28}{side:6}" + "".join(f"{n:9}" for n in result.counts()) + f"{result.seconds:9.0f}")
    passed = [test for test, outcome in stock.outcomes.items() if outcome == "passed"] if stock else []
    outcomes = {**dict.fromkeys(passed, "missing"), **ours.outcomes}
    print("".join(f"    passes on stock's only: {test}\n" for test in passed if outcomes[test] != "passed"), end="")
    wrong = [
        f"{suite.name} | {test} | {outcome.partition(chr(10))[0]}"
        for test, outcome in outcomes.items()
        if outcome != "passed" and not any(row.allows(suite.name, test, outcome) for row in rows)
    ]
    if not ours.counts()[0]:
        wrong.append(f"{suite.name} | * | nothing passed")
    if wrong:
        print(ours.report, flush=True)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="?", type=Path, help="an unpacked sdist's tests/; fetched if not given")
    parser.add_argument("--suite", nargs="+", choices=[suite.name for suite in SUITES], help="only these")
    parser.add_argument("--long", action="store_true", help="the long ones, too, and stock's classes")
    arguments = parser.parse_args()
    chosen = [
        suite
        for suite in SUITES
        if (suite.name in arguments.suite if arguments.suite else arguments.long or not suite.long)
    ]
    ours = {suite: Side(suite, "transformers_internvl", suite.ours) for suite in chosen}
    compared = [suite for suite in chosen if suite.stock and arguments.long]
    stock = {suite: Side(suite, "transformers", suite.stock) for suite in compared}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(scratch) / "run"
        shutil.copytree(arguments.tests or fetch(Path(scratch) / "sdist"), folder / "tests")
        shutil.copytree(HERE / "overlay", folder, dirs_exist_ok=True)
        sides = [side for suite in chosen for side in (stock.get(suite), ours[suite]) if side]
        running = {side: pool.submit(run, folder, side) for side in sides}
        rows, wrong = listed(), []
        print(f"{'suite':28}{'on':6}   passed  skipped   failed  seconds")
        for suite in chosen:
            peer = running[stock[suite]].result() if suite in stock else None
            wrong += compare(suite, running[ours[suite]].result(), peer, rows)
    print(*wrong, "ours do not pass stock's suites" if wrong else "ours pass stock's suites", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
