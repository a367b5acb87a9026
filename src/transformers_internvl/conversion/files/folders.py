# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Folders and small files of a checkpoint: found, read, copied, and written whole or not at all.

`atomic_folder` begins again after an error, `resumable_folder` goes on where a run that was killed has stopped.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from huggingface_hub import snapshot_download
from safetensors import SafetensorError

CONFIG = "config.json"
MANIFEST, LOCK = "conversion.json", ".lock"  # of a resumable folder
DRAFT = ".draft"  # how the name of a file ends that is being written


def local_folder(name_or_path: str | os.PathLike, **hub_options: Any) -> Path:
    """A checkpoint's folder on this machine; a Hub id is downloaded first.

    Args:
        name_or_path: folder or Hub id.
        hub_options: `revision`, `token`, `cache_dir`, ... of `snapshot_download`.

    Raises:
        OSError: it is neither.
    """
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    name = os.fspath(name_or_path)
    if isinstance(name_or_path, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise OSError(f"There is no folder {name!r}, and it is no Hub id.")
    return Path(snapshot_download(name, **hub_options))


# --- json files ------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """The content of a json file; empty if there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_json(path: Path, content: dict[str, Any], sort_keys: bool = False) -> None:
    """Write a json file as transformers does, by [`write_whole`]."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=sort_keys) + "\n")


def write_whole(path: Path, content: str | bytes, *, shared: bool = False, sync: bool = True) -> None:
    """Write a file so that a process, or a machine, that ends in the middle leaves the former file.

    Args:
        path: the file; its folder is created.
        content: text, which becomes UTF-8, or bytes.
        shared: whether other processes may write the same file at the same time.
        sync: wait until the disk holds it. Without, a machine that loses power may leave a damaged file.

    Raises:
        OSError: it cannot be written.
    """
    own = f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}" if shared else f"{path.name}{DRAFT}"
    draft = path.with_name(own)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(draft, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, f"{path} cannot be written: {error.strerror or error}") from error


# --- folders ---------------------------------------------------------------------------------------------------------


@contextmanager
def atomic_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Fill a hidden folder beside `folder`, which takes its name when the block ends well.

    After an error in the block nothing is left. A process that is killed leaves the hidden folder,
    `.<name>.partial-<process id>`, which nothing reads and a later run with that id replaces.

    Args:
        folder: where the result goes; nothing may be there, or an empty folder.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: `folder` exists, or was created in the meantime.
        OSError: a file cannot be written, such as on a full disk.
    """
    folder = Path(os.path.abspath(folder))
    _require_free(folder)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            os.rename(partial, folder)  # fails where a file has come into `folder` since
        except OSError:
            _require_free(folder)
            raise
    except SafetensorError as error:
        if str(error).startswith("Error while serializing"):  # else a file that is read is damaged
            raise OSError(f"{folder} cannot be written: {error}") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_free(folder: Path) -> None:
    """Raise `FileExistsError` if something is there that would be overwritten."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already: name a new folder, or take that one away.")


def require_replaceable(target: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` if something is at `target` that may not be replaced."""
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists: choose another folder, or let it be replaced (`overwrite`).")


@contextmanager
def resumable_folder(target: Path, overwrite: bool = False) -> Iterator[Path]:
    """Fill `<target>.partial`, which takes the target's name when the block ends well, and stays otherwise.

    Args:
        target: where the result goes.
        overwrite: replace what is there.

    Yields:
        The folder to fill, which may hold files of an earlier run: see [`FinishedFiles`].

    Raises:
        FileExistsError: `target` exists, or was created in the meantime.
        OSError: another run is at work on this target.
    """
    partial = target.with_name(target.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    lock = FileLock(partial / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OSError(f"Another conversion is at work in {partial}: wait for it, or choose another target.") from error
    try:
        require_replaceable(target, overwrite)  # another run may have ended since
        yield partial
        require_replaceable(target, overwrite)
        _put_in_place(partial, target)
    finally:
        lock.release()


def _put_in_place(partial: Path, target: Path) -> None:
    """Make the working folder the target; an old one stands aside until the new one is in its place."""
    (partial / MANIFEST).unlink(missing_ok=True)
    (partial / LOCK).unlink()
    aside = target.with_name(target.name + ".replaced")
    if aside.exists():
        shutil.rmtree(aside)
    if target.exists():
        os.replace(target, aside)
    os.replace(partial, target)
    if aside.exists():
        shutil.rmtree(aside)


class FinishedFiles:
    """The files of a resumable folder that a run of the same job has finished, and that have not changed since.

    What another job has left in the folder is removed.

    Args:
        folder: the folder.
        job: what distinguishes this job from another.
    """

    def __init__(self, folder: Path, job: str):
        self.folder, self.job = folder, job
        try:
            manifest = read_json(folder / MANIFEST)
        except ValueError:  # damaged, by a machine that lost its power say
            manifest = {}
        same = manifest.get("job") == job
        self._stamps: dict[str, list[int]] = dict(manifest["done"]) if same else {}
        if not same:
            for path in folder.iterdir():
                if path.name != LOCK:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            self._note()

    def __contains__(self, name: str) -> bool:
        path = self.folder / name
        return name in self._stamps and path.is_file() and stamp_of(path) == self._stamps[name]

    def add(self, name: str) -> None:
        """Note that a file is complete."""
        self._stamps[name] = stamp_of(self.folder / name)
        self._note()

    def _note(self) -> None:
        write_json(self.folder / MANIFEST, {"job": self.job, "done": self._stamps}, sort_keys=True)


def stamp_of(path: Path) -> list[int]:
    """Size and time of change of a file; a file that was touched since has another one."""
    state = path.stat()
    return [state.st_size, state.st_mtime_ns]


def copy_file(folder: Path, inside: str | Path, target: Path) -> None:
    """Copy `folder / inside` to the file `target`.

    Links may stay in the folder, or lead to the blobs beside a snapshot, where the cache of the Hub keeps what it
    fetched. Others would put a file of the reader, a key say, into a checkpoint that is given away.

    Raises:
        ValueError: the file is a link that leaves the folder.
    """
    path, root = folder / inside, folder.resolve()
    real = path.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    if not (real.is_relative_to(root) or real.is_relative_to(blobs)):
        raise ValueError(
            f"{path} is a link to {real}, outside of the checkpoint: it is not copied. Put the file itself into its "
            "place, or take the link away."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(real, target)


__all__ = [
    "CONFIG",
    "DRAFT",
    "FinishedFiles",
    "atomic_folder",
    "copy_file",
    "local_folder",
    "read_json",
    "require_replaceable",
    "resumable_folder",
    "stamp_of",
    "write_json",
    "write_whole",
]
