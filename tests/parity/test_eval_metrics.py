# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Our scorers give the official numbers on the cases of `golden/eval_metrics`."""

from collections.abc import Callable
from typing import Any

import pytest

from transformers_internvl.evaluation.metrics import (
    anls,
    choice_table,
    choices,
    exact_match,
    extraction,
    grounding,
    ocr,
    relaxed_accuracy,
    vqa_accuracy,
    vqa_table,
    yes_no,
)
from transformers_internvl.evaluation.metrics.reading import read_answers

from .sections import check, refuses, sections_of

FOLDER = "eval_metrics"


def _docvqa_set(entries: list[dict]) -> dict:
    rows = [{"answer": entry["gts"], "prediction": entry["pred"]} for entry in entries]
    scores = anls.score_anls(rows)
    return {"per_question": scores.samples, "score": scores.overall / 100}


def _infovqa_types(entries: list[dict]) -> dict:
    rows = [entry | {"answer": entry["gts"], "prediction": entry["pred"]} for entry in entries]
    overall = anls.score_anls(rows).overall / 100
    return {"result": {"score": overall}, "scores_by_types": anls.anls_by_type(rows)}


def _vlmevalkit_anls(entry: dict) -> dict:
    distances = [anls.normalised_distance(answer, entry["pred"]) for answer in entry["gts"]]
    return {"hit": anls.anls(entry["gts"], entry["pred"]), "match": distances}


def _vlmevalkit_accuracy(case: dict) -> dict:
    answers, prediction = read_answers(case["annotation"]), case["prediction"]
    return {
        "gqa": exact_match.gqa_accuracy_vlmevalkit(answers, prediction),
        "match": exact_match.exact_matches(answers, prediction),
        "ocrvqa": exact_match.accuracy(answers, prediction),
    }


def _as_list(answers: Any) -> list:
    return [answers] if isinstance(answers, str) else answers


def _exact_match_set(entries: list[dict]) -> float:
    rows = [{"answer": _as_list(entry["annotation"]), "prediction": entry["prediction"]} for entry in entries]
    return exact_match.score_accuracy_internvl(rows).overall / 100


def _vlmevalkit_chartqa(case: dict) -> dict:
    answers, prediction = read_answers(case["annotation"]), case["prediction"]
    matches = [relaxed_accuracy.relaxed_correctness(str(answer), prediction.strip()) for answer in answers]
    return {"gt": answers, "hit": relaxed_accuracy.relaxed_accuracy(map(str, answers), prediction), "match": matches}


def _chartqa_set(entries: list[dict]) -> float:
    rows = [{"answer": _as_list(entry["annotation"]), "prediction": entry["prediction"]} for entry in entries]
    return relaxed_accuracy.score_relaxed_accuracy_internvl(rows).overall / 100


def _vqa_table(case: dict) -> dict:
    kinds = {
        "TextVQA": vqa_table.score_textvqa_vlmevalkit,
        "ChartQA": vqa_table.score_chartqa_vlmevalkit,
        "OCRVQA": vqa_table.score_ocrvqa_vlmevalkit,
        "GQA": vqa_table.score_gqa_vlmevalkit,
        "DocVQA": vqa_table.score_docvqa_vlmevalkit,
        "InfoVQA": vqa_table.score_docvqa_vlmevalkit,
    }
    return next(score for name, score in kinds.items() if name in case["dataset"])(case["rows"]).table


def _vqa_score(entry: dict) -> dict:
    answers = [vqa_accuracy.normalise_vlmevalkit(answer) for answer in _as_list(entry["gts"])]
    prediction = vqa_accuracy.normalise_vlmevalkit(entry["pred"])
    return {
        "gt": answers,
        "hit": vqa_accuracy.vqa_accuracy_vlmevalkit(_as_list(entry["gts"]), entry["pred"]),
        "match": vqa_accuracy.left_out_accuracies(answers, prediction),
        "pred": prediction,
    }


def _textvqa_set(entries: list[dict]) -> float:
    rows = [{"answer": entry["gts"], "prediction": entry["pred"]} for entry in entries]
    return vqa_accuracy.score_textvqa(rows).overall / 100


def _textvqa(entry: dict) -> float:
    return vqa_accuracy.textvqa_accuracy(entry["gts"], entry["pred"])


def _choices(case: dict) -> tuple[str, dict]:
    return case["answer"], case["choices"]


def _option(function: Callable[[str, dict], str]) -> Callable[[dict], str | bool]:
    """The official functions give False where we give the empty text."""
    return lambda case: function(*_choices(case)) or False


def _hits(rows: list[dict], samples: tuple) -> dict:
    return {str(row["index"]): int(hit) for row, hit in zip(rows, samples, strict=True) if hit is not None}


def _choice_table(score: Callable) -> Callable[[dict], dict]:
    def scored(case: Any) -> dict:
        rows = case if isinstance(case, list) else case["rows"]
        scores = score(rows)
        return {"hits": _hits(rows, scores.samples), "table": scores.table}

    return scored


def _vanilla(case: dict) -> dict:
    score = choice_table.score_mmt if "MMT" in case["dataset"] else choice_table.score_choices
    return _choice_table(score)(case)


def _ocr_rows(rows: list[dict]) -> list[dict]:
    return [{"answer": row["answers"], "category": row["category"], "prediction": row["prediction"]} for row in rows]


def _box_rows(rows: list[dict]) -> list[dict]:
    names = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
    return [row | dict(zip(names, row["gt"], strict=True)) for row in rows]


def _refcoco_single(case: dict) -> dict:
    parsed = grounding.parse_prediction(case["prediction"])
    absolute = grounding.to_absolute(parsed, case["width"], case["height"])
    overlap = grounding.refcoco_vlmevalkit(case["prediction"], case["gt"], case["width"], case["height"])
    printed = "" if absolute is None else "[" + ", ".join(f"{number:.6f}" for number in absolute) + "]"
    hit = int(overlap >= grounding.THRESHOLD)
    return {"parsed": parsed, "absolute": absolute, "iou": overlap, "hit": hit, "printed": printed}


def _mme_internvl(tasks: dict) -> dict:
    rows = [row | {"category": task} for task, rows in tasks.items() for row in rows]
    return yes_no.mme_scores(rows).table


def _mme_vlmevalkit(tasks: dict) -> dict:
    rows = [row | {"category": task, "image_path": row["image"]} for task, rows in tasks.items() for row in rows]
    return yes_no.score_mme_vlmevalkit(rows).table


def _mme_task(rows: list[dict]) -> dict:
    predictions = [yes_no.mme_answer(row["prediction"].lower()) for row in rows]
    return yes_no.mme_task_metric([row["answer"].lower() for row in rows], predictions)


def _pope(rows: list[dict]) -> dict:
    read = [yes_no.pope_answer_internvl(row["text"]) for row in rows]
    rates = yes_no.pope_internvl([row["label"] for row in rows], read)
    return rates | {"as_read": read, "f1": rates["F1 score"]}


def _pope_overall(categories: dict) -> dict:
    rows = [
        {"category": name, "answer": row["label"], "prediction": row["text"]}
        for name, rows in categories.items()
        for row in rows
    ]
    scores = yes_no.score_pope_internvl(rows)
    names = ("Accuracy", "F1 score", "Precision", "Recall", "Yes ratio")
    rates = {name: {rate: table[rate] for rate in names} for name, table in scores.table.items()}
    return {"categories": rates, "overall_f1_percent": f"{scores.overall:.2f}"}


def _table(score: Callable) -> Callable[[list[dict]], Any]:
    return lambda rows: score(rows).table


SCORERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("anls", "docvqa_single"): lambda case: anls.anls(case["gts"], case["pred"]),
    ("anls", "docvqa_set"): _docvqa_set,
    ("anls", "docvqa_threshold"): lambda case: anls.anls(
        case["entry"]["gts"], case["entry"]["pred"], case["threshold"]
    ),
    ("anls", "infovqa_types"): _infovqa_types,
    ("anls", "vlmevalkit_anls"): _vlmevalkit_anls,
    ("anls", "stvqa_anls"): lambda case: anls.stvqa_anls(case["gts"], case["pred"]),
    ("exact_match", "internvl_accuracy"): lambda case: exact_match.accuracy(
        _as_list(case["annotation"]), case["prediction"]
    ),
    ("exact_match", "vlmevalkit_accuracy"): _vlmevalkit_accuracy,
    ("exact_match", "internvl_set"): _exact_match_set,
    ("exact_match", "gqa_conversion"): lambda answers: list(map(exact_match.gqa_prediction, answers)),
    ("exact_match", "internvl_vqa_post_process"): exact_match.vqa_post_process,
    ("relaxed_accuracy", "internvl_chartqa"): lambda case: relaxed_accuracy.relaxed_accuracy_internvl(
        [case["annotation"]], case["prediction"]
    ),
    ("relaxed_accuracy", "relaxed_correctness"): lambda case: relaxed_accuracy.relaxed_correctness(
        case["annotation"], case["prediction"]
    ),
    ("relaxed_accuracy", "vlmevalkit_chartqa"): _vlmevalkit_chartqa,
    ("relaxed_accuracy", "internvl_several_annotations"): lambda case: relaxed_accuracy.relaxed_accuracy_internvl(
        _as_list(case["annotation"]), case["prediction"]
    ),
    ("relaxed_accuracy", "internvl_set"): _chartqa_set,
    ("relaxed_accuracy", "other_tolerance"): lambda case: relaxed_accuracy.relaxed_correctness(
        case["annotation"], case["prediction"], case["tolerance"]
    ),
    ("relaxed_accuracy", "vlmevalkit_table"): _vqa_table,
    ("vqa_accuracy", "normalise_evalai"): vqa_accuracy.normalise_evalai,
    ("vqa_accuracy", "normalise_vlmevalkit"): vqa_accuracy.normalise_vlmevalkit,
    ("vqa_accuracy", "textvqa_accuracy"): _textvqa,
    ("vqa_accuracy", "vlmevalkit_vqa_score"): _vqa_score,
    ("vqa_accuracy", "textvqa_accuracy_set"): _textvqa_set,
    ("vqa_accuracy", "textvqa_accuracy_not_ten_answers"): _textvqa,
    ("vqa_accuracy", "stvqa_accuracy"): lambda case: vqa_accuracy.stvqa_accuracy(case["gts"], case["pred"]),
    ("vqa_accuracy", "vlmevalkit_default"): _vqa_score,
    ("mmbench", "circular"): _choice_table(choice_table.score_mmbench_circular),
    ("mmbench", "circular_group"): lambda case: choice_table.circular_group(
        case["rows"], [row["answer"] for row in case["rows"]]
    ),
    ("mmbench", "vanilla_sets"): _vanilla,
    ("mmbench", "mmvp"): _choice_table(choice_table.score_mmvp_vlmevalkit),
    ("mmbench", "mmmu_vlmevalkit"): _choice_table(choice_table.score_mmmu_vlmevalkit),
    ("mmt_bench", "mmt_bench"): _choice_table(choice_table.score_mmt),
    ("multiple_choice", "can_infer"): _option(choices.can_infer),
    ("multiple_choice", "can_infer_option"): _option(choices.can_infer_option),
    ("multiple_choice", "can_infer_text"): _option(choices.can_infer_text),
    ("multiple_choice", "internvl_post_process"): lambda case: choices.post_process_internvl(*_choices(case)),
    ("multiple_choice", "internvl_scienceqa_post_process"): lambda case: choices.post_process_scienceqa(
        *_choices(case)
    ),
    ("multiple_choice", "internvl_cot_extract_answer"): extraction.final_answer,
    ("multiple_choice", "vlmevalkit_regex_AE"): choices.extract_characters_regex,
    ("ocrbench", "single"): lambda case: ocr.ocrbench(case["answers"], case["prediction"], case["category"]),
    ("ocrbench", "set"): lambda rows: ocr.score_ocrbench(_ocr_rows(rows)).table,
    ("ocrbench", "mtvqa"): _table(ocr.score_mtvqa),
    ("refcoco", "vlmevalkit_single"): _refcoco_single,
    ("refcoco", "vlmevalkit_table"): lambda rows: grounding.score_refcoco_vlmevalkit(_box_rows(rows)).table,
    ("refcoco", "vlmevalkit_parse_bbox_internvl"): grounding.parse_bbox_internvl,
    ("refcoco_internvl", "set"): lambda rows: grounding.score_refcoco_internvl(_box_rows(rows)).overall / 100,
    ("refcoco_internvl", "single"): lambda case: int(
        grounding.refcoco_internvl(case["prediction"], case["gt"], case["width"], case["height"]) >= 0.5
    ),
    ("yes_no", "vlmevalkit_extraction"): yes_no.yes_or_no_vlmevalkit,
    ("yes_no", "internvl_mme_post_processing"): yes_no.mme_post_processing,
    ("yes_no", "internvl_mme_parse"): yes_no.mme_answer,
    ("yes_no", "internvl_mme_scores"): _mme_internvl,
    ("yes_no", "vlmevalkit_mme_scores"): _mme_vlmevalkit,
    ("yes_no", "internvl_mme_task_metric"): _mme_task,
    ("yes_no", "internvl_pope"): _pope,
    ("yes_no", "internvl_pope_overall"): _pope_overall,
    ("yes_no", "vlmevalkit_pope"): _table(yes_no.score_pope_vlmevalkit),
    ("yes_no", "hallusionbench"): _table(yes_no.score_hallusionbench),
    ("yes_no", "amber"): _table(yes_no.score_amber),
}
# Where the official code raises: is our result the documented one?
RAISING: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("anls", "infovqa_types"): lambda rows: (
        None in [score for scores in _infovqa_types(rows)["scores_by_types"].values() for score in scores.values()]
    ),
    ("anls", "stvqa_anls"): lambda case: anls.stvqa_anls(case["gts"], case["pred"]) == 1,
    ("vqa_accuracy", "textvqa_accuracy_not_ten_answers"): refuses(_textvqa),
    ("mmbench", "vanilla_sets"): lambda case: "Overall" in _vanilla(case)["table"]["ALL"],
    ("multiple_choice", "internvl_post_process"): lambda case: (
        choices.post_process_internvl(*_choices(case)) == case["answer"].strip() == ""
    ),
    ("multiple_choice", "internvl_scienceqa_post_process"): lambda case: (
        choices.post_process_scienceqa(*_choices(case)) == case["answer"].strip()
    ),
    ("yes_no", "internvl_pope"): lambda rows: _pope(rows)["F1 score"] == 0,
    ("yes_no", "internvl_pope_overall"): lambda categories: (
        0 in [rates["F1 score"] for rates in _pope_overall(categories)["categories"].values()]
    ),
}


@pytest.mark.parametrize("section", sections_of(FOLDER), ids="-".join)
def test_section(section):
    check(FOLDER, section, SCORERS, RAISING)
