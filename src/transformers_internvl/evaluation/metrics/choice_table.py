# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Accuracy of multiple-choice sets as VLMEvalKit computes it: plain, circular, in pairs; by split and category.

An answer that no rule assigns to an option is wrong, which VLMEvalKit calls `exact_matching`. Rows pass through a
spreadsheet ([`through_spreadsheet`]), the right answers do not. Accuracies are 0 to 1 in tables, percent in `overall`.

Source: open-compass/VLMEvalKit `vlmeval/dataset/image_mcq.py`, `vlmeval/dataset/utils/multiple_choice.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from .choices import build_choices, can_infer
from .metric import Row, Scores, mean
from .spreadsheet import cell_text, through_spreadsheet

ROTATION = 1_000_000  # between the indices of a question's rotations
NO_SPLIT = "none"
MMBENCH_ABBREVIATIONS = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}
MMT_GROUPS = {
    "visual_recognition": "VR",
    "localization": "Loc",
    "ocr": "OCR",
    "counting": "Count",
    "hallucination": "HLN",
    "image_retrieval": "IR",
    "threed": "3D",
    "visual_captioning": "VC",
    "visual_grounding": "VG",
    "doc_understanding": "DU",
    "action_recognition": "AR",
    "pixel_level_perception": "PLP",
    "image-to-image_translation": "I2IT",
    "relation_reasoning": "RR",
    "intelligence_quotient_test": "IQT",
    "emotion": "Emo",
    "visual_illusion": "VI",
    "meme_understanding": "MemU",
    "visual_prompt_understanding": "VPU",
    "anomaly_detection": "AND",
    "keypoint_detection": "KD",
    "visual_commonsense_reasoning": "VCR",
    "image_evaluation_judgement": "IEJ",
    "multiple_image_analysis": "MIA",
    "cross_image_matching": "CIM",
    "temporal_understanding": "TU",
    "visual_code": "VP",
    "medical_understanding": "MedU",
    "autonomous_driving": "AUD",
    "discipline_knowledge_reasoning": "DKR",
    "embodied_ai": "EA",
    "gui_navigation": "GN",
}
Report = Callable[[Sequence[Mapping[str, Any]], Sequence[float]], dict[str, Any]]


def is_right(row: Mapping[str, Any], answer: str) -> float:
    """1 where the prediction of a row, read from a spreadsheet, means the option `answer`, else 0."""
    return float(can_infer(cell_text(row["prediction"]), build_choices(row)) == answer)


def circular_group(rows: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> dict[str, Any] | None:
    """Whether all rotations of a question are right: `hit` 0 once a rule finds another option, 1 if all are right.

    None while a rotation is undecided and none is wrong: VLMEvalKit then asks a language model, or counts 0.

    Args:
        rows: the rotations, as read from a spreadsheet.
        answers: their right options.

    Returns:
        `hit`, and `log`, which rotation failed.
    """
    decided = True
    for rolling, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        prediction = cell_text(row["prediction"])
        found = can_infer(prediction, build_choices(row))
        if found and found != answer:
            log = f"Answer is {answer}, Prediction is {prediction}, Pre-fetched is {found}. "
            return {"hit": 0, "log": f"Failed in Prefetching Rolling {rolling}: {log}"}
        decided = decided and bool(found)
    return {"hit": 1, "log": "Succeed During Pre-fetching"} if decided else None


def score_choices(rows: Sequence[Row]) -> Scores:
    """Accuracy of a plain multiple-choice set (AI2D, MMStar, SEED-Image, RealWorldQA, ScienceQA, BLINK, …)."""
    return _plain(rows, accuracy_table)


def score_mmt(rows: Sequence[Row]) -> Scores:
    """Accuracy of MMT-Bench, with [`mmt_table`]."""
    return _plain(rows, mmt_table)


def score_mmmu_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """Accuracy of MMMU: an open question is a choice between A, its answer, and B, `Other Answers`."""
    read = through_spreadsheet(rows)
    for row in read:
        if row.get("A") is None:
            row["A"], row["B"] = row["answer"], "Other Answers"
    answers = [row["answer"] if row["answer"] in tuple(ascii_uppercase) else "A" for row in rows]
    return _scores(read, [is_right(row, answer) for row, answer in zip(read, answers, strict=True)], accuracy_table)


def score_mmbench_circular(rows: Sequence[Row]) -> Scores:
    """Accuracy of MMBench and CCBench: a question is right if it is in every rotation of its options.

    Rotations have the index of the question plus a multiple of 1,000,000, or its index in `g_index`. Only questions
    have a score among `samples`.

    Raises:
        ValueError: an index is no whole number.
    """
    for number, row in enumerate(rows):
        if not str(row["index"]).isdecimal():
            raise ValueError(
                f"Row {number}: `index` must be a whole number for circular scores, got {row['index']!r}."
            )
    read = through_spreadsheet(rows)
    groups: dict[int, list[int]] = {}
    for number, row in enumerate(read):
        groups.setdefault(int(row.get("g_index") or int(row["index"]) % ROTATION), []).append(number)
    hits = {}
    for group, numbers in groups.items():
        result = circular_group([read[number] for number in numbers], [rows[number]["answer"] for number in numbers])
        main = [number for number in numbers if int(read[number]["index"]) == group]
        hits.update(dict.fromkeys(main, float(result["hit"]) if result else 0.0))
    table = accuracy_table([read[number] for number in hits], list(hits.values()))
    average = mean(list(hits.values()))
    samples = tuple(hits.get(number) for number in range(len(rows)))
    return Scores(None if average is None else 100 * average, table, samples)


def score_mmvp_vlmevalkit(rows: Sequence[Row]) -> Scores:
    """Accuracy of MMVP's pairs: `Overall` counts pairs whose questions are both right, `Average` single questions.

    Pairs follow each other once the rows are sorted by `index`.

    Raises:
        ValueError: the number of rows is odd, or the questions of a pair differ.
    """
    read = through_spreadsheet(rows)
    order = sorted(range(len(rows)), key=lambda number: read[number]["index"])
    if len(rows) % 2:
        raise ValueError(f"MMVP has two rows for each pair, got {len(rows)} rows.")
    hits = [is_right(read[number], rows[number]["answer"]) for number in range(len(rows))]
    pairs = []
    for one, other in zip(order[::2], order[1::2], strict=True):
        if read[one]["question"] != read[other]["question"]:
            raise ValueError(
                f"The rows {read[one]['index']} and {read[other]['index']} are a pair of MMVP and must ask the same "
                f"question, got {read[one]['question']!r} and {read[other]['question']!r}."
            )
        pairs.append(hits[one] * hits[other])
    table = {"Average": mean(hits), "Overall": mean(pairs)}
    return Scores(None if not pairs else 100 * sum(pairs) / len(pairs), table, tuple(hits))


def accuracy_table(rows: Sequence[Mapping[str, Any]], hits: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """By split: accuracy of all rows, of each `l2-category` (MMBench's abbreviated), of each `category`.

    None where a split has no row of a category.
    """
    table: dict[str, dict[str, float | None]] = {}
    for split in _splits(rows):
        inside = [row.get("split", NO_SPLIT) == split for row in rows]
        table[split] = {"Overall": mean(_chosen(hits, inside))}
        for column in ("l2-category", "category"):
            for name in _names(rows, column):
                chosen = [one and row.get(column) == name for one, row in zip(inside, rows, strict=True)]
                table[split][MMBENCH_ABBREVIATIONS.get(name, name)] = mean(_chosen(hits, chosen))
    return table


def mmt_table(rows: Sequence[Mapping[str, Any]], hits: Sequence[float]) -> dict[str, dict[str, float | None]]:
    """By split, and `ALL`: accuracy of all rows, of each `category`, and of each `l2-category`.

    An `l2-category` is a group of MMT-Bench, whose accuracy is the mean of its categories', None where the split lacks
    one. Groups without rows are left out, where the official code raises unless all 32 of [`MMT_GROUPS`] occur.
    """
    table: dict[str, dict[str, float | None]] = {}
    for split in (*_splits(rows), "ALL"):
        inside = [split == "ALL" or row.get("split", NO_SPLIT) == split for row in rows]
        table[split] = {"Overall": mean(_chosen(hits, inside))}
        categories = {}
        for name in _names(rows, "category"):
            chosen = [one and row.get("category") == name for one, row in zip(inside, rows, strict=True)]
            categories[name] = table[split][name] = mean(_chosen(hits, chosen))
        for group in _names(rows, "l2-category"):
            members = dict.fromkeys(row["category"] for row in rows if row["l2-category"] == group)
            scores = [categories[member] for member in members]
            known = [score for score in scores if score is not None]
            table[split][MMT_GROUPS.get(group, group)] = mean(known) if len(known) == len(scores) else None
    return table


def _plain(rows: Sequence[Row], report: Report) -> Scores:
    read = through_spreadsheet(rows)
    hits = [is_right(row, whole["answer"]) for row, whole in zip(read, rows, strict=True)]
    return _scores(read, hits, report)


def _scores(read: Sequence[Mapping[str, Any]], hits: Sequence[float], report: Report) -> Scores:
    average = mean(hits)
    return Scores(None if average is None else 100 * average, report(read, hits), tuple(hits))


def _splits(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row.get("split", NO_SPLIT) for row in rows))


def _names(rows: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    return sorted({row[column] for row in rows if row.get(column) is not None}, key=str)


def _chosen(hits: Sequence[float], mask: Sequence[bool]) -> list[float]:
    return [hit for hit, inside in zip(hits, mask, strict=True) if inside]


__all__ = [
    "MMBENCH_ABBREVIATIONS",
    "MMT_GROUPS",
    "ROTATION",
    "accuracy_table",
    "circular_group",
    "is_right",
    "mmt_table",
    "score_choices",
    "score_mmbench_circular",
    "score_mmmu_vlmevalkit",
    "score_mmt",
    "score_mmvp_vlmevalkit",
]
