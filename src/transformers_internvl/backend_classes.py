# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Entries for transformers' tables of image and video processors: the classes of a model by backend."""

from collections.abc import Iterator
from typing import Any


class BackendClasses(tuple):
    """Classes by backend, which can be read in both ways that transformers (5.24) uses.

    The Auto classes expect the entries of these tables to map backend to class, as upstream's own entries do.
    `ProcessorMixin.get_possibly_dynamic_module`, which looks for a class by its name, expects classes or tuples of
    classes, and fails with an `AttributeError` at a dictionary. So this is a tuple of the classes, each once, with the
    methods of a mapping. A class is also accepted as a key, as if it were a backend.

    Args:
        classes: backend to class.
    """

    _classes: dict[str, type]

    def __new__(cls, classes: dict[str, type]) -> "BackendClasses":
        self = super().__new__(cls, dict.fromkeys(classes.values()))
        self._classes = dict(classes)
        return self

    def __iter__(self) -> Iterator[type]:
        return iter(dict.fromkeys(self._classes.values()))

    def __getitem__(self, backend: Any) -> Any:
        found = self.get(backend)
        if found is None:
            raise KeyError(backend)
        return found

    def __reduce__(self) -> tuple:
        return BackendClasses, (self._classes,)

    def get(self, backend: Any, default: Any = None) -> Any:
        """The class of a backend; for a class, the class itself."""
        return self._classes.get(backend, backend if isinstance(backend, type) and backend in iter(self) else default)

    def keys(self) -> Any:
        """The backends."""
        return self._classes.keys()

    def values(self) -> Any:
        """The class of each backend."""
        return self._classes.values()

    def items(self) -> Any:
        """Backends with their classes."""
        return self._classes.items()

    def update(self, classes: dict[str, type]) -> None:
        """Add backends, as repeated registration does."""
        self._classes.update(classes)


__all__ = ["BackendClasses"]
