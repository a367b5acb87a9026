# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Scores from the verdicts of a language model: MM-Vet, LLaVA-Bench, ConvBench, CharXiv, WildVision and MMHal-Bench.

The verdicts come with the rows.
"""

import re
import string
from collections.abc import Mapping, Sequence

from .metric import Row, Scores, mean, percent

MMVET_CAPABILITIES = ("rec", "ocr", "know", "gen", "spat", "math")
CONVBENCH_QUESTIONS = 577  # what the official code divides by; there are 578
CONVBENCH_TURNS = ("first", "second", "third", "overall")
_RATING = re.compile(r"Rating:(.*)")
_CHARXIV_DESCRIPTIVE = {
    "Information Extraction": (1, 2, 3, 4, 5, 6, 7),
    "Enumeration": (8, 9, 13, 14, 15),
    "Counting": (10, 12, 19),
    "Pattern Recognition": (11, 16, 18),
    "Compositionality": (17,),
}
_CHARXIV_REASONING = {
    "Text-in-Chart": (1,),
    "Text-in-General": (2,),
    "Number-in-Chart": (3,),
    "Number-in-General": (4,),
}
WILDVISION_VERDICTS = {"A>>B": -2, "A>B": -1, "A=B": 0, "B>A": 1, "B>>A": 2}
"""Verdict of the judge, the model being B -> how much better it is."""
_WILDVISION_NAMES = {2: "Much Better", 1: "Better", 0: "Tie", -1: "Worse", -2: "Much Worse"}
_MMHAL_TYPES = 8  # questions take turns
_MMHAL_CLEAN = 3  # the lowest rating without a hallucination


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


def score_charxiv_descriptive(rows: Sequence[Row]) -> Scores:
    """CharXiv's descriptive questions in percent, by the category of `qid`; see [`score_charxiv_reasoning`]."""
    return _charxiv(rows, "qid", _CHARXIV_DESCRIPTIVE)


def score_charxiv_reasoning(rows: Sequence[Row]) -> Scores:
    """CharXiv's reasoning questions in percent, by the category of `inst_category`. Rows have a judge's `score`.

    Source: VLMEvalKit `vlmeval/dataset/charxiv.py`.
    """
    return _charxiv(rows, "inst_category", _CHARXIV_REASONING)


def _charxiv(rows: Sequence[Row], column: str, categories: Mapping[str, tuple[int, ...]]) -> Scores:
    names = {number: name for name, numbers in categories.items() for number in numbers}
    scores = [float(row["score"]) for row in rows]
    groups: dict[str, list[float]] = {}
    for row, score in zip(rows, scores, strict=True):
        number = int(row[column])
        if number not in names:
            raise ValueError(f"`{column}` must be one of {sorted(names)}, got {number}.")
        groups.setdefault(names[number], []).append(score)
    return Scores(percent(scores), {name: percent(found) for name, found in groups.items()}, tuple(scores))


def score_wildvision(rows: Sequence[Row]) -> Scores:
    """WildVision: how often the model is better than Claude 3 Sonnet, in percent. The table has the reward, too.

    Rows have `score`, a key of `WILDVISION_VERDICTS`; anything else is a tie.

    Source: VLMEvalKit `vlmeval/dataset/wildvision.py`, whose win rate is a share.
    """
    grades = [WILDVISION_VERDICTS.get(row["score"], 0) for row in rows]
    wins = percent([float(grade > 0) for grade in grades])
    counts = {name: grades.count(grade) for grade, name in _WILDVISION_NAMES.items()}
    table = {**counts, "Reward": mean([50.0 * grade for grade in grades]), "Win Rate": wins}
    return Scores(wins, table, tuple(float(grade > 0) for grade in grades))


def score_mmhal(rows: Sequence[Row]) -> Scores:
    """MMHal-Bench: the mean rating, 0 to 6. The table has the share of hallucinations and the mean of each type.

    Rows have `score`, a judge's rating. The eight types take turns, in the order of the benchmark.

    Source: OpenGVLab/InternVL `eval/mmhal/eval_gpt_mmhal.py`.
    """
    scores = [float(row["score"]) for row in rows]
    types = {str(number): mean(scores[number::_MMHAL_TYPES]) for number in range(min(_MMHAL_TYPES, len(scores)))}
    table = {"hallucination_rate": mean([float(score < _MMHAL_CLEAN) for score in scores]), "types": types}
    return Scores(mean(scores), table, tuple(scores))


def mmhal_rating(reply: str) -> float | None:
    """The only rating 0 to 6 in a judge's reply, None where there is none or are several (officially 0)."""
    found = [number for number in range(7) if f"rating: {number}" in reply.lower()]
    return float(found[0]) if len(found) == 1 else None


def wildvision_verdict(reply: str) -> str | None:
    """The verdict in double brackets, None where there is none or they differ."""
    found = {match for match in re.findall(r"\[\[([AB<>=]+)\]\]", reply) if match}
    return found.pop() if len(found) == 1 else None


__all__ = [
    "CONVBENCH_QUESTIONS",
    "CONVBENCH_TURNS",
    "MMVET_CAPABILITIES",
    "WILDVISION_VERDICTS",
    "convbench_prediction",
    "convbench_rate",
    "convbench_rates",
    "llavabench_table",
    "mmhal_rating",
    "mmvet_table",
    "score_charxiv_descriptive",
    "score_charxiv_reasoning",
    "score_convbench",
    "score_llavabench",
    "score_mmhal",
    "score_mmvet",
    "score_wildvision",
    "wildvision_verdict",
]
