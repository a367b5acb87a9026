# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Copying files of a checkpoint, and nothing that a link in it points at elsewhere on this machine."""

import shutil
from pathlib import Path


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


__all__ = ["copy_file"]
