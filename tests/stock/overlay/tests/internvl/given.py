# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The classes that a run of a suite is about, as `tests/stock/run.py` names them."""

import os
from pathlib import Path
from pkgutil import resolve_name

CLASSES = "STOCK_SUITE_CLASSES"


def given_classes() -> tuple[type, ...]:
    """The classes of this suite and side, in the order of the row in `tests/stock/suites.py`."""
    return tuple(resolve_name(name) for name in os.environ[CLASSES].split())


def golden(*names: str) -> Path:
    """A folder of golden data."""
    return Path(os.environ["INTERNVL_GOLDEN"], *names)
