# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tables of text."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], rule_above: int | None = None) -> str:
    """A table with two spaces between columns; the first column is left-aligned, the others right-aligned.

    Args:
        head: the names of the columns.
        rows: each with as many cells as `head` has names.
        rule_above: index of a row with a line above it, such as the row of sums; negative indices count from the end.
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
