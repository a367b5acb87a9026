# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Yes-or-no questions: how yes or no is read from an answer, and the scores of MME, POPE, HallusionBench and AMBER.

InternVL's scripts and VLMEvalKit read differently: `_internvl` and `_vlmevalkit` at the end of the names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .metric import Row, Scores, mean
from .spreadsheet import cell_text, through_spreadsheet
from .vqa_accuracy import drop_punctuation

MME_PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
MME_COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
AMBER_GROUPS = {
    "discriminative-attribute-state": "Attribute",
    "discriminative-attribute-number": "Attribute",
    "discriminative-attribute-action": "Attribute",
    "discriminative-hallucination": "Existence",
    "discriminative-relation": "Relation",
    "relation": "Relation",
}
_CHINESE = re.compile(r"[\u4e00-\u9fa5]")


def yes_or_no_vlmevalkit(response: str) -> str:
    """`Yes` or `No` where just one of the two is among the words, else `Unknown`.

    Source: open-compass/VLMEvalKit `vlmeval/dataset/utils/yorn.py` `YOrN_Extraction`.
    """
    words = drop_punctuation(response.lower()).split()
    if ("yes" in words) == ("no" in words):
        return "Unknown"
    return "Yes" if "yes" in words else "No"


def mme_post_processing(response: str) -> str:
    """A response as InternVL writes it to MME's result file: one line, lower case, 是 and true as yes, no Chinese.

    Source: OpenGVLab/InternVL `eval/mme/eval.py`.
    """
    response = response.replace("\n", "").replace("不是", "No").replace("是", "Yes").replace("否", "No")
    return _CHINESE.sub("", response.lower().replace("true", "yes").replace("false", "no"))


def mme_answer(prediction: str) -> str:
    """`yes`, `no` or `other` by the first four characters of a prediction in lower case.

    Source: OpenGVLab/InternVL `eval/mme/calculation.py` `parse_pred_ans`.
    """
    beginning = prediction[:4]
    return next((answer for answer in ("yes", "no") if answer in beginning), "other")


def mme_task_metric(answers: Sequence[str], predictions: Sequence[str]) -> dict[str, float]:
    """Counts and rates of one task of MME: `other` is wrong for `acc` and left out of precision and recall.

    Args:
        answers: `yes` or `no`.
        predictions: `yes`, `no` or `other`.

    Source: OpenGVLab/InternVL `eval/mme/calculation.py` `compute_metric`.
    """
    pairs = list(zip(answers, predictions, strict=True))
    counts = {
        "TP": pairs.count(("yes", "yes")),
        "FN": pairs.count(("yes", "no")),
        "TN": pairs.count(("no", "no")),
        "FP": pairs.count(("no", "yes")),
    }
    return counts | {
        "precision": _share(counts["TP"], counts["TP"] + counts["FP"]),
        "recall": _share(counts["TP"], counts["TP"] + counts["FN"]),
        "other_num": list(predictions).count("other"),
        "acc": _share(sum(answer == prediction for answer, prediction in pairs), len(pairs)),
    }


def score_mme_internvl(rows: Sequence[Row]) -> Scores:
    """MME of InternVL, 0 to 2800: [`mme_scores`] of the answers after [`mme_post_processing`]."""
    return mme_scores([{**row, "prediction": mme_post_processing(row["prediction"])} for row in rows])


def mme_scores(rows: Sequence[Row]) -> Scores:
    """MME, 0 to 2800: accuracy and accuracy+ (both questions of an image right) of each task (`category`) in percent.

    Two rows that follow each other in a task are those of an image. The table holds the totals and tasks of
    `Perception` and `Cognition`; tasks that do not occur are left out, where the official code needs all 14. An answer
    with a tab in it counts in neither accuracy, and its image not as right.

    Source: OpenGVLab/InternVL `eval/mme/calculation.py` `process_result`.

    Raises:
        ValueError: an unknown task, an answer other than yes or no, or an odd number of rows in a task.
    """
    hits: list[float | None] = []
    for number, row in enumerate(rows):
        if row["category"] not in (*MME_PERCEPTION, *MME_COGNITION) or row["answer"].lower() not in ("yes", "no"):
            raise ValueError(
                f"Row {number} of MME must have a task as `category` and yes or no as `answer`, got "
                f"{row['category']!r} and {row['answer']!r}."
            )
        prediction = row["prediction"].lower()
        # The result file is a table with tabs: a line with one more cannot be read, and is left out.
        hits.append(None if "\t" in prediction else float(mme_answer(prediction) == row["answer"].lower()))
    tasks: dict[str, list[float | None]] = {}
    for row, hit in zip(rows, hits, strict=True):
        tasks.setdefault(row["category"], []).append(hit)
    table: dict[str, dict[str, Any]] = {}
    for group, names in {"Perception": MME_PERCEPTION, "Cognition": MME_COGNITION}.items():
        scores = {name: _mme_task(name, tasks[name]) for name in names if name in tasks}
        table[group] = {"total": sum(scores.values()), "tasks": scores}
    total = table["Perception"]["total"] + table["Cognition"]["total"]
    return Scores(total if rows else None, table, tuple(hits))


def score_mme_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """MME as VLMEvalKit's `MME_rating`: rows of one image share `image_path`.

    The table holds the sums `perception` and `reasoning`, and every task. Tasks that do not occur
    count nothing in the two sums, where the official code raises.

    Raises:
        ValueError: an image with fewer than two rows.
    """
    read, _, hits = _yes_no_rows(rows)
    images: dict[str, dict[Any, list[float]]] = {}
    for row, hit in zip(read, hits, strict=True):
        images.setdefault(row["category"], {}).setdefault(row["image_path"], []).append(hit)
    tasks = {}
    for task, by_image in images.items():
        single = next((image for image, both in by_image.items() if len(both) < 2), None)
        if single is not None:
            raise ValueError(f"MME asks two questions of each image, got one of {single!r} in the task {task!r}.")
        every = [hit for both in by_image.values() for hit in both]
        pairs = [both[0] * both[1] for both in by_image.values()]
        tasks[task] = 100 * (sum(every) / len(every)) + 100 * (sum(pairs) / len(pairs))
    table = {
        "perception": sum(tasks.get(name, 0) for name in sorted(MME_PERCEPTION)),
        "reasoning": sum(tasks.get(name, 0) for name in MME_COGNITION),
    }
    total = table["perception"] + table["reasoning"]
    return Scores(total if rows else None, table | tasks, tuple(hits))


def pope_answer_internvl(text: str) -> str:
    """`no` where No, no or not is a word of the first sentence, else `yes`: an empty answer means yes.

    Source, with the next function: OpenGVLab/InternVL `eval/pope/eval_pope.py`.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def pope_internvl(labels: Sequence[str], predictions: Sequence[str]) -> dict[str, Any]:
    """Rates of one category of POPE, 0 to 1. A rate whose denominator is zero is 0, where the official code raises.

    Args:
        labels, predictions: `yes` or `no`; a label other than `no` is yes.
    """
    pairs = [(label != "no", prediction == "yes") for label, prediction in zip(labels, predictions, strict=True)]
    right_yes, wrong_yes = pairs.count((True, True)), pairs.count((False, True))
    right_no, wrong_no = pairs.count((False, False)), pairs.count((True, False))
    precision = _share(right_yes, right_yes + wrong_yes)
    recall = _share(right_yes, right_yes + wrong_no)
    return {
        "TP_FP_TN_FN": [right_yes, wrong_yes, right_no, wrong_no],
        "Accuracy": _share(right_yes + right_no, len(pairs)),
        "Precision": precision,
        "Recall": recall,
        "F1 score": _share(2 * precision * recall, precision + recall),
        "Yes ratio": _share(right_yes + wrong_yes, len(pairs)),
    }


def score_pope_internvl(rows: Sequence[Row]) -> Scores:
    """POPE of InternVL: the mean over the categories of the F1 of yes, in percent. The table has their rates."""
    predictions = [pope_answer_internvl(row["prediction"]) for row in rows]
    labels = [str(row["answer"]).lower() for row in rows]
    table = {}
    for category in dict.fromkeys(row["category"] for row in rows):
        chosen = [number for number, row in enumerate(rows) if row["category"] == category]
        table[category] = pope_internvl([labels[one] for one in chosen], [predictions[one] for one in chosen])
    average = mean([rates["F1 score"] for rates in table.values()])
    hits = tuple(float(label == prediction) for label, prediction in zip(labels, predictions, strict=True))
    return Scores(None if average is None else average * 100, table, hits)


def score_pope_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """POPE of VLMEvalKit: by category `Overall` (F1 of Yes), `acc`, `precision` and `recall` in percent.

    `category` may name several, with commas: the row counts in each, and as often in the split `Overall`. An answer
    that is neither counts as No for the F1, and as wrong for `acc`.
    """
    read, found, hits = _yes_no_rows(rows)
    counted = [
        (category, row["answer"] == "Yes", answer == "Yes", hit)
        for row, answer, hit in zip(read, found, hits, strict=True)
        for category in (row["category"].split(",") if isinstance(row["category"], str) else [None])
    ]
    table = {"Overall": _f1_row(counted)}
    for category in dict.fromkeys(entry[0] for entry in counted if entry[0] is not None):
        table[category] = _f1_row([entry for entry in counted if entry[0] == category])
    return Scores(table["Overall"]["Overall"] if rows else None, table, tuple(hits))


def score_hallusionbench(rows: Sequence[Row]) -> Scores:
    """HallusionBench: `aAcc`, `fAcc` and `qAcc`, percent of answers, figures and questions that are right.

    A figure or question is right if all its answers are. The table holds the three for `Overall`, each `category` and
    each `l2-category`; the published number is the mean of those of `Overall`. `index` is
    `category_l2_visual_set_figure_question`. Where no rule reads an answer, `extraction` (`Yes` or `No`, of a language
    model) is taken if the row has it.

    Source: VLMEvalKit `Hallusion_rating`.
    """
    read, found, _ = _yes_no_rows(rows)
    found = [row.get("extraction", text) if text == "Unknown" else text for row, text in zip(rows, found, strict=True)]
    hits = [float(row["answer"] == text) for row, text in zip(read, found, strict=True)]
    entries = [(row, hit) for row, hit in zip(read, hits, strict=True)]
    table = {"Overall": _hallusion_row(entries)}
    for column in ("category", "l2-category"):
        for name in dict.fromkeys(row[column] for row in read if row.get(column) is not None):
            table[name] = _hallusion_row([(row, hit) for row, hit in entries if row[column] == name])
    overall = sum(table["Overall"].values()) / 3 if rows else None
    return Scores(overall, table, tuple(hits))


def score_amber(rows: Sequence[Row]) -> Scores:
    """AMBER: percent right of each group of categories, and `Avg ACC`, their mean.

    Source: VLMEvalKit `AMBER_rating`.
    """
    read, found, _ = _yes_no_rows(rows)
    hits = [float(str(row["answer"]).lower() == answer.lower()) for row, answer in zip(read, found, strict=True)]
    groups: dict[str, list[float]] = {}
    for row, hit in zip(read, hits, strict=True):
        groups.setdefault(AMBER_GROUPS.get(row["category"], row["category"]), []).append(hit)
    table = {name: 100 * (sum(scores) / len(scores)) for name, scores in groups.items()}
    average = mean(list(table.values()))
    return Scores(average, table | {"Avg ACC": average}, tuple(hits))


def _yes_no_rows(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], list[str], list[float]]:
    """The rows as read from a spreadsheet, the answers found, and 1 where they are the right ones, else 0."""
    read = through_spreadsheet(rows)
    found = [yes_or_no_vlmevalkit(cell_text(row["prediction"])) for row in read]
    return read, found, [float(row["answer"] == answer) for row, answer in zip(read, found, strict=True)]


def _mme_task(name: str, hits: Sequence[float | None]) -> float:
    if len(hits) % 2:
        raise ValueError(f"MME asks two questions of each image, got {len(hits)} rows in the task {name!r}.")
    read = [hit for hit in hits if hit is not None]
    pairs = [bool(one and other) for one, other in zip(hits[::2], hits[1::2], strict=True)]
    return 100 * _share(sum(read), len(read)) + 100 * (sum(pairs) / len(pairs))


def _f1_row(entries: Sequence[tuple[Any, bool, bool, float]]) -> dict[str, float]:
    both = sum(label and answer for _, label, answer, _ in entries)
    precision = _share(both, sum(answer for _, _, answer, _ in entries))
    recall = _share(both, sum(label for _, label, _, _ in entries))
    return {
        "Overall": 100 * _share(2 * (precision * recall), precision + recall),
        "acc": 100 * _share(sum(hit for *_, hit in entries), len(entries)),
        "precision": 100 * precision,
        "recall": 100 * recall,
    }


def _hallusion_row(entries: Sequence[tuple[Mapping[str, Any], float]]) -> dict[str, float]:
    figures: dict[tuple, bool] = {}
    questions: dict[tuple, bool] = {}
    for row, hit in entries:
        _, _, _, chosen_set, figure, question, *_ = row["index"].split("_")
        for groups, last in ((figures, figure), (questions, question)):
            key = (row.get("l2-category"), chosen_set, last)
            groups[key] = groups.get(key, True) and bool(hit)
    return {
        "aAcc": 100 * _share(sum(hit for _, hit in entries), len(entries)),
        "fAcc": 100 * _share(sum(figures.values()), len(figures)),
        "qAcc": 100 * _share(sum(questions.values()), len(questions)),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


__all__ = [
    "AMBER_GROUPS",
    "MME_COGNITION",
    "MME_PERCEPTION",
    "mme_answer",
    "mme_post_processing",
    "mme_scores",
    "mme_task_metric",
    "pope_answer_internvl",
    "pope_internvl",
    "score_amber",
    "score_hallusionbench",
    "score_mme_internvl",
    "score_mme_vlmevalkit",
    "score_pope_internvl",
    "score_pope_vlmevalkit",
    "yes_or_no_vlmevalkit",
]
