# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""An environment in which the code of a checkpoint runs: the versions that it asks for, with the torch of this one."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

DEFAULT = "4.37.2"
"""The transformers of checkpoints that name none; the released code of the 1.1 to 3 series asks for 4.37."""
# What the remote code and the model cards import beside transformers.
_BESIDE = ("einops", "timm", "sentencepiece", "torchvision")


def requirements(checkpoint: Path) -> list[str]:
    """What pip installs for a checkpoint: the transformers that its `config.json` names, and what its code imports.

    Raises:
        ValueError: `config.json` asks for a transformers that is no version.
    """
    path = checkpoint / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    named = (config.get("llm_config") or {}).get("transformers_version") or config.get("transformers_version")
    wanted = re.sub(r"\.dev\d*$", "", named or DEFAULT)
    if not re.fullmatch(r"\d+\.\d+(\.\d+)?(\.post\d+)?", wanted):
        raise ValueError(f"{path} asks for transformers {named!r}: prepare an environment, and give it with --python.")
    return [f"transformers=={wanted}", *_BESIDE]


def make_environment(wanted: list[str], root: Path) -> Path:
    """The Python of an environment with these packages. One that is there already is used again.

    It sees the packages of this environment behind its own, so torch is not installed a second time.

    Raises:
        ValueError: pip cannot install them; the message has its last lines.
    """
    torch = version("torch").split("+")[0]
    name = re.sub(r"[^\w.]+", "-", f"{wanted[0]}-torch-{torch}-python-{sysconfig.get_python_version()}")
    folder = root / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed.txt"
    if done.is_file() and done.read_text() == "\n".join(wanted):
        return python
    venv.create(folder, clear=True, with_pip=True)
    own = Path(_output([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    (own / "zz_torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "constraints.txt").write_text(f"torch=={torch}\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(folder / "constraints.txt"), *_builds()]
    done_process = subprocess.run([*pip, *wanted], capture_output=True, text=True, env=_plain())
    if done_process.returncode:
        raise ValueError(
            f"pip cannot install {' '.join(wanted)} with torch {torch} on Python {sys.version.split()[0]}. Prepare "
            f"an environment, and give it with --python. pip says: {_tail(done_process.stderr)}"
        )
    done.write_text("\n".join(wanted))
    return python


def run_original(
    python: Path, work: Path, checkpoint: Path, *, dtype: str, device: str, tokens: int
) -> dict[str, Any]:
    """Run the code of a checkpoint by another Python: versions and answers of `original.json`.

    Raises:
        ValueError: it fails; the message has its last lines.
    """
    script = Path(__file__).with_name("original.py")
    command = [str(python), str(script), str(work), str(checkpoint), dtype, device, str(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, env=_plain())
    if done.returncode:
        raise ValueError(f"The code of {checkpoint} fails under {python}: {_tail(done.stderr)}")
    return json.loads((work / "original.json").read_text(encoding="utf-8"))


def _builds() -> list[str]:
    """Where pip finds the torchvision of this build of torch, such as that for CPUs."""
    build = version("torch").partition("+")[2]
    return ["--extra-index-url", f"https://download.pytorch.org/whl/{build}"] if build else []


def _plain() -> dict[str, str]:
    """This process's environment, without what points Python at this package."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=_plain()).stdout


def _tail(text: str, lines: int = 6) -> str:
    return " | ".join(line[:200] for line in text.strip().splitlines()[-lines:])


__all__ = ["DEFAULT", "make_environment", "requirements", "run_original"]
