# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""MVBench, Video-MME and VSI-Bench."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from string import ascii_uppercase
from typing import Any

from .choices import ANSWER_PREFIXES, REFUSED, build_choices, can_infer, first_letter
from .metric import Row, Scores, mean, percent
from .reading import read_answers
from .spreadsheet import cell_text, through_spreadsheet

# Two pairs of beginnings are glued together in the official list, so that four beginnings stay.
VIDEO_MME_PREFIXES = (
    *ANSWER_PREFIXES[:4],
    "".join(ANSWER_PREFIXES[4:6]),
    "".join(ANSWER_PREFIXES[6:8]),
    "Answer:",
    "Option:",
)
VIDEO_MME_V2_PREFIXES = ("Final Answer:", *ANSWER_PREFIXES, "Answer:", "Option:")
VIDEO_MME_DURATIONS = ("short", "medium", "long")
VIDEO_MME_GROUPS = ("domain", "sub_category", "task_type")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FAILED_CALL = "Failed to obtain answer via API."


def mvbench_internvl(prediction: str, answer: str) -> bool:
    """Whether the first word of a prediction, without full stops, is part of `(a)`, or contains it.

    So nothing at all, `(` and `)` are right for every question.

    Args:
        answer: the letter in brackets, and the text of the option.

    Source: OpenGVLab/InternVL `eval/mvbench/evaluate_mvbench.py` `check_ans`. An answer without a text is taken, where
    the official code raises.
    """
    return _first_word_fits(prediction.replace("Answer: ", "").lower(), answer.lower())


def mvbench_vlmevalkit(prediction: str, answer: str) -> bool:
    """As [`mvbench_internvl`], without spaces at the ends and with `Answer: ` left where it is.

    Source: VLMEvalKit `vlmeval/dataset/utils/mvbench.py` `check_ans`.
    """
    return _first_word_fits(prediction.lower().strip(), answer.lower().strip())


def check_ans_advanced(prediction: str, answer: str) -> bool:
    """[`mvbench_vlmevalkit`], or the text of the option is part of the prediction; single digits are spelled out.

    Source: VLMEvalKit `vlmeval/dataset/utils/mvbench.py`.
    """
    if mvbench_vlmevalkit(prediction, answer):
        return True
    content = " ".join(answer.lower().strip().split(" ")[1:]).removesuffix(".")
    with suppress(ValueError):
        number = int(content.strip(". \n"))
        content = _DIGITS[number] if 0 <= number < len(_DIGITS) else content
    return content.strip(". \n") in prediction.lower().strip(". \n")


def extract_characters_videomme(response: str) -> str:
    """The first capital A to D anywhere in a response, once usual beginnings are removed; else the empty text.

    Source: VLMEvalKit `vlmeval/dataset/utils/videomme.py` `extract_characters_regex`.
    """
    return first_letter(response, "ABCD", VIDEO_MME_PREFIXES)


def extract_characters_videomme_v2(response: str) -> str:
    """The first capital A to H, as [`extract_characters_videomme`] with all beginnings removed (Video-MME v2)."""
    return first_letter(response, "ABCDEFGH", VIDEO_MME_V2_PREFIXES)


def option_by_rule(row: Mapping[str, Any], response: str) -> str:
    """The option that [`can_infer`] finds, options read from the lines of `question`; else Z.

    Source: VLMEvalKit `videomme.py` `extract_option` without a language model.
    """
    options = dict(build_choices(row))
    for letter, line in zip(ascii_uppercase, row["question"].split("\n")[1:], strict=False):
        if f"{letter}." in line:
            options[letter] = line[line.index(f"{letter}.") + 2 :].strip(". \n")
    return can_infer(response, options) or REFUSED


def vsi_bench_text(prediction: str) -> str:
    """The first word of a prediction, without full stops at its end.

    Source, with the next function: EvolvingLMMs-Lab/lmms-eval `lmms_eval/tasks/vsibench/utils.py`.
    """
    return prediction.split(" ")[0].rstrip(".").strip()


def mean_relative_accuracy(
    prediction: str, answer: str, start: float = 0.5, end: float = 0.95, interval: float = 0.05
) -> float | None:
    """Share of the thresholds `start` to `end` of relative accuracy that a number passes; None where one is no number.

    The error is relative to the answer. An answer of 0 is passed by 0 alone, where the official code divides by zero.
    """
    try:
        found, right = float(vsi_bench_text(prediction)), float(answer)
    except ValueError:
        return None
    count = int((end - start) / interval + 2)
    step = (end - start) / (count - 1)
    thresholds = [start + step * number for number in range(count - 1)] + [end]
    if right == 0:
        return float(found == 0)
    error = abs(found - right) / right
    return sum(error <= 1 - threshold for threshold in thresholds) / count


def score_mvbench_internvl(rows: Sequence[Row]) -> Scores:
    """MVBench of InternVL in percent: by task and `Avg`, the mean over the rows.

    Rows have `task_type`, `candidates` and `answer`, the text of the right candidate.
    """
    hits = [float(mvbench_internvl(row["prediction"], _lettered_answer(row))) for row in rows]
    table = {
        task: percent([hit for hit, row in zip(hits, rows, strict=True) if row["task_type"] == task])
        for task in dict.fromkeys(row["task_type"] for row in rows)
    }
    average = percent(hits)
    return Scores(average, table | {"Avg": average}, tuple(hits))


def score_mvbench_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """MVBench of VLMEvalKit: right answers, questions and percent by `task_type`, and `overall`.

    A prediction that [`mvbench_vlmevalkit`] finds wrong may still be right by [`can_infer`]. An empty prediction (or
    one that a spreadsheet reads as empty, [`through_spreadsheet`]) has no score, which counts as right, as officially;
    so does a failed call of an endpoint.
    """
    read = through_spreadsheet(rows)
    hits = [_mvbench_hit(row) for row in read]
    counts: dict[str, list[int]] = {}
    for row, hit in zip(read, hits, strict=True):
        for name in (row["task_type"], "overall"):
            count = counts.setdefault(name, [0, 0])
            count[0] += hit is not False
            count[1] += 1
    table = {name: [right, total, f"{right / total * 100:.2f}%"] for name, (right, total) in counts.items()}
    overall = counts["overall"][0] / counts["overall"][1] * 100 if rows else None
    return Scores(overall, table, tuple(float(hit is not False) for hit in hits))


def score_videomme(rows: Sequence[Row]) -> Scores:
    """Video-MME: accuracy by `duration` and `overall`, each over all, by domain, sub_category and task_type.

    Accuracies in the table are texts with three decimals; `overall` is in percent, not rounded. Groups without a row
    are left out. The letter is that of [`extract_characters_videomme`], else of [`option_by_rule`].
    """
    read = through_spreadsheet(rows)
    hits = []
    for row in read:
        prediction = cell_text(row["prediction"])
        letter = extract_characters_videomme(prediction)
        hits.append(float((letter or option_by_rule(row, prediction)) == row["answer"]))
    table: dict[str, dict[str, Any]] = {}
    for duration in dict.fromkeys((*VIDEO_MME_DURATIONS, *(row["duration"] for row in read), "overall")):
        chosen = [number for number, row in enumerate(read) if duration in ("overall", row["duration"])]
        table[duration] = {"overall": _three_decimals([hits[number] for number in chosen])} if chosen else {}
        for column in VIDEO_MME_GROUPS:
            table[duration][column] = {
                name: _three_decimals([hits[number] for number in chosen if read[number][column] == name])
                for name in dict.fromkeys(read[number][column] for number in chosen)
            }
    return Scores(percent(hits), table if rows else {}, tuple(hits))


def score_vsi_bench(rows: Sequence[Row]) -> Scores:
    """VSI-Bench in percent, the mean over question types: choices by the first word, numbers by their accuracy.

    That is [`mean_relative_accuracy`], and 0 for what is no number. The three kinds of `object_rel_direction` count as
    one type. `question_type` says the type; a row with `options` is a choice.

    Source: EvolvingLMMs-Lab/lmms-eval `lmms_eval/tasks/vsibench/utils.py`.
    """
    scores = []
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if row.get("options"):
            score = float(vsi_bench_text(row["prediction"]).lower() == str(row["answer"]).lower())
        else:
            score = mean_relative_accuracy(row["prediction"], str(row["answer"])) or 0.0
        scores.append(score)
        kinds.setdefault(row["question_type"], []).append(score)
    table = {kind: sum(found) / len(found) * 100 for kind, found in kinds.items()}
    directions = [table.pop(kind) for kind in list(table) if kind.startswith("object_rel_direction")]
    if directions:
        table["object_rel_direction"] = sum(directions) / len(directions)
    return Scores(mean(list(table.values())), table, tuple(scores))


def _first_word_fits(prediction: str, answer: str) -> bool:
    word, option = prediction.split(" ")[0], answer.split(" ")[0]
    return word.replace(".", "") in option or option in word


def _lettered_answer(row: Mapping[str, Any]) -> str:
    """`(B) text` of the right candidate; `(@)` where it is none of the candidates, as officially."""
    candidates = read_answers(row["candidates"])
    places = [place for place, candidate in enumerate(candidates) if candidate == row["answer"]]
    return f"({chr(ord('A') + (places[-1] if places else -1))}) {row['answer']}"


def _mvbench_hit(row: Mapping[str, Any]) -> bool | None:
    prediction = row["prediction"]
    if prediction is None or FAILED_CALL in str(prediction):
        return None
    if mvbench_vlmevalkit(str(prediction), _lettered_answer(row)):
        return True
    right, options = row["answer"], build_choices(row)
    for letter, candidate in zip(ascii_uppercase, read_answers(row["candidates"]), strict=False):
        options[letter] = candidate
        right = letter if candidate == right else right
    return (can_infer(str(prediction), options) or REFUSED) == right


def _three_decimals(hits: Sequence[float]) -> str:
    average = mean(hits)
    return f"{math.nan if average is None else average:.3f}"


__all__ = [
    "check_ans_advanced",
    "extract_characters_videomme",
    "extract_characters_videomme_v2",
    "mean_relative_accuracy",
    "mvbench_internvl",
    "mvbench_vlmevalkit",
    "option_by_rule",
    "score_mvbench_internvl",
    "score_mvbench_vlmevalkit",
    "score_videomme",
    "score_vsi_bench",
    "vsi_bench_text",
]
