# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The fast part of the tests on the lowest versions that `pyproject.toml` allows, on the newest, or in between.

    python tests/versions.py --lowest
    python tests/versions.py --pinned --python python3.12
    python tests/versions.py --allowed --python python3.13
    python tests/versions.py --newest
    python tests/versions.py --newest --pre --torch 2.13.0

`--lowest` installs every dependency at its floor; if floors contradict each other or what the dependencies themselves
ask for, pip says so, and they have to be raised. `--pinned` installs what `constraints.txt` says, on a Python that the
other runs do not have. `--allowed` is what `pip install` gives a user: the newest within the ranges.

`--newest` looks beyond them: the newest transformers, torch, peft, accelerate and huggingface-hub that are published,
with `--pre` pre-releases of these, too, whatever `pyproject.toml` says of their upper ends. It prints what became of
the arguments that we rely on, and which tests fail: what to mend before the ranges are widened.

Each makes an environment of its own (8 GB with the CUDA build of PyTorch, which Linux gets from the index; `--torch`
takes one version of it), prints what is in it, and removes it at the end.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
# Every way into the libraries: reading, modeling, loading, saving, converting, a step of each kind of training.
FAST = (
    "tests/test_compatibility.py",
    "tests/test_signatures.py",
    "tests/test_registry.py",
    "tests/test_loading.py",
    "tests/modeling",
    "tests/processing",
    "tests/conversion/test_convert.py",
    "tests/conversion/test_operations.py",
    "tests/training/test_trainer.py",
    "tests/training/test_lora.py",
    "tests/training/test_mpo.py",
    "tests/training/test_footprint.py",
    "tests/parity/test_chat_models.py",
    "tests/parity/test_internvl_14b.py",
)


def project() -> dict:
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]


class Range(NamedTuple):
    """Versions that `pyproject.toml` allows of a package; `highest` is allowed itself, None: no end."""

    lowest: str
    highest: str | None


def ranges() -> dict[str, Range]:
    """Name to range, of what the tests need.

    Raises:
        ValueError: a requirement has no floor.
    """
    table = project()
    found = {}
    for line in [*table["dependencies"], *table["optional-dependencies"]["test"]]:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,<=([\w.]+))?", line)
        if match is None:
            raise ValueError(f"{line!r} in pyproject.toml has no floor; write it as `name>=version[,<=version]`.")
        found[match[1]] = Range(match[2], match[3])
    return found


def requirements(options: argparse.Namespace) -> list[str]:
    """What pip is asked for, beside this package or, beyond its ranges, in its place."""
    torch = [f"torch=={options.torch}"] if options.torch else []
    wanted = {name: found for name, found in ranges().items() if name != "torch" or not torch}
    if options.lowest:
        return [f"{name}=={found.lowest}" for name, found in wanted.items()] + torch
    if options.pinned:
        return ["-c", "constraints.txt", *torch]
    if options.newest:
        # A floor that is a pre-release lets pip take others of that package, and of no more packages than these.
        early = {name: ".dev0" if options.pre and found.highest else "" for name, found in wanted.items()}
        return [f"{name}>={found.lowest}{early[name]}" for name, found in wanted.items()] + torch
    return torch


def run(*command: str | Path, check: bool = True) -> int:
    return subprocess.run(command, cwd=ROOT, check=check).returncode


def install(python: Path, options: argparse.Namespace) -> None:
    """Put what is asked for, and this package, into the environment."""
    pip = (python, "-m", "pip", "install", "--quiet")
    run(*pip, "--upgrade", "pip")
    wanted = requirements(options)
    if options.newest:
        run(*pip, "--no-cache-dir", *wanted)
        run(*pip, "--no-deps", "-e", ".")  # its ranges would hold them back
    else:
        run(*pip, "--no-cache-dir", "-e", ".[test]", *wanted)
    run(python, "-m", "pip", "list")


def not_passed(record: Path) -> list[str]:
    """Tests of a file of pytest's that failed, with the first line that says why."""
    if not record.exists():
        return ["pytest itself ended without a report"]
    found = []
    for case in ElementTree.parse(record).iter("testcase"):
        for mark in case:
            if mark.tag in ("failure", "error"):
                why = (mark.get("message") or "").partition("\n")[0]
                found.append(f"{case.get('classname')}::{case.get('name')}: {why:.200}")
    return found


def resolved(python: Path) -> list[str]:
    """Versions of the libraries that have an upper end, and that end."""
    names = [name for name, found in ranges().items() if found.highest is not None]
    code = f"from importlib.metadata import version\nprint(*map(version, {names}))"
    now = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    pairs = zip(names, now, strict=True)
    return [f"{name} {version} (allowed: up to {ranges()[name].highest})" for name, version in pairs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    end = parser.add_mutually_exclusive_group(required=True)
    end.add_argument("--lowest", action="store_true", help="every dependency at its floor")
    end.add_argument("--allowed", action="store_true", help="every dependency as new as the ranges allow")
    end.add_argument("--newest", action="store_true", help="every dependency as new as the index has it")
    end.add_argument("--pinned", action="store_true", help="the versions of constraints.txt")
    parser.add_argument(
        "--pre", action="store_true", help="with --newest: pre-releases of the libraries with an upper end, too"
    )
    parser.add_argument("--torch", metavar="VERSION", help="this version of torch, not the one it would be")
    parser.add_argument("--python", default=sys.executable, help="the interpreter; this one if not given")
    parser.add_argument("--tests", nargs="+", default=FAST, help="files, in place of the fast part")
    options = parser.parse_args()
    if options.pre and not options.newest:
        parser.error("--pre goes with --newest")
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    os.environ.pop("PYTHONPATH", None)
    if options.newest:  # that versions are new is known here; some tests ask for silence
        os.environ["PYTHONWARNINGS"] = "ignore:transformers_internvl:UserWarning"
    with tempfile.TemporaryDirectory() as folder:
        run(options.python, "-m", "venv", folder)
        python, record = Path(folder, "bin", "python"), Path(folder, "record.xml")
        install(python, options)
        changed = run(python, "-m", "tests.signatures", check=False)
        pytest = (python, "-m", "pytest", "-n", "auto", "--dist", "loadfile", f"--junitxml={record}")
        failed = run(*pytest, *options.tests, check=False)
        print("", "== versions", *resolved(python), sep="\n")
        print("== arguments of transformers", "changed, see above" if changed else "as recorded", sep="\n")
        print("== tests", *(not_passed(record) if failed else ["all passed"]), sep="\n")
    return bool(changed or failed)


if __name__ == "__main__":
    sys.exit(main())
