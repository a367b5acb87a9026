# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What becomes of the rows of a prediction file that VLMEvalKit writes as a spreadsheet and reads again.

Its scorers see the answers after that: a text such as `None`, `nan`, `N/A` or nothing becomes an empty cell, which is
scored as the text `nan`; a column of numbers alone becomes numbers (`05` is `5`; with a fraction or an empty cell
anywhere in the column, `5.0`); a column of `true` and `false` alone becomes `True` and `False`.
"""

import re
from collections.abc import Sequence
from typing import Any

from .metric import Row

EMPTY = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"]
    + ["NULL", "NaN", "None", "n/a", "nan", "null"]
)
_TRUTH = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_NUMBER = re.compile(r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


def through_spreadsheet(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as pandas reads them from the spreadsheet it wrote. An empty cell is None; lists stay as they are."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return [{name: cells[number] for name, cells in columns.items()} for number in range(len(rows))]


def cell_text(cell: Any) -> str:
    """A cell as VLMEvalKit's scorers turn it into text: an empty one is `nan`."""
    return "nan" if cell is None else str(cell)


def _column(cells: list[Any]) -> list[Any]:
    cells = [_cell(cell) for cell in cells]
    present = [cell for cell in cells if cell is not None]
    if not present:
        return cells
    if all(isinstance(cell, bool) or (isinstance(cell, str) and cell in _TRUTH) for cell in present):
        return [_TRUTH.get(cell, cell) if isinstance(cell, str) else cell for cell in cells]
    numbers = [_number(cell) for cell in present]
    if any(number is None for number in numbers):
        return cells
    whole = len(present) == len(cells) and all(isinstance(number, int) for number in numbers)
    return [None if cell is None else _number(cell) if whole else float(_number(cell) or 0) for cell in cells]


def _cell(cell: Any) -> Any:
    if isinstance(cell, str):
        return None if cell in EMPTY else _CONTROL.sub(lambda sign: f"_x{ord(sign[0]):04X}_", cell)
    if isinstance(cell, float):
        if cell != cell:
            return None
        return int(cell) if cell.is_integer() else cell
    return cell


def _number(cell: Any) -> int | float | None:
    """The number that a cell is read as, None where it is none."""
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        return None
    if not isinstance(cell, str):
        return cell
    if _WHOLE.fullmatch(cell):
        whole = int(cell)
        return whole if -(2**63) <= whole < 2**64 else None
    if not _NUMBER.fullmatch(cell):
        return None
    number = float(cell)
    return None if number in (float("inf"), -float("inf")) and "inf" not in cell.lower() else number


__all__ = ["EMPTY", "cell_text", "through_spreadsheet"]
