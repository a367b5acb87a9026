# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""LogicVista, MIA-Bench and ERQA.

Source: open-compass/VLMEvalKit e8e78f05 `vlmeval/dataset/utils/logicvista.py`, `miabench.py` and `erqa.py`.
"""

import ast
from collections.abc import Sequence
from typing import Any

from .metric import Row, Scores, percent
from .spreadsheet import cell_text, through_spreadsheet

LOGICVISTA_SKILLS = ("inductive", "deductive", "numerical", "spatial", "mechanical")


def logicvista_is_right(row: Row) -> bool:
    """Whether the letters that a judge read (`extraction`) are those of the answer, such as `A` or `B, D`.

    The letters may be in any order, and each counts as often as it stands there. A reply of anything else than capital
    letters is wrong.
    """
    letters = str(row["extraction"])
    if not (letters.isupper() and letters.isalpha()):
        return False
    right = "".join(sorted(part.lower() for part in str(row["answer"]).split(", ")))
    return "".join(sorted(letter.lower() for letter in letters)) == right


def score_logicvista(rows: Sequence[Row]) -> Scores:
    """LogicVista in percent. The table has `Overall`, and the skills that `skill` names; a row may have several.

    A skill without a row is None; officially not-a-number.
    """
    hits = [float(logicvista_is_right(row)) for row in rows]
    table: dict[str, float | None] = {"Overall": percent(hits)}
    for skill in LOGICVISTA_SKILLS:
        table[skill] = percent([hit for row, hit in zip(rows, hits, strict=True) if skill in str(row["skill"])])
    return Scores(table["Overall"], table, tuple(hits))


def mia_scores(reply: str, types: Sequence[str]) -> dict[str, float] | None:
    """Share of each component, and `total_score`, in the first sentence of a judge's reply; None where it has no form.

    The form is `score of component 1: 2/2, score of component 2: 6/8, total score: 8/10`. As officially, a sentence
    ends at any full stop, so that a score of 1.5 cannot be read, and of components of one type the last counts.
    """
    *parts, total = reply.split(".")[0].split(",")
    try:
        shares = [_share(part) for part in parts]
        scores = {types[number]: share for number, share in enumerate(shares)}
        scores["total_score"] = _share(total)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return scores if parts else None


def _share(part: str) -> float:
    points, most = part.split(":")[1][1:].split("/")[:2]
    return int(points) / int(most)


def score_mia_bench(rows: Sequence[Row]) -> Scores:
    """MIA-Bench in percent: the mean total score, and in the table that of each type of component.

    Rows have `component_type` and `score_raw`, a judge's reply. A reply without form counts nowhere, as officially.
    """
    read = [mia_scores(str(row["score_raw"]), _types(row["component_type"])) for row in rows]
    groups: dict[str, list[float]] = {}
    for scores in read:
        for name, share in (scores or {}).items():
            groups.setdefault(name, []).append(share)
    table = {name: percent(shares) for name, shares in groups.items()}
    return Scores(
        table.get("total_score"), table, tuple(None if scores is None else scores["total_score"] for scores in read)
    )


def _types(cell: Any) -> list[str]:
    """The list in a cell. Officially its text without two characters at each end, cut at `', '`."""
    return [str(name) for name in cell] if isinstance(cell, list | tuple) else str(cell)[2:-2].split("', '")


def listed_texts(cell: Any) -> list[Any]:
    """The list in a cell, or the list that its text spells.

    Raises:
        ValueError: it spells none.
    """
    try:
        found = ast.literal_eval(cell) if isinstance(cell, str) else cell
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"expected a list, got {cell[:80]!r}.") from error
    if not isinstance(found, list | tuple):
        raise ValueError(f"expected a list, got {str(cell)[:80]!r}.")
    return list(found)


def score_erqa(rows: Sequence[Row]) -> Scores:
    """ERQA in percent as its authors score it: equal to the answer but for case, outer spaces and full stops.

    Source: embodiedreasoning/ERQA `eval_harness.py`, by the line that other harnesses quote of it.
    """
    hits = [
        float(row["prediction"].replace(".", "").strip().lower() == str(row["answer"]).strip().lower()) for row in rows
    ]
    return Scores(percent(hits), samples=tuple(hits))


def score_erqa_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """ERQA in percent as VLMEvalKit scores it: equal to the answer but for case and outer spaces, by `category`.

    The rows pass through a spreadsheet, see [`through_spreadsheet`]. `A.` is not `A`.
    """
    read = through_spreadsheet(rows)
    hits = [float(_plain(row["prediction"]) == _plain(row["answer"])) for row in read]
    categories = [cell_text(row["category"]) if "category" in row else "Unknown" for row in read]
    table = {"Overall": percent(hits)}
    for name in sorted(set(categories)):
        table[name] = percent([hit for category, hit in zip(categories, hits, strict=True) if category == name])
    return Scores(table["Overall"], table, tuple(hits))


def _plain(cell: Any) -> str:
    return cell_text(cell).strip().lower()


__all__ = [
    "LOGICVISTA_SKILLS",
    "listed_texts",
    "logicvista_is_right",
    "mia_scores",
    "score_erqa",
    "score_erqa_vlmevalkit",
    "score_logicvista",
    "score_mia_bench",
]
