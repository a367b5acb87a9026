# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of metrics: a name, the function that scores a data set, what it takes, whose it is and who used it."""

from collections.abc import Callable, Sequence

from .anls import score_anls, score_stvqa_anls
from .captions import score_captions, score_captions_vlmevalkit
from .choice_table import (
    score_choices,
    score_mmbench_circular,
    score_mmmu_vlmevalkit,
    score_mmt,
    score_mmvp_vlmevalkit,
)
from .correctness import score_correctness
from .dynamath import score_dynamath
from .exact_match import score_accuracy_internvl, score_gqa
from .graded_sets import score_erqa, score_erqa_vlmevalkit, score_logicvista, score_mia_bench
from .grounding import score_refcoco_internvl, score_refcoco_vlmevalkit
from .judged import (
    score_charxiv_descriptive,
    score_charxiv_reasoning,
    score_convbench,
    score_llavabench,
    score_mmhal,
    score_mmvet,
    score_wildvision,
)
from .mathematics import score_mathverse, score_mathvision
from .mathvista import score_mathvista_internvl, score_mathvista_vlmevalkit
from .metric import Metric, Row, Scores
from .mmmu import score_mmmu, score_mmmu_internvl, score_mmmu_pro
from .ocr import score_mtvqa, score_ocrbench
from .olympiadbench import score_olympiadbench, score_olympiadbench_vlmevalkit
from .original_sets import (
    score_mantis,
    score_mirb,
    score_mmiu,
    score_mmvp_internvl,
    score_scienceqa,
    score_scienceqa_cot,
    score_seed_internvl,
    score_tiny_lvlm,
)
from .relaxed_accuracy import score_relaxed_accuracy_internvl
from .small_sets import score_countbench, score_crpe, score_mme_realworld, score_option_letter, score_tallyqa
from .video import score_mvbench_internvl, score_mvbench_vlmevalkit, score_videomme, score_vsi_bench
from .vqa_accuracy import score_stvqa, score_textvqa
from .vqa_table import (
    score_chartqa_vlmevalkit,
    score_docvqa_vlmevalkit,
    score_gqa_vlmevalkit,
    score_ocrvqa_vlmevalkit,
    score_textvqa_vlmevalkit,
)
from .yes_no import (
    score_amber,
    score_hallusionbench,
    score_mme_internvl,
    score_mme_vlmevalkit,
    score_pope_internvl,
    score_pope_vlmevalkit,
)

PERCENT = (0, 100)
KIT = "open-compass/VLMEvalKit vlmeval/dataset/"
SCRIPTS = "OpenGVLab/InternVL internvl_chat/eval/"
# Documented: the expected results of InternVL-Chat-V1-1 to InternVL2 come from InternVL's own scripts where there is
# one, and `eval/README.md` names the code behind every number of the report of InternVL 2.5.
EARLY = ("1.1", "1.2", "1.5", "2.0")
EARLY_AND_2_5 = (*EARLY, "2.5")
V2_5 = ("2.5",)


def _rows() -> list[Metric]:
    return [*_question_answering(), *_choices(), *_yes_no(), *_mathematics(), *_own_sets(), *_others(), *_judged()]


def _question_answering() -> list[Metric]:
    answer = ("answer",)
    return [
        _metric("anls", score_anls, answer, SCRIPTS + "vqa/infographicsvqa_eval.py", EARLY_AND_2_5),
        _metric("anls_vlmevalkit", score_docvqa_vlmevalkit, answer, KIT + "utils/vqa_eval.py"),
        _metric("stvqa_anls", score_stvqa_anls, answer, SCRIPTS + "vqa/textvqa_eval.py"),
        _metric("stvqa_accuracy", score_stvqa, answer, SCRIPTS + "vqa/textvqa_eval.py"),
        _metric("vqa_accuracy_internvl", score_textvqa, answer, SCRIPTS + "vqa/textvqa_eval.py", EARLY_AND_2_5),
        _metric("vqa_accuracy_vlmevalkit", score_textvqa_vlmevalkit, answer, KIT + "utils/vqa_eval.py"),
        _metric(
            "relaxed_accuracy_internvl",
            score_relaxed_accuracy_internvl,
            answer,
            SCRIPTS + "vqa/evaluate_vqa.py",
            EARLY_AND_2_5,
        ),
        _metric("relaxed_accuracy_vlmevalkit", score_chartqa_vlmevalkit, answer, KIT + "utils/vqa_eval.py"),
        _metric("accuracy_internvl", score_accuracy_internvl, answer, SCRIPTS + "vqa/evaluate_vqa.py", EARLY_AND_2_5),
        _metric("ocrvqa_vlmevalkit", score_ocrvqa_vlmevalkit, answer, KIT + "utils/vqa_eval.py"),
        _metric("gqa", score_gqa, answer, SCRIPTS + "vqa/convert_gqa_for_eval.py; GQA's eval.py", EARLY),
        _metric("gqa_vlmevalkit", score_gqa_vlmevalkit, answer, KIT + "utils/vqa_eval.py"),
        _metric("ocrbench", score_ocrbench, ("answer", "category"), KIT + "image_vqa.py", EARLY_AND_2_5, (0, 1000)),
        _metric("mtvqa", score_mtvqa, ("answer", "category"), KIT + "image_vqa.py", V2_5),
        _metric("countbench", score_countbench, answer, KIT + "image_vqa.py"),
        _metric("erqa", score_erqa, answer, "embodiedreasoning/ERQA eval_harness.py"),
        _metric("erqa_vlmevalkit", score_erqa_vlmevalkit, answer, KIT + "erqa.py"),
        _metric("tallyqa", score_tallyqa, answer, KIT + "utils/tallyqa.py"),
        _metric("crpe", score_crpe, ("answer", "category"), KIT + "image_vqa.py, utils/crpe.py", V2_5),
    ]


def _choices() -> list[Metric]:
    answer, table = ("answer",), KIT + "image_mcq.py, utils/multiple_choice.py"
    return [
        _metric("mcq_vlmevalkit", score_choices, answer, table, EARLY_AND_2_5),
        _metric("mmbench_circular", score_mmbench_circular, ("index", "answer"), table, V2_5),
        _metric("mmt_bench", score_mmt, ("answer", "category", "l2-category"), table, V2_5),
        _metric("mmvp_vlmevalkit", score_mmvp_vlmevalkit, ("index", "question", "answer"), table),
        _metric("mmvp_internvl", score_mmvp_internvl, ("A", "B", "answer"), SCRIPTS + "mmvp/evaluate_mmvp.py", EARLY),
        _metric("mmmu", score_mmmu, ("id", "answer"), "MMMU-Benchmark/MMMU mmmu/utils/eval_utils.py"),
        _metric("mmmu_internvl", score_mmmu_internvl, ("id", "answer"), SCRIPTS + "mmmu", ("2.0",)),
        _metric("mmmu_vlmevalkit", score_mmmu_vlmevalkit, answer, table, EARLY_AND_2_5),
        _metric("mmmu_pro", score_mmmu_pro, ("id", "answer"), SCRIPTS + "mmmu_pro/evaluate.py", V2_5),
        _metric("mme_realworld", score_mme_realworld, answer, KIT + "image_mcq.py", V2_5),
        _metric("option_letter", score_option_letter, ("question", "answer"), KIT + "utils/videomme.py", V2_5),
    ]


def _yes_no() -> list[Metric]:
    columns = ("answer", "category")
    table, mme = KIT + "image_yorn.py, utils/yorn.py", (0, 2800)
    return [
        _metric("mme_internvl", score_mme_internvl, columns, SCRIPTS + "mme/calculation.py", EARLY_AND_2_5, mme),
        _metric("mme_vlmevalkit", score_mme_vlmevalkit, (*columns, "image_path"), table, (), mme),
        _metric("pope_internvl", score_pope_internvl, columns, SCRIPTS + "pope/eval_pope.py", EARLY_AND_2_5),
        _metric("pope_vlmevalkit", score_pope_vlmevalkit, columns, table),
        _metric("hallusionbench", score_hallusionbench, ("index", "answer"), table, EARLY_AND_2_5, judge=True),
        _metric("amber", score_amber, columns, table),
    ]


def _mathematics() -> list[Metric]:
    question = ("answer", "question_type", "answer_type", "choices")
    return [
        _metric(
            "mathvista_internvl",
            score_mathvista_internvl,
            (*question, "precision"),
            SCRIPTS + "mathvista/calculate_score.py",
            judge=True,
        ),
        _metric(
            "mathvista_vlmevalkit",
            score_mathvista_vlmevalkit,
            (*question, "answer_option", "skills", "task"),
            KIT + "utils/mathvista.py",
            EARLY_AND_2_5,
            judge=True,
        ),
        _metric(
            "mathvision",
            score_mathvision,
            ("answer", "choices", "category"),
            KIT + "utils/mathv.py",
            V2_5,
            judge=True,
        ),
        _metric(
            "mathverse",
            score_mathverse,
            ("answer", "problem_version", "metadata"),
            KIT + "utils/mathverse.py",
            V2_5,
            judge=True,
        ),
        *_olympiadbench(),
        _metric(
            "mpo_correctness",
            score_correctness,
            ("answer",),
            "OpenGVLab/InternVL internvl_chat/tools/reasoning_data_pipeline/utils/accuracy_reward.py",
        ),
    ]


def _olympiadbench() -> list[Metric]:
    columns = ("final_answer", "answer_type", "error", "source")
    kit = KIT + "utils/olympiadbench.py"
    return [
        _metric("olympiadbench", score_olympiadbench, columns, "OpenBMB/OlympiadBench inference/code/math_judger.py"),
        _metric("olympiadbench_vlmevalkit", score_olympiadbench_vlmevalkit, columns, kit),
    ]


def _own_sets() -> list[Metric]:
    scienceqa = SCRIPTS + "scienceqa/evaluate_scienceqa.py"
    return [
        _metric("scienceqa_internvl", score_scienceqa, ("answer",), scienceqa, ("1.1", "1.2", "1.5")),
        _metric("scienceqa_cot_internvl", score_scienceqa_cot, ("answer",), scienceqa),
        _metric(
            "mantis",
            score_mantis,
            ("question_type", "options", "answer"),
            SCRIPTS + "mantis_eval/evaluate_mantis.py",
            V2_5,
        ),
        _metric("mirb", score_mirb, ("task", "answer"), SCRIPTS + "mirb/evaluate_mirb.py", V2_5),
        _metric("mmiu", score_mmiu, ("task", "options", "answer"), SCRIPTS + "mmiu/evaluate_mmiu.py", V2_5),
        _metric(
            "seed_internvl",
            score_seed_internvl,
            ("question_type_id", "answer"),
            SCRIPTS + "seed/calculation.py",
            ("1.5", "2.0"),
        ),
        _metric("tiny_lvlm", score_tiny_lvlm, ("answer", "category"), SCRIPTS + "tiny_lvlm", EARLY, (0, 5)),
    ]


def _others() -> list[Metric]:
    boxes = ("width", "height")
    return [
        _metric(
            "refcoco_internvl",
            score_refcoco_internvl,
            boxes,
            SCRIPTS + "refcoco/evaluate_grounding.py",
            EARLY_AND_2_5,
        ),
        _metric("refcoco_vlmevalkit", score_refcoco_vlmevalkit, boxes, KIT + "refcoco.py"),
        _metric(
            "mvbench_internvl",
            score_mvbench_internvl,
            ("task_type", "candidates", "answer"),
            SCRIPTS + "mvbench/evaluate_mvbench.py",
            ("2.0", "2.5"),
        ),
        _metric(
            "mvbench_vlmevalkit",
            score_mvbench_vlmevalkit,
            ("task_type", "candidates", "answer"),
            KIT + "mvbench.py, utils/mvbench.py",
        ),
        _metric(
            "videomme",
            score_videomme,
            ("question", "answer", "duration", "domain", "sub_category", "task_type"),
            KIT + "videomme.py, utils/videomme.py",
            V2_5,
        ),
        _metric(
            "vsi_bench",
            score_vsi_bench,
            ("question_type", "answer"),
            "EvolvingLMMs-Lab/lmms-eval lmms_eval/tasks/vsibench/utils.py",
        ),
        _metric("caption", score_captions, ("answer",), "salaniz/pycocoevalcap", EARLY, (0, 1000)),
        _metric("caption_vlmevalkit", score_captions_vlmevalkit, ("answer",), KIT + "image_caption.py", (), (0, 1000)),
    ]


def _judged() -> list[Metric]:
    return [
        _metric("mmvet", score_mmvet, ("category", "score"), KIT + "utils/mmvet.py", EARLY_AND_2_5, judge=True),
        _metric(
            "llavabench",
            score_llavabench,
            ("category", "score", "gpt4_score"),
            KIT + "utils/llavabench.py",
            range=(0, 1000),
            judge=True,
        ),
        _metric(
            "convbench",
            score_convbench,
            ("position", "first", "second", "third", "overall"),
            "shirlyliu64/ConvBench ConvBenchEval/convbencheval.py",
            ("1.5",),
            judge=True,
        ),
        *(
            _metric(f"charxiv_{kind}", score, (column, "score"), KIT + "charxiv.py", judge=True)
            for kind, score, column in (
                ("descriptive", score_charxiv_descriptive, "qid"),
                ("reasoning", score_charxiv_reasoning, "inst_category"),
            )
        ),
        _metric("wildvision", score_wildvision, ("score",), KIT + "wildvision.py", judge=True),
        _metric(
            "logicvista",
            score_logicvista,
            ("answer", "skill", "extraction"),
            KIT + "utils/logicvista.py",
            judge=True,
        ),
        _metric("mia_bench", score_mia_bench, ("component_type", "score_raw"), KIT + "miabench.py", judge=True),
        _metric(
            "mmhal",
            score_mmhal,
            ("score",),
            SCRIPTS + "mmhal/eval_gpt_mmhal.py",
            range=(0, 6),
            judge=True,
        ),
        _metric(
            "dynamath",
            score_dynamath,
            ("answer", "answer_type", "subject", "knowledge_level", "qid"),
            KIT + "dynamath.py",
            judge=True,
        ),
    ]


def _metric(
    name: str,
    score: Callable[[Sequence[Row]], Scores],
    columns: tuple[str, ...],
    source: str,
    used_by: tuple[str, ...] = (),
    range: tuple[float, float | None] = PERCENT,
    judge: bool = False,
) -> Metric:
    return Metric(name, score, columns, range, source, used_by, judge=judge)


METRICS: dict[str, Metric] = {row.name: row for row in _rows()}


def score_answers(metric: str, rows: Sequence[Row]) -> Scores:
    """Score the answers of a data set by a metric of `METRICS`.

    Args:
        metric: a name of `METRICS`.
        rows: the questions, each with the columns that the metric names, and `prediction`, a text.

    Raises:
        ValueError: an unknown metric, or a row that lacks a column or whose prediction is no text.
    """
    if metric not in METRICS:
        raise ValueError(f"`metric` must be one of {', '.join(sorted(METRICS))}, got {metric!r}.")
    chosen = METRICS[metric]
    for number, row in enumerate(rows):
        missing = [column for column in (*chosen.columns, "prediction") if column not in row]
        if missing:
            raise ValueError(f"Row {number} lacks {', '.join(missing)}, which the metric {metric!r} reads.")
        if not isinstance(row["prediction"], str):
            raise ValueError(f"Row {number}: `prediction` must be a text, got {row['prediction']!r}.")
    return chosen.score(rows)


__all__ = ["METRICS", "score_answers"]
