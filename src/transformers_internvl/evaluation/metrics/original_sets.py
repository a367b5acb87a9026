# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Sets that only InternVL's own scripts score: ScienceQA, Mantis-Eval, MIRB, MMIU, MMVP, SEED, Tiny LVLM.

Source: OpenGVLab/InternVL `internvl_chat/eval/`, the script of each set.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from .choices import build_choices, post_process_internvl, post_process_scienceqa
from .extraction import final_answer
from .metric import Row, Scores, mean, percent
from .reading import accepted_answers
from .vqa_accuracy import normalise_tiny_lvlm

MIRB_GROUPS = {
    "Knowledge": ("food", "sightseeing"),
    "Reasoning": ("codeu", "plot_code", "analogy", "3d_scene"),
    "Perception": ("image_jigsaw", "count", "attribute"),
    "Multi-Hop": ("visual_chain", "arxiv"),
}
_MIRB_YES_NO = ("analogy", "attribute")
_MIRB_NUMBERS = ("count", "visual_chain", "3d_scene", "image_needles")  # and their names with _concat
_CARDINALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_MIRB_WORDS = {
    word: str(number) for first, words in ((0, _CARDINALS), (1, _ORDINALS)) for number, word in enumerate(words, first)
}
MMIU_TASKS = (
    "point_tracking",
    "ravens_progressive_matrices",
    "single_object_tracking",
    "threed_cad_recognition",
    "threed_indoor_recognition",
    "Egocentric_Video_QuestionAnswering",
    "Homography_estimation",
    "Icon_Question_Answering_with_Spatial_Context",
    "Image_Captioning_with_Spatial_Context",
    "Image_Spatial_Transformation_Estimation",
    "Image_text_retrieval_with_Spatial_Context",
    "Multiview_Action_Recognition",
    "Multiview_reasoning",
    "jigsaw_puzzle_solving",
    "threeD_Depth_Estimation",
    "threeD_Object_Detection",
    "threeD_Object_Tracking",
    "threeD_Pose_Estimation",
    "threeD_Scene_Reconstruction",
    "threeD_question_answering",
)
SEED_TYPES = {
    1: "Scene Understanding",
    2: "Instance Identity",
    3: "Instance Location",
    4: "Instance Attribute",
    5: "Instances Counting",
    6: "Spatial Relation",
    7: "Instance Interaction",
    8: "Visual Reasoning",
    9: "Text Understanding",
    10: "Action Recognition",
    11: "Action Prediction",
    12: "Procedure Understanding",
}
SEED_IMAGE_TYPES = 9
TINY_LVLM_TASKS = (
    "Visual_Reasoning",
    "Visual_Perception",
    "Visual_Knowledge_Acquisition",
    "Visual_Commonsense",
    "Object_Hallucination",
)


def scienceqa(row: Row, cot: bool = False) -> str:
    """The option that an answer to ScienceQA means, or the answer; of a chain of thought, its final answer's.

    Rows have the options in the columns `A` to `E`.
    """
    prediction = final_answer(row["prediction"]).strip() if cot else row["prediction"]
    return post_process_scienceqa(prediction, _texts(build_choices(row)))


def mantis(prediction: str, row: Row) -> bool:
    """Whether a prediction is right: the letter (in brackets, too) or text of the option; else equal but for case.

    Args:
        row: with `question_type` (`multi-choice` or `short-answer`), `options`, a list, and `answer`.
    """
    answer = row["answer"]
    if row["question_type"] != "multi-choice":
        return prediction.lower() == answer.lower()
    if len(prediction) == 3 and prediction[0] == "(" and prediction[-1] == ")":
        prediction = prediction[1:-1]
    option = dict(zip(ascii_uppercase, row["options"], strict=False)).get(answer)
    return prediction in (option, answer)


def mirb(prediction: str, answer: str, task: str) -> float:
    """1 where the first line or sentence of a prediction is right, else 0.

    Yes or no by whether it contains yes; `sightseeing` by whether it contains the answer; counting tasks by the first
    number, or a number's word alone; the others equal but for case.
    """
    prediction = prediction.strip()
    end = prediction.find("\n")
    end = prediction.find(".") if end <= 0 else end
    prediction = (prediction[:end] if end > 0 else prediction).lower()
    answer = answer.lower()
    if task in _MIRB_YES_NO or (task == "sightseeing" and answer in ("yes", "no")):
        return float((answer == "yes") == ("yes" in prediction) and answer in ("yes", "no"))
    if task == "sightseeing":
        return float(answer in prediction)
    if task.removesuffix("_concat") in _MIRB_NUMBERS:
        number = re.search(r"\d+", prediction)
        prediction = number[0] if number else _MIRB_WORDS.get(prediction, "")
    return float(prediction == answer)


def mmiu_choices(options: str) -> dict[str, str]:
    """The options of a question of MMIU, from lines such as `A: text`."""
    lines = (line.strip() for line in options.split("\n"))
    pairs = zip(ascii_uppercase, lines, strict=False)
    return {
        letter: (line.replace(f"{letter}:", "") if line.startswith(f"{letter}:") else line).strip()
        for letter, line in pairs
    }


def mmvp_choices(options: str) -> dict[str, str]:
    """The options of a question of MMVP, from `(a) text (b) text`."""
    first, second, *others = (part.strip() for part in options.split("(b)"))
    return dict(zip("ABCD", (first.replace("(a)", "").strip(), second, *others), strict=False))


def tiny_lvlm(prediction: str, answers: Sequence[str]) -> int:
    """1 where any answer stands in the prediction as whole words, both normalised, else 0."""
    text = normalise_tiny_lvlm(prediction)
    words = (re.escape(normalise_tiny_lvlm(answer)) for answer in answers)
    return int(any(re.search(rf"\b{word}\b", text) for word in words))


def score_scienceqa(rows: Sequence[Row]) -> Scores:
    """ScienceQA, direct answers: percent right, [`scienceqa`]."""
    return _exact(rows, scienceqa)


def score_scienceqa_cot(rows: Sequence[Row]) -> Scores:
    """ScienceQA, chains of thought: percent right, [`scienceqa`]."""
    return _exact(rows, lambda row: scienceqa(row, cot=True))


def score_mantis(rows: Sequence[Row]) -> Scores:
    """Mantis-Eval: percent right over all, and by `question_type`, [`mantis`]."""
    hits = [float(mantis(row["prediction"], row)) for row in rows]
    return Scores(percent(hits), _by(rows, hits, "question_type"), tuple(hits))


def score_mirb(rows: Sequence[Row]) -> Scores:
    """MIRB: percent of each group as the mean of its tasks, and `Mean` of the groups, [`mirb`].

    Tasks and groups without rows are left out, where the official code fails. Rows have `task` and `answer`.
    """
    hits = [mirb(row["prediction"], str(row["answer"]), row["task"]) for row in rows]
    tasks = _by(rows, hits, "task")
    table = {}
    for group, names in MIRB_GROUPS.items():
        known = [tasks[name] for name in names if name in tasks]
        if known:
            table[group] = sum(known) / len(known)
    average = mean(list(table.values()))
    return Scores(average, table | {"Mean": average} if table else {}, tuple(hits))


def score_mmiu(rows: Sequence[Row]) -> Scores:
    """MMIU: mean over the tasks of the percent right. Tasks without rows are left out, where the official code fails.

    Rows have `task`, `answer` (a letter) and `options`, lines such as `A: text`.
    """
    hits = [
        float(post_process_internvl(row["prediction"], mmiu_choices(row["options"])) == row["answer"]) for row in rows
    ]
    tasks = _by(rows, hits, "task")
    table = {task: tasks[task] for task in MMIU_TASKS if task in tasks}
    return Scores(mean(list(table.values())), table, tuple(hits))


def score_mmvp_internvl(rows: Sequence[Row]) -> Scores:
    """MMVP: percent of pairs, two rows that follow each other, whose questions are both right.

    A last single row is left out. Rows have the options in `A` and `B`, and the letter in `answer`.
    """
    hits = [
        float(post_process_internvl(row["prediction"], _texts(build_choices(row))) == row["answer"]) for row in rows
    ]
    pairs = [one * other for one, other in zip(hits[::2], hits[1::2], strict=False)]
    return Scores(percent(pairs), {"accuracy": mean(pairs)}, tuple(hits))


def score_seed_internvl(rows: Sequence[Row]) -> Scores:
    """SEED: percent right by type, over images (types 1 to 9), videos and all, by the first character of a prediction.

    An empty prediction is wrong, where the official code raises. Rows have `question_type_id` and `answer`.
    `overall` is the accuracy of images if there are no videos, else of all.
    """
    hits = [float(row["prediction"][:1] == row["answer"]) for row in rows]
    types = [int(row["question_type_id"]) for row in rows]
    names = [SEED_TYPES[kind] for kind in types]
    table = _by([{"name": name} for name in names], hits, "name")
    groups = {
        "Image accuracy": [hit for hit, kind in zip(hits, types, strict=True) if kind <= SEED_IMAGE_TYPES],
        "Video accuracy": [hit for hit, kind in zip(hits, types, strict=True) if kind > SEED_IMAGE_TYPES],
        "Total accuracy": hits,
    }
    table |= {name: 100 * (sum(found) / len(found)) for name, found in groups.items() if found}
    return Scores(table.get("Total accuracy"), table, tuple(hits))


def score_tiny_lvlm(rows: Sequence[Row]) -> Scores:
    """Tiny LVLM: share right of each of five tasks (`category`), and their sum, 0 to 5, [`tiny_lvlm`].

    Raises:
        ValueError: an unknown task.
    """
    for number, row in enumerate(rows):
        if row["category"] not in TINY_LVLM_TASKS:
            raise ValueError(
                f"Row {number}: `category` must be one of {', '.join(TINY_LVLM_TASKS)}, got {row['category']!r}."
            )
    hits = [float(tiny_lvlm(row["prediction"], accepted_answers(row))) for row in rows]
    table = {task: score / 100 for task, score in _by(rows, hits, "category").items()}
    total = sum(table.values()) if rows else None
    return Scores(total, table | {"Overall": total}, tuple(hits))


def _exact(rows: Sequence[Row], read: Callable[[Row], str]) -> Scores:
    hits = [float(read(row) == row["answer"]) for row in rows]
    return Scores(percent(hits), samples=tuple(hits))


def _by(rows: Sequence[Row], hits: Sequence[float], column: str) -> dict[Any, float]:
    """Percent right by the values of a column."""
    groups: dict[Any, list[float]] = {}
    for row, hit in zip(rows, hits, strict=True):
        groups.setdefault(row[column], []).append(hit)
    return {name: 100 * (sum(found) / len(found)) for name, found in groups.items()}


def _texts(choices: Mapping[str, Any]) -> dict[str, str]:
    return {letter: str(text) for letter, text in choices.items()}


__all__ = [
    "MIRB_GROUPS",
    "MMIU_TASKS",
    "SEED_TYPES",
    "TINY_LVLM_TASKS",
    "mantis",
    "mirb",
    "mmiu_choices",
    "mmvp_choices",
    "scienceqa",
    "score_mantis",
    "score_mirb",
    "score_mmiu",
    "score_mmvp_internvl",
    "score_scienceqa",
    "score_scienceqa_cot",
    "score_seed_internvl",
    "score_tiny_lvlm",
    "tiny_lvlm",
]
