# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Names of a package that are imported from its modules when they are first used (PEP 562)."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package whose names are imported on use.

    Args:
        package: the package's `__name__`.
        names: module below the package -> the names that it gives to the package.
    """
    module_of = {name: module for module, given in names.items() for name in given}

    def __getattr__(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return __getattr__, lambda: sorted(module_of), sorted(module_of)
