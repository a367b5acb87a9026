# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tables of text, laid out by `rich`, which transformers' own command line brings along."""

from collections.abc import Collection, Sequence

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A line of dashes under the names of the columns and between sections; see `rich.box` for the meaning of each row.
_LINES = Box("    \n    \n -- \n    \n -- \n -- \n    \n    \n", ascii=True)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    rule_above: int | None = None,
    left: Collection[int] = (0,),
) -> str:
    """A table with two spaces between columns.

    Args:
        head: the names of the columns.
        rows: each with as many cells as `head` has names.
        rule_above: index of a row with a line above it, such as the row of sums; negative indices count from the end.
        left: indices of the columns that are left-aligned; the others are right-aligned.
    """
    grid = Table(box=_LINES, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, name in enumerate(head):
        grid.add_column(Text(name), justify="left" if column in left else "right", no_wrap=True)
    for number, cells in enumerate(rows):
        if rule_above is not None and number == rule_above % len(rows):
            grid.add_section()
        grid.add_row(*map(Text, cells))
    console = Console(width=10_000, color_system=None)  # as wide as it needs: a terminal wraps it, a file keeps it
    with console.capture() as capture:
        console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def percent(share: float) -> str:
    """A share between 0 and 1 in percent, with one decimal."""
    return f"{100 * share:.1f}"
