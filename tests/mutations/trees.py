# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A copy of the working tree in which one module is another, and test files that are run there in a forked process.

The parent has imported torch, transformers and pytest, but nothing of the package or of its tests, so that a fork
begins with them loaded and takes the package from the copy.
"""

import ast
import contextlib
import functools
import gc
import importlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from dataclasses import dataclass, field
from pathlib import Path

from .table import PACKAGE, ROOT, TESTS, tree_of

OURS = {"transformers_internvl", "internvl_cli", "tests", "lab", "benchmarks"}  # all of them import the package
NOT_LOADED = OURS | {"atheris", "deepspeed", "cosmic_ray"}
PASSED, NO_TESTS = 0, 5  # what pytest exits with


def load_libraries() -> None:
    """Import what the package and its tests import of other libraries, as far as it is there."""
    for path in [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")]:
        for node in ast.walk(tree_of(path)) if not {"golden", "stock"} & set(path.parts) else ():
            if isinstance(node, ast.Import):
                found = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
                found = [(node.module, alias.name) for alias in node.names]
            else:
                continue
            for module, name in found:
                if module.split(".")[0] not in NOT_LOADED:
                    load(module, name)
    gc.collect()
    gc.freeze()  # else the first collection in a fork would copy all of their memory


@functools.cache
def load(module: str, name: str) -> None:
    try:
        getattr(importlib.import_module(module), name or "__name__", None)
    except Exception:  # noqa: BLE001 (not installed, or not for this machine: the tests that import it see it)
        return


class Tree:
    """A copy of the working tree."""

    def __init__(self, folder: Path):
        self.folder, self.root = folder, folder / "tree"
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in filter(None, subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self.stamps = itertools.count(1_000_000_000)

    def put(self, module: str, source: str | None) -> None:
        """Write another source of a module; None writes its own."""
        path = self.root / "src/transformers_internvl" / f"{module}.py"
        if source is None:
            shutil.copy2(PACKAGE / f"{module}.py", path)
        else:
            path.write_text(source, encoding="utf-8")
            stamp = next(self.stamps)  # of no other: compiled files are told apart by seconds and size
            os.utime(path, (stamp, stamp))


@dataclass
class Run:
    """Test files in a forked process."""

    tree: Tree
    files: list[str]
    first: set[str] = field(default_factory=set)  # tests that come before the others
    left_out: set[str] = field(default_factory=set)
    trace: bool = False
    limit: float = 600.0
    memory: int = 12 << 30
    pid: int = 0
    started: float = 0.0
    code: int | None = None  # what pytest exited with; negative for a signal
    timed_out: bool = False

    @property
    def notes(self) -> Path:
        return self.tree.folder / "notes.json"

    @property
    def log(self) -> Path:
        return self.tree.folder / "log.txt"

    def start(self) -> None:
        self.notes.unlink(missing_ok=True)
        self.started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            try:
                os._exit(self._in_the_fork())
            finally:
                os._exit(70)

    def is_over(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - self.started > self.limit:
                self.timed_out = True
                self.stop()
                self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            if self.code is not None:
                self.stop()
        return self.code is not None

    def stop(self) -> None:
        """The process and those that it left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def result(self) -> dict:
        """What `Notes` wrote."""
        return json.loads(self.notes.read_text(encoding="utf-8")) if self.notes.exists() else {}

    def _in_the_fork(self) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))  # a mutant may want all there is
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        root = str(self.tree.root)
        os.chdir(root)
        os.environ["PYTHONPATH"] = os.pathsep.join([f"{root}/src", root])
        sys.path[:] = [
            f"{root}/src",
            root,
            *(path for path in sys.path if path not in ("", str(ROOT), str(ROOT / "src"))),
        ]
        sys.argv = ["pytest"]
        for name in [name for name in sys.modules if name.split(".")[0] in OURS]:
            del sys.modules[name]
        sys.modules["__main__"] = types.ModuleType("__main__")  # else spawned processes would import this command
        importlib.invalidate_caches()
        if not self.trace:  # what is compiled from a mutant is not kept
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        import pytest

        options = ["-q", "--rootdir", root, "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp"]
        arguments = [*options, str(self.tree.folder / "tmp"), *([] if self.trace else ["-x"])]
        return pytest.main([*arguments, *(f"tests/{name}" for name in self.files)], plugins=[Notes(self)])


class Notes:
    """A pytest plugin: it puts tests first, and notes which failed, which functions they entered, whether there were
    other processes, in which functions are entered unseen."""

    def __init__(self, run: Run):
        self.run, self.failed, self.entered, self.test = run, [], {}, "import"
        self.package = str(run.tree.root / "src/transformers_internvl") + os.sep
        self.known: dict[types.CodeType, str] = {}
        if run.trace:
            threading.setprofile(self.on_call)
            sys.setprofile(self.on_call)

    def on_call(self, frame, event, argument) -> None:
        if event == "call":
            code = frame.f_code
            name = self.known.get(code)
            if name is None:
                inside = code.co_filename.startswith(self.package)
                module = code.co_filename.removeprefix(self.package).removesuffix(".py")
                name = self.known[code] = f"{module}:{code.co_firstlineno}" if inside else ""
            if name:
                self.entered.setdefault(name, set()).add(self.test)

    def pytest_collection_modifyitems(self, items) -> None:
        if self.run.left_out:
            items[:] = [item for item in items if item.nodeid not in self.run.left_out]
        items.sort(key=lambda item: item.nodeid not in self.run.first)

    def pytest_runtest_protocol(self, item, nextitem) -> None:
        self.test = item.nodeid

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        sys.setprofile(None)
        noted = {
            "failed": self.failed,
            "entered": {name: sorted(tests) for name, tests in self.entered.items()},
            "has_processes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0,
        }
        self.run.notes.write_text(json.dumps(noted), encoding="utf-8")
