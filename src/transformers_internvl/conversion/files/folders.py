# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A folder that is there whole or not at all.

Copying files of a checkpoint, and nothing that a link in it points at elsewhere on this machine.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def atomic_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Fill a hidden folder beside `folder`, which takes its name when the block ends well.

    After an error in the block nothing is left. A process that is killed leaves the hidden folder,
    `.<name>.partial-<process id>`, which nothing reads and a later run with that id makes anew.

    Args:
        folder: where the result goes; nothing may be there, or an empty folder.

    Yields:
        The folder to fill.

    Raises:
        FileExistsError: something is at `folder`, or has come there meanwhile.
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


__all__ = ["atomic_folder", "copy_file"]
