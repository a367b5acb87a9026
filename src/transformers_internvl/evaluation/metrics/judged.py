# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores from the verdicts of a language model: MM-Vet, LLaVA-Bench and ConvBench. The verdicts come with the rows."""

import re
import string
from collections.abc import Sequence

from .metric import Row, Scores

MMVET_CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
CONVBENCH_QUESTIONS = 577  # what the official code divides by; there are 578
CONVBENCH_TURNS = ("first", "second", "third", "overall")
_RATING = re.compile(r"Rating:(.*)")


def mmvet_table(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """`tot` and `acc` (percent) `by_capability` and `by_category`, each with `Overall`.

    Rows have `category`, capabilities with commas between them, and `score`, the grade, 0 to 1. As the official code
    counts both kinds in one table, a question of a single capability counts twice there. A capability without a row
    has no entry; the official code divides by zero.

    Source: VLMEvalKit `vlmeval/dataset/utils/mmvet.py` `MMVet_acc`.
    """
    grades: dict[str, list[float]] = {}
    for row in rows:
        capabilities = [name for name in MMVET_CAPABILITIES if name in row["category"]]
        for name in (*capabilities, row["category"].replace(",", "_"), "Overall"):
            grades.setdefault(name, []).append(float(row["score"]))
    entries = {name: {"tot": len(found), "acc": sum(found) / len(found) * 100} for name, found in grades.items()}
    categories = dict.fromkeys(row["category"].replace(",", "_") for row in rows)
    return {
        kind: {name: entries[name] for name in (*names, "Overall") if name in entries}
        for kind, names in (("by_capability", MMVET_CAPABILITIES), ("by_category", categories))
    }


def score_mmvet(rows: Sequence[Row]) -> Scores:
    """MM-Vet in percent, [`mmvet_table`]."""
    table = mmvet_table(rows)
    return Scores(
        table["by_capability"]["Overall"]["acc"] if rows else None, table, tuple(float(row["score"]) for row in rows)
    )


def llavabench_table(rows: Sequence[Row]) -> dict[str, dict[str, float | None]]:
    """`relative`, `model` and `gpt4` of all rows (`overall`) and of each category, in percent.

    Rows have `category`, and the grades `score` of the model's answer and `gpt4_score` of GPT-4's, 1 to 10.
    `relative`, the published number, is the mean grade of the model in percent of GPT-4's; None where that is zero.

    Source: VLMEvalKit `vlmeval/dataset/utils/llavabench.py` `LLaVABench_score`.
    """
    groups: dict[str, list[Row]] = {"overall": list(rows)} if rows else {}
    for row in rows:
        groups.setdefault(row["category"], []).append(row)
    table = {}
    for name, group in groups.items():
        model, gpt4 = (sum(float(row[column]) for row in group) / len(group) for column in ("score", "gpt4_score"))
        table[name] = {"relative": model / gpt4 * 100 if gpt4 else None, "model": model * 10, "gpt4": gpt4 * 10}
    return table


def score_llavabench(rows: Sequence[Row]) -> Scores:
    """LLaVA-Bench in the wild in percent of GPT-4, [`llavabench_table`]."""
    table = llavabench_table(rows)
    grades = tuple(float(row["score"]) for row in rows)
    return Scores(table["overall"]["relative"] if rows else None, table, grades)


def convbench_rate(evaluation: str) -> str:
    """The verdict after `Rating:`: A, B, or C for anything else.

    Source of this function and the next two: shirlyliu64/ConvBench `ConvBenchEval/convbencheval.py`.
    """
    found = _RATING.search(evaluation)
    rating = found[1].strip().strip(string.punctuation) if found else ""
    return rating if rating in ("A", "B") else "C"


def convbench_prediction(evaluation: str) -> str | None:
    """The response that is called better, A or B; None where none or both are: the official code asks a model then."""
    said = [letter for letter in "AB" if f"response {letter} is better".lower() in evaluation.lower()]
    return said[0] if len(said) == 1 else None


def convbench_rates(rows: Sequence[Row]) -> dict[str, float]:
    """Share of the 577 questions that the model wins, for each turn and overall.

    Rows have `position` (0: the model is A, 1: it is B), and for each of `CONVBENCH_TURNS` a verdict and
    `…_evaluation`, the text that is read where the verdict is neither A nor B. Questions without a row are lost.
    """
    wins = dict.fromkeys(CONVBENCH_TURNS, 0)
    for row in rows:
        for turn in CONVBENCH_TURNS:
            verdict = row[turn] if row[turn] in ("A", "B") else convbench_rate(row[f"{turn}_evaluation"])
            wins[turn] += verdict == "AB"[row["position"]]
    return {turn: won / CONVBENCH_QUESTIONS for turn, won in wins.items()}


def score_convbench(rows: Sequence[Row]) -> Scores:
    """ConvBench in percent: the turns S1, S2, S3 and S_O; R2, the mean of the three; R1, the mean of R2 and S_O.

    `overall` is R1. Source of R1 and R2: the paper, arXiv:2403.20194.
    """
    rates = convbench_rates(rows)
    first, second, third, conversation = (100 * rates[turn] for turn in CONVBENCH_TURNS)
    turns = (first + second + third) / 3
    table = {
        "S1": first,
        "S2": second,
        "S3": third,
        "S_O": conversation,
        "R2": turns,
        "R1": (turns + conversation) / 2,
    }
    return Scores(table["R1"] if rows else None, table)


__all__ = [
    "CONVBENCH_QUESTIONS",
    "CONVBENCH_TURNS",
    "MMVET_CAPABILITIES",
    "convbench_prediction",
    "convbench_rate",
    "convbench_rates",
    "llavabench_table",
    "mmvet_table",
    "score_convbench",
    "score_llavabench",
    "score_mmvet",
]
