# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names that a user types: checkpoints, releases, dtypes and server addresses."""

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..hub.checkpoint_files import check_files
from .errors import UserError

OWNER = "OpenGVLab"  # of the released checkpoints


def checkpoint(name: str, *, adapters: bool = False) -> str:
    """Check that a name can be a checkpoint (a folder, a file, or a Hub id), and return it.

    Args:
        name: of the checkpoint.
        adapters: whether a folder with an adapter and no model is accepted.

    Raises:
        ValueError: it is neither; an adapter where a whole model is needed; or its settings cannot be read.
    """
    if os.path.isdir(name):
        check_files(name)
        if not adapters and is_adapter(name):
            raise ValueError(
                f"{name} holds an adapter and no model of its own: merge it into its base first, with "
                f"`internvl surgery merge-lora {name} NEW_FOLDER`, and give NEW_FOLDER."
            )
        return name
    if os.path.exists(name):
        return name
    release = find_release(name)
    if release is not None and "/" not in name:
        raise ValueError(f"There is no folder {name!r}, and a Hub id has an owner: did you mean {OWNER}/{release}?")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith((".", "-")):
        raise ValueError(f"There is no folder {name!r}, and it is no Hub id either (OWNER/NAME).")
    return name


@contextmanager
def hint_at_releases(name: str) -> Iterator[None]:
    """Add to the error of a name that was not found: that it is no folder, and similar names."""
    try:
        yield
    except UserError as error:
        if os.path.exists(name) or "There is no folder" in str(error):
            raise
        here = "" if "/" in name else f" There is no folder {name!r} either."
        meant = [] if find_release(name) is not None else _similar(name)
        question = f" Did you mean {' or '.join(meant)}?" if meant else ""
        raise UserError(f"{error}{here}{question}") from error


def is_adapter(folder: str) -> bool:
    """Whether a folder holds an adapter of peft and no model."""
    return Path(folder, "adapter_config.json").is_file() and not Path(folder, "config.json").is_file()


def find_release(name: str) -> str | None:
    """The released model of that name, in upper or lower case, with or without its owner; None: there is none."""
    return _releases().get(re.sub(rf"^{OWNER}/", "", name, flags=re.IGNORECASE).lower())


def _releases() -> dict[str, str]:
    """Lower-case name -> name of every released model."""
    from ..profiling.released import RELEASES

    return {release.lower(): release for release in RELEASES}


def _similar(name: str) -> list[str]:
    known = _releases()
    bare = name.lower().rpartition("/")[2]
    owner = f"{OWNER}/" if "/" in name else ""
    return [owner + known[match] for match in difflib.get_close_matches(bare, known, n=3, cutoff=0.75)]


def server_url(text: str) -> str:
    """The base URL of an OpenAI-compatible server: `http://` and `/v1` are added if missing.

    Raises:
        UserError: the text is no address.
    """
    url = text.strip() if "://" in text else f"http://{text.strip()}"
    match = re.fullmatch(r"(https?://[^/?#\s]+)(/[^?#\s]*)?", url)
    if match is None:
        raise UserError(f"the address of a server is like http://127.0.0.1:8000/v1, got {text!r}.")
    path = re.sub(r"/(chat/completions|models)/*$", "", match[2] or "").rstrip("/")
    return match[1] + (path or "/v1")


__all__ = ["checkpoint", "find_release", "hint_at_releases", "is_adapter", "server_url"]
