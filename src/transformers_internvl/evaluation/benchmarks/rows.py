# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The table of benchmarks. A new benchmark is a row here (and its published scores a few lines of `published.json`).

Sources: the registry of open-compass/VLMEvalKit e8e78f05, and `internvl_chat/eval` of OpenGVLab/InternVL 2410d1db.
"""

import difflib

from ..prompts.vlmevalkit_sets import registry
from .benchmark import Benchmark
from .encoder_rows import ENCODER_ROWS

_JUDGED = "a language model grades the answers"
_NO_SCORER = "the official scorer is not part of this package"
_CONVBENCH_TURNS = tuple(f"The_{turn}_turn_instruction" for turn in ("first", "second", "third"))
_FRAMES = (16, 32, 48, 64)

_REGION_SPLITS = (
    *((name, split) for name in ("RefCOCO", "RefCOCO+") for split in ("val", "testA", "testB")),
    ("RefCOCOg", "val"),
    ("RefCOCOg", "test"),
)


def _regions(task: str, name: str, split: str, part: bool = False) -> Benchmark:
    """Of RefCOCO's file all rows, or a part of them, those of one split."""
    where = ("split", f"{name}_{split}") if part else None
    return Benchmark(task, name, split, dataset="RefCOCO", metric="refcoco_vlmevalkit", script="refcoco",
                     script_metric="refcoco_internvl", script_task="refcoco", by_script=True, where=where)  # fmt: skip


# fmt: off
_ROWS: tuple[Benchmark, ...] = (
    # Documents, charts and scene text
    Benchmark("docvqa_val", "DocVQA", "val", dataset="DocVQA_VAL", metric="anls", script="vqa",
              script_set="docvqa_val", script_task="vqa-docvqa-val", by_script=True),
    Benchmark("docvqa_test", "DocVQA", "test", dataset="DocVQA_TEST", metric="anls", script="vqa",
              script_set="docvqa_test", script_task="vqa-docvqa-test", by_script=True, on_server=True),
    Benchmark("chartqa_test", "ChartQA", "test (human and augmented, mean of both)", dataset="ChartQA_TEST",
              metric="relaxed_accuracy_vlmevalkit", script="vqa", script_set="chartqa_test",
              script_metric="relaxed_accuracy_internvl", script_task="vqa-chartqa-test", by_script=True),
    Benchmark("infovqa_val", "InfographicVQA", "val", dataset="InfoVQA_VAL", metric="anls", script="vqa",
              script_set="infographicsvqa_val", script_task="vqa-infovqa-val", by_script=True),
    Benchmark("infovqa_test", "InfographicVQA", "test", dataset="InfoVQA_TEST", metric="anls", script="vqa",
              script_set="infographicsvqa_test", script_task="vqa-infovqa-test", by_script=True, on_server=True),
    Benchmark("textvqa_val", "TextVQA", "val", dataset="TextVQA_VAL", metric="vqa_accuracy_vlmevalkit", script="vqa",
              script_set="textvqa_val", script_metric="vqa_accuracy_internvl", script_task="vqa-textvqa-val",
              by_script=True),
    Benchmark("ocrbench", "OCRBench", "test (1000 questions)", dataset="OCRBench", metric="ocrbench",
              unit="points of 1000"),
    # General questions
    Benchmark("mme", "MME", "test", dataset="MME", metric="mme_vlmevalkit", script="mme", script_metric="mme_internvl",
              script_task="mme", by_script=True, unit="sum over 14 tasks, 2800 at most"),
    Benchmark("realworldqa", "RealWorldQA", "test", dataset="RealWorldQA", metric="mcq_vlmevalkit"),
    Benchmark("ai2d_test", "AI2D", "test, masked", dataset="AI2D_TEST", metric="mcq_vlmevalkit", script="vqa",
              script_set="ai2diagram_test", script_metric="accuracy_internvl", script_task="vqa-ai2d-test",
              by_script=True),
    Benchmark("ai2d_test_no_mask", "AI2D", "test, without mask", dataset="AI2D_TEST_NO_MASK", metric="mcq_vlmevalkit"),
    # Subjects
    Benchmark("mmmu_dev_val", "MMMU", "validation", dataset="MMMU_DEV_VAL", metric="mmmu_vlmevalkit", script="mmmu",
              script_metric="mmmu_internvl", script_task="mmmu-val", where=("split", "validation"),
              note="2.5 and later: maximum of the direct and the chain-of-thought run"),
    Benchmark("mmmu_test", "MMMU", "test", dataset="MMMU_TEST", metric="mmmu_vlmevalkit", script="mmmu",
              script_metric="mmmu_internvl", script_task="mmmu-test", on_server=True),
    Benchmark("mmmu_pro_10c", "MMMU-Pro", "standard, 10 options", dataset="MMMU_Pro_10c", metric="mmmu_pro",
              script="mmmu_pro", script_task="mmmu-pro-std10", by_script=True,
              note="type MCQ_MMMU_Pro is no MCQ for InternVLChat.build_prompt: the question alone is sent"),
    Benchmark("mmmu_pro_v", "MMMU-Pro", "vision", dataset="MMMU_Pro_V", metric="mmmu_pro", script="mmmu_pro_vision",
              script_task="mmmu-pro-vision", by_script=True),
    Benchmark("mmmu_pro", "MMMU-Pro", "overall (mean of standard and vision)", mean_of=("mmmu_pro_10c", "mmmu_pro_v")),
    # General questions: choices and free answers
    Benchmark("mmbench_test_en", "MMBench EN", "test", dataset="MMBench_TEST_EN", metric="mmbench_circular",
              script="mmbench", script_task="mmbench-test-en", by_script=True, on_server=True),
    Benchmark("mmbench_test_cn", "MMBench CN", "test", dataset="MMBench_TEST_CN", metric="mmbench_circular",
              script="mmbench_cn", script_task="mmbench-test-cn", by_script=True, on_server=True),
    Benchmark("mmbench_test_en_v11", "MMBench v1.1 EN", "test", dataset="MMBench_TEST_EN_V11",
              metric="mmbench_circular", on_server=True),
    Benchmark("ccbench", "CCBench", "dev", dataset="CCBench", metric="mmbench_circular", script="mmbench_cn",
              script_task="ccbench-dev", by_script=True),
    Benchmark("mmvet", "MM-Vet", "test", dataset="MMVet", metric="mmvet", script="mmvet", script_task="mmvet",
              note="2.5: judged by GPT-4-Turbo"),
    Benchmark("mmvet_v2", "MM-Vet v2", "test", metric="mmvet", script="mmvetv2", script_task="mmvetv2"),
    Benchmark("seedbench_img", "SEED-Bench (image)", "test", dataset="SEEDBench_IMG", metric="mcq_vlmevalkit",
              script="seed", script_metric="seed_internvl", script_task="seed", by_script=True),
    Benchmark("seedbench2_plus", "SEED-Bench-2-Plus", "test", dataset="SEEDBench2_Plus", metric="mcq_vlmevalkit"),
    Benchmark("hallusionbench", "HallusionBench", "test", dataset="HallusionBench", metric="hallusionbench",
              note="index = category_l2_visual_set_figure_question"),
    # Mathematics
    Benchmark("mathvista_mini", "MathVista", "testmini", dataset="MathVista_MINI", metric="mathvista_vlmevalkit",
              script="mathvista", script_metric="mathvista_internvl", script_task="mathvista-testmini"),
    Benchmark("mathvision", "MATH-Vision", "test (full)", dataset="MathVision", metric="mathvision"),
    Benchmark("mathverse_mini", "MathVerse", "testmini", dataset="MathVerse_MINI", metric="mathverse",
              note="which problem version the paper averages is not stated in the report"),
    Benchmark("olympiadbench", "OlympiadBench", "test", dataset="OlympiadBench",
              metric="olympiadbench_vlmevalkit"),
    # Charts and hidden text
    Benchmark("charxiv_reasoning_val", "CharXiv", "val, reasoning questions", dataset="CharXiv_reasoning_val",
              metric="charxiv_reasoning"),
    Benchmark("charxiv_descriptive_val", "CharXiv", "val, descriptive questions", dataset="CharXiv_descriptive_val",
              metric="charxiv_descriptive"),
    Benchmark("vcr_en_easy_all", "VCR-wiki EN easy", "exact match", dataset="VCR_EN_EASY_ALL", unscored=_NO_SCORER,
              note="the report: the 78B pair 95.7/94.5 looks odd (EM above Jaccard)"),
    Benchmark("vcr_en_easy_all_jaccard", "VCR-wiki EN easy", "Jaccard", dataset="VCR_EN_EASY_ALL",
              unscored=_NO_SCORER),
    # Several images
    Benchmark("blink", "BLINK", "val", dataset="BLINK", metric="mcq_vlmevalkit"),
    Benchmark("mantis_eval", "Mantis-Eval", "test", metric="mantis", script="mantis", script_task="mantis"),
    Benchmark("mmiu", "MMIU", "test", metric="mmiu", script="mmiu", script_task="mmiu"),
    Benchmark("muirbench", "MuirBench", "test", dataset="MUIRBench", metric="mcq_vlmevalkit"),
    Benchmark("mmt_bench_val", "MMT-Bench", "val", dataset="MMT-Bench_VAL", metric="mmt_bench"),
    Benchmark("mirb", "MIRB", "test", metric="mirb", script="mirb", script_task="mirb"),
    # Real scenes
    Benchmark("mme_realworld", "MME-RealWorld EN", "test", dataset="MME-RealWorld", metric="mme_realworld",
              script="mme_realworld", script_task="mme-realworld"),
    Benchmark("wildvision", "WildVision", "test", dataset="WildVision", metric="wildvision",
              note="win rate over Claude 3 Sonnet"),
    Benchmark("r_bench_dis", "R-Bench", "distorted", dataset="R-Bench-Dis", metric="mcq_vlmevalkit"),
    Benchmark("mmstar", "MMStar", "val", dataset="MMStar", metric="mcq_vlmevalkit"),
    # Hallucination
    Benchmark("mmhal_bench", "MMHal-Bench", "test", metric="mmhal", script="mmhal", script_task="mmhal",
              unit="0..6"),
    Benchmark("crpe_relation", "CRPE", "relation", dataset="CRPE_RELATION", metric="crpe"),
    Benchmark("pope", "POPE", "random, popular, adversarial", dataset="POPE", metric="pope_vlmevalkit", script="pope",
              script_metric="pope_internvl", script_task="pope", by_script=True),
    # Languages
    Benchmark("mmmb_en", "MMMB", "English", dataset="MMMB_en", metric="mcq_vlmevalkit"),
    Benchmark("mtvqa_test", "MTVQA", "test", dataset="MTVQA_TEST", metric="mtvqa"),
    # Videos
    Benchmark("video_mme", "Video-MME", "without subtitles", dataset="Video-MME", metric="videomme", frames=_FRAMES),
    Benchmark("video_mme_subtitles", "Video-MME", "with subtitles", dataset="Video-MME", metric="videomme",
              subtitles=True, frames=_FRAMES),
    Benchmark("mvbench", "MVBench", "test", dataset="MVBench", metric="mvbench_vlmevalkit", script="mvbench",
              script_metric="mvbench_internvl", script_task="mvbench", by_script=True, frames=(16,)),
    Benchmark("mmbench_video", "MMBench-Video", "test", dataset="MMBench-Video", unscored=_JUDGED, frames=(16,),
              unit="0..3"),
    Benchmark("mlvu_mcq", "MLVU", "dev, MCQ", dataset="MLVU_MCQ", metric="option_letter", frames=_FRAMES),
    Benchmark("longvideobench", "LongVideoBench", "val", dataset="LongVideoBench", metric="option_letter",
              frames=_FRAMES),
    # Regions
    _regions("refcoco", "RefCOCO, RefCOCO+, RefCOCOg", "mean of the 8 splits"),
    *(_regions(f"{name.lower()}_{split.lower()}", name, split, part=True) for name, split in _REGION_SPLITS),
    # Benchmarks of the first reports
    Benchmark("gqa_testdev_balanced", "GQA", "testdev balanced", dataset="GQA_TestDev_Balanced",
              metric="gqa_vlmevalkit", script="vqa", script_set="gqa_testdev", script_metric="accuracy_internvl",
              script_task="vqa-gqa-testdev", by_script=True),
    Benchmark("okvqa_val", "OK-VQA", "val", metric="vqa_accuracy_internvl", script="vqa", script_set="okvqa_val",
              script_task="vqa-okvqa-val"),
    Benchmark("vizwiz_val", "VizWiz", "val", metric="vqa_accuracy_internvl", script="vqa", script_set="vizwiz_val",
              script_task="vqa-vizwiz-val"),
    Benchmark("scienceqa_test", "ScienceQA", "test, image", dataset="ScienceQA_TEST", metric="mcq_vlmevalkit",
              script="scienceqa", script_metric="scienceqa_internvl", script_task="scienceqa", by_script=True),
    Benchmark("tiny_lvlm", "TinyLVLM-eHub", "updated", metric="tiny_lvlm", script="tiny_lvlm", script_task="tiny_lvlm",
              unit="sum of five accuracies"),
    Benchmark("mmvp", "MMVP", "test", dataset="MMVP", metric="mmvp_vlmevalkit", script="mmvp",
              script_metric="mmvp_internvl", script_task="mmvp", by_script=True),
    Benchmark("mme_perception", "MME perception", "test", dataset="MME", metric="mme_vlmevalkit", figure="perception",
              script="mme", script_metric="mme_internvl", script_task="mme", by_script=True, unit="points"),
    Benchmark("convbench", "ConvBench", "pairwise", metric="convbench", turns=_CONVBENCH_TURNS),
    # Further benchmarks of VLMEvalKit
    Benchmark("dynamath", "DynaMath", "", dataset="DynaMath", metric="dynamath"),
    Benchmark("wemath", "WeMath", "", dataset="WeMath", metric="mcq_vlmevalkit"),
    Benchmark("logicvista", "LogicVista", "", dataset="LogicVista", metric="logicvista"),
    Benchmark("vsi_bench", "VSI-Bench", "", dataset="VSI-Bench", metric="vsi_bench", frames=_FRAMES),
    Benchmark("erqa", "ERQA", "", dataset="ERQA", metric="erqa_vlmevalkit"),
    Benchmark("mia_bench", "MIA-Bench", "", dataset="MIA-Bench", metric="mia_bench"),
    Benchmark("llavabench", "LLaVA-Bench in the wild", "", dataset="LLaVABench", metric="llavabench",
              script="llava_bench"),
    Benchmark("ocrvqa_test", "OCR-VQA", "", dataset="OCRVQA_TEST", metric="ocrvqa_vlmevalkit", script="vqa",
              script_set="ocrvqa_test", script_metric="accuracy_internvl"),
    Benchmark("coco_val", "COCO captions", "", dataset="COCO_VAL", metric="caption", script="caption"),
    Benchmark("tallyqa", "TallyQA", "", dataset="TallyQA", metric="tallyqa"),
    Benchmark("countbenchqa", "CountBenchQA", "", dataset="CountBenchQA", metric="countbench"),
    # Splits and sets without a published score here
    Benchmark("mmbench_dev_en", "MMBench EN", "dev", dataset="MMBench_DEV_EN", metric="mmbench_circular",
              script="mmbench", script_task="mmbench-dev-en", by_script=True),
    Benchmark("mmbench_dev_cn", "MMBench CN", "dev", dataset="MMBench_DEV_CN", metric="mmbench_circular",
              script="mmbench_cn", script_task="mmbench-dev-cn", by_script=True),
    Benchmark("mmbench_dev_en_v11", "MMBench v1.1 EN", "dev", dataset="MMBench_DEV_EN_V11", metric="mmbench_circular"),
    Benchmark("mmbench_dev_cn_v11", "MMBench v1.1 CN", "dev", dataset="MMBench_DEV_CN_V11", metric="mmbench_circular"),
    Benchmark("mathvision_mini", "MATH-Vision", "testmini", dataset="MathVision_MINI", metric="mathvision"),
    Benchmark("mme_realworld_cn", "MME-RealWorld CN", "test", dataset="MME-RealWorld-CN", metric="mme_realworld"),
    Benchmark("amber", "AMBER", "test", dataset="AMBER", metric="amber"),
    Benchmark("vqav2_val", "VQAv2", "val", metric="vqa_accuracy_internvl", script="vqa", script_set="vqav2_val"),
    Benchmark("flickr30k", "Flickr30K captions", "test", metric="caption", script="caption"),
    Benchmark("nocaps", "NoCaps captions", "val", metric="caption", script="caption"),
    Benchmark("mpdocvqa_val", "MP-DocVQA", "val", metric="anls", script="mpdocvqa"),
)
# fmt: on

BENCHMARKS: dict[str, Benchmark] = {row.task: row for row in (*_ROWS, *ENCODER_ROWS)}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a task's name, or of VLMEvalKit's name of a data set, in any case.

    A data set of the kit without a row is a benchmark that is asked with the kit's prompts and needs a metric.

    Raises:
        ValueError: there is no such benchmark.
    """
    task = task_name(name)
    if task in BENCHMARKS:
        return BENCHMARKS[task]
    by_name = {task_name(dataset): dataset for dataset in registry()}
    if task in by_name:
        same = [row for row in BENCHMARKS.values() if row.dataset == by_name[task] and row.where is None]
        return same[0] if same else Benchmark(task, by_name[task], dataset=by_name[task])
    close = difflib.get_close_matches(task, [*BENCHMARKS, *by_name], n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise ValueError(
        f"There is no benchmark {name!r}.{hint} `internvl evaluate --list` shows all; a file of your own questions is "
        "given by its path, with `--metric`."
    )


def task_name(dataset: str) -> str:
    """The name of a task from VLMEvalKit's name of a data set.

    >>> task_name("MMT-Bench_VAL")
    'mmt_bench_val'
    """
    return dataset.lower().replace("-", "_").replace(" ", "_")


__all__ = ["BENCHMARKS", "find_benchmark", "task_name"]
