# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where on the Hub a file is looked for: the arguments of `from_pretrained` that every file of a checkpoint shares."""

import os
from collections.abc import Mapping
from typing import Any

from transformers.utils import cached_file
from transformers.utils.hub import resolve_revision

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


def hub_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that say where on the Hub a file is looked for."""
    return {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}


def pinned(name_or_path: str | os.PathLike, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """As [`hub_arguments`], with `revision` bound to the commit that it names now.

    What is loaded with them file by file comes from one commit, even if somebody pushes in between.
    """
    given = hub_arguments(kwargs)
    shared = {name: given[name] for name in ("cache_dir", "token") if name in given}
    offline = bool(given.get("local_files_only"))
    revision = resolve_revision(name_or_path, given.get("revision"), local_files_only=offline, **shared)
    return given if revision is None else {**given, "revision": revision}


def find_file(name_or_path: str | os.PathLike, name: str, **hub: Any) -> str | None:
    """Where a file of a checkpoint lies on this machine, fetched if need be; None if the checkpoint has no such file.

    Args:
        name_or_path: a folder or a Hub id.
        name: of the file.
        hub: arguments as from [`hub_arguments`].

    Raises:
        OSError: there is no such repository or revision, or it is gated.
    """
    return cached_file(
        os.fspath(name_or_path),
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **hub,
    )


__all__ = ["HUB_ARGUMENTS", "find_file", "hub_arguments", "pinned"]
