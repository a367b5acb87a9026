# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Tables of text."""

from transformers_internvl.cli.tables import table

SUMS = """
part                   numbers    %
-----------------------------------
tower [bold]: 3 – 5          1  0.1
x                    1,200,000
-----------------------------------
total                1,200,001  100
"""


def test_columns_are_aligned_and_sums_have_a_line_above():
    rows = [("tower [bold]: 3 – 5", "1", "0.1"), ("x", "1,200,000", ""), ("total", "1,200,001", "100")]
    assert table(("part", "numbers", "%"), rows, rule_above=-1) == SUMS.strip()
    lines = SUMS.strip().splitlines()
    assert table(("part", "numbers", "%"), rows) == "\n".join(lines[:4] + lines[5:])


def test_wide_tables_are_not_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert len(table(("a", "b"), [("word " * 50, "1")]).splitlines()) == 3
