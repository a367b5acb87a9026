# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Libraries that some metrics need: `pip install transformers_internvl[evaluation]`."""

from importlib import import_module
from types import ModuleType


def needed(module: str, package: str, purpose: str) -> ModuleType:
    """Import a module of an optional library.

    Raises:
        ImportError: the library is missing; says what for, and how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose} needs the package {package!r}: `pip install transformers_internvl[evaluation]`."
        ) from error


__all__ = ["needed"]
