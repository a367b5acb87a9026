# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The fast part of the tests on the lowest or newest versions that `pyproject.toml` allows, or on those in between.

    python tests/versions.py --lowest
    python tests/versions.py --pinned --python python3.12
    python tests/versions.py --newest --python python3.13

Makes an environment of its own (8 GB with the CUDA build of PyTorch, which Linux gets from the index), prints what is
in it, and removes it at the end. `--lowest` installs every dependency at its floor; if floors contradict each other
or what the dependencies themselves ask for, pip says so, and they have to be raised. `--pinned` installs what
`constraints.txt` says, on a Python that the other runs do not have.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Every way into the libraries: reading, modeling, loading, saving, converting, a step of each kind of training.
FAST = (
    "tests/test_compatibility.py",
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


def floors() -> dict[str, str]:
    """Name to the lowest version that `pyproject.toml` allows, of what the tests need.

    Raises:
        ValueError: a requirement has no floor.
    """
    table = project()
    found = {}
    for line in [*table["dependencies"], *table["optional-dependencies"]["test"]]:
        match = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<\w+)?", line)
        if match is None:
            raise ValueError(f"{line!r} in pyproject.toml has no floor; write it as `name>=version`.")
        found[match[1]] = match[2]
    return found


def run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    end = parser.add_mutually_exclusive_group(required=True)
    end.add_argument("--lowest", action="store_true", help="every dependency at its floor")
    end.add_argument("--newest", action="store_true", help="every dependency as new as the index has it")
    end.add_argument("--pinned", action="store_true", help="the versions of constraints.txt")
    parser.add_argument("--python", default=sys.executable, help="the interpreter; this one if not given")
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    os.environ.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        run(options.python, "-m", "venv", folder)
        python = Path(folder, "bin", "python")
        run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
        exact = []
        if options.lowest:
            exact = [f"{name}=={version}" for name, version in floors().items()]
        elif options.pinned:
            exact = ["-c", "constraints.txt"]
        run(python, "-m", "pip", "install", "--quiet", "--no-cache-dir", "-e", ".[test]", *exact)
        run(python, "-m", "pip", "list")
        tests = [python, "-m", "pytest", "-n", "auto", "--dist", "loadfile", *FAST]
        return subprocess.run(tests, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
