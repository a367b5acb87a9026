# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Results for the eye: columns under their heads, names to the left and figures to the right."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], rule_above: int | None = None) -> str:
    """Columns as wide as need be, two spaces apart; the first to the left, the others to the right.

    Args:
        head: the names of the columns.
        rows: as many cells as names.
        rule_above: a line above this row, such as the one with the sums; counted as in a list.
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    texts.insert(1, rule)
    if rule_above is not None:
        texts.insert(len(texts) + rule_above if rule_above < 0 else rule_above + 2, rule)
    return "\n".join(texts)


def percent(share: float) -> str:
    """A share between 0 and 1 in percent, with one decimal."""
    return f"{100 * share:.1f}"
