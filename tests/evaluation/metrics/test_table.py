# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of metrics: every row scores, says what it lacks, and is in the docs."""

import re
from pathlib import Path

import pytest

from transformers_internvl.evaluation.metrics import METRICS, score_answers
from transformers_internvl.evaluation.metrics.yes_no import MME_COGNITION, MME_PERCEPTION

DOCS = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"
QUESTION = {
    "A": "cat",
    "B": "dog",
    "answer": "A",
    "candidates": ["cat", "dog"],
    "category": "c",
    "choices": ["cat", "dog"],
    "duration": "short",
    "domain": "Law",
    "sub_category": "Law",
    "height": 100,
    "id": "validation_Math_1",
    "image_path": "1.jpg",
    "index": 1,
    "l2-category": "l",
    "metadata": {"subject": "Algebra", "subfield": "Angle"},
    "options": "A: cat\nB: dog",
    "prediction": "A",
    "problem_version": "Text Lite",
    "question": "Which?\nA. cat\nB. dog",
    "question_type": "multi_choice",
    "question_type_id": 1,
    "skills": "['algebra']",
    "task": "count",
    "task_type": "t",
    "width": 200,
}
YES_NO = QUESTION | {"answer": "Yes", "prediction": "yes"}
# What differs from QUESTION: a right answer, one row or as many as make a question.
RIGHT: dict[str, list[dict]] = {
    "caption": [
        QUESTION | {"answer": [text], "prediction": text} for text in ("one red dog runs", "a cat sleeps now")
    ],
    "caption_vlmevalkit": [
        QUESTION | {"answer": [text], "prediction": text} for text in ("one red dog runs", "a cat sleeps now")
    ],
    "convbench": [
        QUESTION | {"position": 0, "first": "A", "second": "A", "third": "A", "overall": "A"} for _ in range(577)
    ],
    "logicvista": [QUESTION | {"answer": "B, D", "extraction": "DB", "skill": "inductive, spatial"}],
    "mia_bench": [
        QUESTION | {"component_type": "['describe']", "score_raw": "score of component 1: 2/2, total score: 10/10."}
    ],
    **{
        name: [
            QUESTION
            | {
                "source": "OE_MM_maths_en_COMP",
                "answer_type": "Numerical",
                "error": None,
                "final_answer": "['2']",
                "prediction": "So the final answer is $2$.",
            }
        ]
        for name in ("olympiadbench", "olympiadbench_vlmevalkit")
    },
    "crpe": [QUESTION | {"answer": "A. cat", "category": "exist"}] * 4,
    "hallusionbench": [YES_NO | {"index": "VD_math_1_0_0_0"}],
    "mantis": [QUESTION | {"question_type": "multi-choice", "options": ["(A) cat", "(B) dog"]}],
    "mathvista_internvl": [
        QUESTION
        | {
            "answer": "dog",
            "prediction": "B",
            "answer_type": "text",
            "precision": None,
            "metadata": {"task": "figure"},
        }
    ],
    "mathvista_vlmevalkit": [QUESTION | {"answer_option": "A", "answer_type": "text"}],
    "charxiv_descriptive": [QUESTION | {"qid": 3, "score": 1}],
    "charxiv_reasoning": [QUESTION | {"inst_category": 2, "score": 1}],
    "dynamath": [
        QUESTION | {"answer_type": "multiple choice", "subject": "algebra", "knowledge_level": "high", "qid": 1}
    ],
    "mmhal": [QUESTION | {"score": 6}],
    "wildvision": [QUESTION | {"score": "B>A"}],
    "llavabench": [QUESTION | {"score": 10, "gpt4_score": 1}],
    "mathverse": [QUESTION],
    "mirb": [QUESTION | {"answer": "3", "prediction": "There are 3."}],
    "mmiu": [QUESTION | {"task": "point_tracking"}],
    "mmmu_pro": [QUESTION | {"prediction": "Answer: A"}],
    "mmvet": [QUESTION | {"category": "ocr,math", "score": 1.0}],
    "mmvp_internvl": [QUESTION, QUESTION],
    "mmvp_vlmevalkit": [QUESTION, QUESTION | {"index": 2}],
    "ocrbench": [QUESTION | {"category": "Handwriting Recognition"}] * 1000,
    "seed_internvl": [QUESTION],
    "stvqa_accuracy": [QUESTION | {"answer": "cat", "prediction": "The cat."}],
    "tallyqa": [QUESTION | {"answer": "2", "prediction": "Two dogs"}],
    "tiny_lvlm": [
        QUESTION | {"answer": "cat", "prediction": "a cat", "category": category}
        for category in (
            "Visual_Reasoning",
            "Visual_Perception",
            "Visual_Knowledge_Acquisition",
            "Visual_Commonsense",
            "Object_Hallucination",
        )
    ],
    "mvbench_internvl": [QUESTION | {"answer": "cat", "prediction": "(A)"}],
    "mvbench_vlmevalkit": [QUESTION | {"answer": "cat", "prediction": "(A)"}],
    "vqa_accuracy_internvl": [QUESTION | {"answer": ["cat"] * 10, "prediction": "cat"}],
    "vqa_accuracy_vlmevalkit": [QUESTION | {"answer": ["cat"] * 10, "prediction": "cat"}],
    "vsi_bench": [QUESTION | {"question_type": "route_planning", "options": ["A. x"], "prediction": "A."}],
}
MME = ("mme_internvl", "mme_vlmevalkit")
TASKS = (*MME_PERCEPTION, *MME_COGNITION)
BOXES = ("refcoco_internvl", "refcoco_vlmevalkit")
POPE = ("pope_internvl", "pope_vlmevalkit", "amber")


def right_rows(name: str) -> list[dict]:
    if name in MME:
        return [YES_NO | {"category": task, "image_path": "1.jpg"} for task in TASKS for _ in range(2)]
    if name in BOXES:
        box = {"bbox_x1": 20, "bbox_y1": 10, "bbox_x2": 100, "bbox_y2": 50}
        return [QUESTION | box | {"prediction": "<box>[[100, 100, 500, 500]]</box>"}]
    if name in POPE:
        return [YES_NO]
    if name == "gqa":
        return [QUESTION | {"answer": "cat", "prediction": "Cat."}]
    return RIGHT.get(name, [QUESTION])


@pytest.mark.parametrize("name", sorted(METRICS))
def test_right_answers_get_the_highest_score_and_others_a_lower_one(name):
    row = METRICS[name]
    rows = right_rows(name)
    scores = score_answers(name, rows)
    assert scores.overall == pytest.approx(row.range[1])
    assert len(scores.samples) in (0, len(rows))
    if METRICS[name].judge and {"score", "first", "extraction", "score_raw"} & set(
        row.columns
    ):  # their scores are a judge's
        return
    wrong = [row | {"prediction": "qqq, no"} for row in rows]
    assert row.range[0] <= score_answers(name, wrong).overall < 0.1 * row.range[1]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_rows_have_no_score(name):
    scores = score_answers(name, [])
    assert scores.overall is None or name == "convbench"
    assert scores.samples == ()


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_column_that_is_named_is_needed_and_no_other(name):
    row = right_rows(name)[0]
    for column in METRICS[name].columns:
        with pytest.raises(ValueError, match=f"Row 0 lacks {column}, which the metric '{name}' reads"):
            score_answers(name, [{key: value for key, value in row.items() if key != column}])


def test_what_is_wrong_with_the_arguments_is_said():
    with pytest.raises(ValueError, match="must be one of accuracy_internvl, amber.*got 'bleu'"):
        score_answers("bleu", [])
    with pytest.raises(ValueError, match="Row 1: .prediction. must be a text, got 5"):
        score_answers("anls", [QUESTION, QUESTION | {"prediction": 5}])


def test_the_docs_have_every_metric_and_no_other():
    section = DOCS.read_text(encoding="utf-8").split("\n## Metrics\n")[1]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(METRICS)
    for name, row in METRICS.items():
        line = next(line for line in section.splitlines() if line.startswith(f"| `{name}` |"))
        assert line.split("|")[-2].strip() == ", ".join(row.used_by)
