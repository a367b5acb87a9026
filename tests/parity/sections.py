# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Golden files of scorers: sections of cases, each `in` with `out` or `raises`.

A test module holds one function for each section. `check` runs all cases of a section, and reports all mismatches.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .golden import golden_root

TOLERANCE = 1e-9
Section = tuple[str, str]  # file name without its suffix, section
Scorer = Callable[[Any], Any]


class OneOf(tuple):
    """Results of which the official code gives one, by what the golden data do not hold."""


def sections_of(folder: str) -> list[Section]:
    """Every section of every file of a golden folder, so that one without a function fails."""
    files = sorted((golden_root() / folder).glob("*.json"))
    if not files:
        raise FileNotFoundError(f"No JSON file in {golden_root() / folder}.")
    return [(file.stem, section) for file in files for section in json.loads(file.read_text(encoding="utf-8"))]


def check(folder: str, section: Section, scorers: Mapping[Section, Scorer], raising: Mapping[Section, Scorer]) -> None:
    """Compare a function with all cases of its section.

    Args:
        scorers: from `in` to what `out` must be.
        raising: from `in` to whether our result is the documented one, where the official code raises. In a section
            without such a function any result is good, and so is a ValueError that says something.
    """
    if section not in scorers:
        pytest.fail(f"No function for the section {section[1]} of {folder}/{section[0]}.json.")
    cases = _cases(folder, section)
    assert cases, "a section without cases"
    mismatches = []
    for number, case in enumerate(cases):
        if "raises" in case:
            defined = raising.get(section, lambda value: _defined(scorers[section], value))
            if not defined(case["in"]):
                mismatches.append(f"{number}: {case['in']!r}: no defined result, where the official code raises")
            continue
        got = scorers[section](case["in"])
        expected = case.get("out")
        if not same(got, expected):
            mismatches.append(f"{number}: {str(case['in'])[:600]}\n    expected {expected!r}\n    got      {got!r}")
    assert not mismatches, f"{len(mismatches)} of {len(cases)} cases differ:\n" + "\n".join(mismatches[:5])


def _cases(folder: str, section: Section) -> list[dict[str, Any]]:
    path = golden_root() / folder / f"{section[0]}.json"
    return json.loads(path.read_text(encoding="utf-8"))[section[1]]["cases"]


def same(got: Any, expected: Any) -> bool:
    """Whether two values agree: numbers to 1e-9, the rest exactly.

    A tuple is a list, not-a-number is None, and a set is a list in any order.
    """
    if isinstance(got, OneOf):
        return any(same(one, expected) for one in got)
    if isinstance(got, bool) or isinstance(expected, bool):
        return isinstance(got, bool) and isinstance(expected, bool) and got == expected
    if isinstance(got, float) and math.isnan(got):
        got = None
    if isinstance(got, int | float) and isinstance(expected, int | float):
        return got == expected or math.isclose(got, expected, rel_tol=0, abs_tol=TOLERANCE * max(1.0, abs(expected)))
    if isinstance(got, frozenset) and isinstance(expected, list):
        return len(got) == len(expected) and all(any(same(one, other) for other in expected) for one in got)
    if isinstance(got, Mapping) and isinstance(expected, Mapping):
        return got.keys() == expected.keys() and all(same(got[key], expected[key]) for key in expected)
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(same, got, expected))
    return type(got) is type(expected) and got == expected


def _defined(function: Scorer, value: Any) -> bool:
    try:
        function(value)
    except ValueError as error:
        return len(str(error)) > 20
    return True


def refuses(function: Scorer) -> Scorer:
    """A check that the function raises a ValueError that says something."""

    def check_of(value: Any) -> bool:
        try:
            function(value)
        except ValueError as error:
            return len(str(error)) > 20
        return False

    return check_of
