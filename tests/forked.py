# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Processes that need no time to start: each is forked from a parent that has done the imports.

Importing torch and transformers takes seconds of CPU time. `TRANSFORMERS` has imported these two and never imports
this package; `PACKAGE` has imported this package, too. A parent starts with its first job and ends with the tests.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path


class Parent:
    """A process that has imported `modules`, in an environment with `changes`; None: the variable is not set."""

    def __init__(self, *modules: str, changes: Mapping[str, str | None] | None = None) -> None:
        self._modules = modules
        self._changes = changes or {}
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, code: str, *arguments: object, seconds: float = 300, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        """Run code as `python -W ignore -c` does, in an environment with changes.

        Raises:
            AssertionError: it failed; with what it wrote.
        """
        with tempfile.TemporaryDirectory() as scratch:
            out, err = Path(scratch, "out.txt"), Path(scratch, "err.txt")
            argv = ["-c", code, *map(str, arguments)]
            (status,) = self.start(argv, [(out, err, changes)], seconds)
            texts = [file.read_text(errors="replace") for file in (out, err)]
            done = subprocess.CompletedProcess(argv, status, *texts)
        assert status == 0, f"exit code {status}\n{done.stdout}{done.stderr}"
        return done

    def start(
        self,
        argv: Sequence[str],
        runs: Sequence[tuple[Path, Path, Mapping[str, str]]],
        seconds: float,
        folder: Path | None = None,
    ) -> list[int]:
        """Run `-c CODE` or `-m MODULE` in several processes at once; their exit codes.

        When one fails, or when time is over, all are killed.

        Args:
            argv: the mode, code or module, and arguments.
            runs: for each process the files for its output and its errors, and what its environment changes.
            seconds: how long they may take.
            folder: where they run, and what modules are first looked for in; the current folder if None.
        """
        merged = {**os.environ, **self._changes}
        common = {name: value for name, value in merged.items() if value is not None}
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__, *self._modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=common,
            )
        job = {"argv": argv, "cwd": str(folder or Path.cwd()), "seconds": seconds}
        job["runs"] = [[str(out), str(err), {**common, **changes}] for out, err, changes in runs]
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait()


_UPSTREAM = ["torch", "transformers.modeling_utils", "transformers.generation", "transformers.processing_utils"]
_UPSTREAM += ["transformers.models.internvl.modeling_internvl", "transformers.models.auto.modeling_auto"]
_OURS = ["transformers_internvl.modeling.internvl.model", "transformers_internvl.training.trainers.trainer"]
_OURS += ["transformers_internvl.training.data.dataset", "torch.distributed.tensor", "torch.distributed.fsdp"]
_OURS += ["torch.distributed.checkpoint.state_dict"]

_ONE_THREAD = {"OMP_NUM_THREADS": "1"}

TRANSFORMERS = Parent(*_UPSTREAM, changes=_ONE_THREAD)
PACKAGE = Parent(*_UPSTREAM, *_OURS, changes=_ONE_THREAD)


def _serve(modules: list[str]) -> None:
    """The parent: answers each job, a line of JSON, with a line of exit codes."""
    sys.path.pop(0)  # the folder of this file
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what was imported is no garbage: collections in the children leave it out
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        job = json.loads(line)
        children = {}
        for number, (out, err, environment) in enumerate(job["runs"]):
            child = os.fork()
            if child == 0:
                answers.close()
                _work(job["argv"], job["cwd"], (out, err), environment)
            children[child] = number
        answers.write(json.dumps(_wait(children, time.monotonic() + job["seconds"])) + "\n")
        answers.flush()


def _wait(children: dict[int, int], end: float) -> list[int]:
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children.keys() - codes.keys():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        if any(codes.values()) or time.monotonic() > end:
            for child in children.keys() - codes.keys():  # the others wait for the one that is gone
                os.kill(child, 9)
        time.sleep(0.01)
    return [codes[child] for child in children]


def _work(argv: list[str], folder: str, files: tuple[str, str], environment: dict[str, str]) -> None:
    """A child: never returns."""
    try:
        os.chdir(folder)
        sys.path.insert(0, folder)
        os.environ.clear()
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream, name in enumerate(files, start=1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), stream)
        mode, program, *arguments = argv
        sys.argv = [mode if mode == "-c" else program, *arguments]
        if mode == "-c":
            warnings.simplefilter("ignore")
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:  # as an interpreter ends
        error = sys.exc_info()[1]
        code = (error.code or 0) if isinstance(error, SystemExit) else int(error is not None)
        if not isinstance(code, int):
            code, error = 1, RuntimeError(code)
        if code and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])
