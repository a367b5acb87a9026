# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a process leaves on disk if it is killed at any moment, and what a full disk does.

Between two things that a process does to files nothing on disk changes but what is being written. So a look at a
folder before each of them sees what every kill would leave, without a process for each.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.copyfile", "shutil.rmtree")
Snapshot = dict[str, bytes]
_watchers: list[Callable[[], None]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple) -> None:
    if _watchers and event in EVENTS:
        look = _watchers.pop()  # what it opens itself is not looked at
        look()
        _watchers.append(look)


def snapshot(folder: Path) -> Snapshot:
    """All files below a folder, by their paths."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.exists() else []
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def left_by_kills(folder: Path, action: Callable[[], object]) -> list[Snapshot]:
    """What would be left below a folder by kills at each moment of an action, and at its end, each thing once."""
    found: list[Snapshot] = []

    def look() -> None:
        now = snapshot(folder)
        if now not in found[-1:]:
            found.append(now)

    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    look()
    _watchers.append(look)
    try:
        action()
    finally:
        _watchers.clear()
    look()
    return found


def write(files: Snapshot, folder: Path) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@contextmanager
def a_disk_with_room_for(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
