# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Run stock transformers' own model suite on stock's InternVL classes and on ours, and compare.

    python tests/stock/run.py [folder with an unpacked sdist's tests/]

The suite is taken from the source distribution of the installed transformers, fetched from the package index into a
temporary folder; `overlay/` adds what the distribution lacks. Exit status 0: ours fail nowhere and skip no more than
stock's own.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent


def fetch(into: Path) -> Path:
    """The `tests` folder of the installed release's source distribution."""
    release = version("transformers")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--dest",
        str(into),
    ]
    subprocess.run([*command, f"transformers=={release}"], check=True)
    (archive,) = into.glob("transformers-*.tar.gz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if "/tests/" in member.name]
        tar.extractall(into, members=members, filter="data")
    return into / f"transformers-{release}" / "tests"


def run(folder: Path, classes: str) -> tuple[dict[str, int], str]:
    """Counts by outcome, and the report, of the suite on the classes of a module."""
    environment = {**os.environ, "STOCK_SUITE_CLASSES": classes, "TRANSFORMERS_VERBOSITY": "error"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/internvl",
        "-q",
        "-rsf",
        "-W",
        "ignore",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--rootdir", str(folder), "-c", os.devnull]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    report = done.stdout + done.stderr
    last = report.strip().splitlines()[-1] if report.strip() else ""
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", last)}
    return {"passed": 0, "failed": 0, "skipped": 0, **counts}, report


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        suite = Path(arguments[0]) if arguments else fetch(Path(scratch) / "sdist")
        folder = Path(scratch) / "run"
        shutil.copytree(suite, folder / "tests")
        shutil.copytree(HERE / "overlay", folder, dirs_exist_ok=True)
        results = {}
        both = ("transformers", "transformers_internvl")
        with ThreadPoolExecutor() as pool:
            outcomes = list(pool.map(partial(run, folder), both))
        for classes, (counts, report) in zip(both, outcomes, strict=True):
            results[classes] = counts
            print(classes, results[classes], flush=True)
            if results[classes]["failed"] or "error" in str(results[classes]) or not results[classes]["passed"]:
                print(report)
    stock, ours = results["transformers"], results["transformers_internvl"]
    good = not ours["failed"] and ours["skipped"] <= stock["skipped"] and ours["passed"] >= stock["passed"] > 0
    print("ours pass stock's suite" if good else "ours do not pass stock's suite")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
