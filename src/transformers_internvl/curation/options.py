# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The options of a pipeline: dictionaries of a YAML file become dataclasses. Errors name the place and the key."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection
from typing import Any, TypeVar

Options = TypeVar("Options")

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "keys and values"}


def read_options(kind: type[Options], given: Any, where: str) -> Options:
    """An instance of a dataclass from a dictionary.

    Args:
        kind: a dataclass whose fields are `str`, `int`, `float`, `bool`, `dict`, tuples of these, or None.
        given: the dictionary; None is an empty one.
        where: for errors, such as "pipeline.yaml, step 2 (judge)".

    Raises:
        ValueError: an unknown key, one that is missing, a value of another type, or one that the class refuses.
    """
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise ValueError(f"{where}: expected keys and values, got {given!r:.80}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in given:
        if key not in fields:
            raise ValueError(f"{where}: unknown key {key!r}{did_you_mean(key, fields)}")
    types_of = typing.get_type_hints(kind)
    values = {key: _value(types_of[key], value, f"{where}, `{key}`") for key, value in given.items()}
    missing = [name for name, field in fields.items() if name not in values and _is_required(field)]
    if missing:
        raise ValueError(f"{where}: `{missing[0]}` is missing.")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def did_you_mean(word: Any, known: Collection[str]) -> str:
    """The end of a sentence on an unknown word: the nearest known one, and all of them."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}."


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `ValueError` unless `low <= value <= high`."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` should be from {low:g} to {high:g}, got {value:g}.")


def one_of(name: str, value: str, known: Collection[str]) -> None:
    """Raise `ValueError` unless the value is known."""
    if value not in known:
        raise ValueError(f"`{name}`: unknown value {value!r}{did_you_mean(value, known)}")


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, types.UnionType):
        if value is None and type(None) in kind.__args__:
            return None
        (kind,) = (part for part in kind.__args__ if part is not type(None))
    if typing.get_origin(kind) is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_value(kind.__args__[0], item, where) for item in items)
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where}: expected {_NAMES[kind]}, got {value!r:.80}.")
    return float(value) if kind is float else value


__all__ = ["did_you_mean", "in_range", "one_of", "read_options"]
