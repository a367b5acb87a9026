# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl parity`: the code that comes with a checkpoint and this package, side by side."""

import argparse
import os
import platform
import tempfile
from pathlib import Path

from .errors import UserError, user_errors
from .loading import log_errors_only, place
from .names import checkpoint


def run(arguments: argparse.Namespace) -> int:
    """Run both, print the table, and return 0 where they are equal and 1 where not."""
    if not arguments.run_remote_code:
        raise UserError(
            f"this runs the Python code of {arguments.checkpoint}, which others wrote, with all your rights, in an "
            "environment of its own. Read that code first, then give --run-remote-code."
        )
    from ..conversion.files.folders import local_folder

    log_errors_only()
    with user_errors(f"cannot compare {arguments.checkpoint}"):
        folder = local_folder(checkpoint(arguments.checkpoint), **_revision(arguments)).resolve()
        if arguments.python is None:
            from ..evaluation.parity import make_environment, requirements

            python = make_environment(requirements(folder), Path(arguments.environments or _cache()))
        else:
            python = Path(arguments.python)
        return _compare(arguments, folder, python)


def _revision(arguments: argparse.Namespace) -> dict[str, str]:
    return {} if arguments.revision is None else {"revision": arguments.revision}


def _cache() -> str:
    from huggingface_hub.constants import HF_HOME

    return os.path.join(HF_HOME, "internvl_parity")


def _compare(arguments: argparse.Namespace, folder: Path, python: Path) -> int:
    from importlib.metadata import version

    import numpy as np

    from ..evaluation.parity import compare, draw_cases, report, run_original, run_ours
    from ..evaluation.parity.ours import make_pixels

    device, dtype = place(arguments.device or "cpu", arguments.dtype)
    settings = {"device": str(device), "tokens": arguments.max_new_tokens}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        cases = draw_cases(work)
        pixels = make_pixels(folder, cases, work)
        told = run_original(python, work, folder, dtype=arguments.dtype, **settings)
        original = dict(np.load(work / "original.npz"))
        ours, answers = run_ours(folder, cases, {**pixels, **original}, dtype=dtype, **settings)
    compared = compare(cases, original, ours, pixels, dtype=arguments.dtype)
    facts = {
        "original": f"transformers {told['transformers']}, torch {told['torch']}, Python {told['python']}",
        "ours": f"transformers_internvl {version('transformers_internvl')}, transformers {version('transformers')}, "
        f"torch {version('torch')}, Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {device}, {arguments.dtype}, eager attention",
        "revision": arguments.revision or "as downloaded or on disk",
    }
    if not told["card"]:
        facts["pixels"] = "not compared: README.md of the checkpoint has no `load_image`; both sides got ours"
    print(report(arguments.checkpoint, facts, compared))
    for case, theirs, answer in zip(cases, told["answers"], answers, strict=True):
        if theirs != answer:
            print(f"\n{case.name}: the original answers {theirs!r}, ours {answer!r}")
    return 0 if all(row.equal for row in compared) else 1
