# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Our scorers give the official numbers on the cases of `golden/eval_metrics_more`."""

import json
from collections.abc import Callable
from string import ascii_uppercase
from typing import Any

import pytest

from transformers_internvl.evaluation.metrics import (
    captions,
    choices,
    correctness,
    judged,
    mathematics,
    mathvista,
    mmmu,
    original_sets,
    small_sets,
    video,
)
from transformers_internvl.evaluation.metrics.caption_words import words_of_captions

from .golden import golden_root
from .sections import OneOf, check, refuses, same, sections_of

FOLDER = "eval_metrics_more"
# Texts of the judge where its verdict is neither A nor B, from the README.
CONVBENCH_TEXTS = {"first": "Rating: A", "second": "", "third": 'Rating: "B".', "overall": "Rating: tie"}


def _lettered(texts: list[str]) -> dict[str, str]:
    return dict(zip(ascii_uppercase, texts, strict=False))


def _letter_or_random(parse: Callable[[str, list[str]], str]) -> Callable[[dict], str]:
    return lambda case: parse(case["response"], case["options"]) or "RANDOM"


def _aggregation(case: dict) -> dict:
    hits: dict[str, list[bool]] = {}
    for name, output in case["outputs"].items():
        answer = case["answers"][name]
        if answer["question_type"] == "multiple-choice":
            hit = mmmu.eval_multi_choice(answer["ground_truth"], output)
        else:
            hit = mmmu.eval_open(answer["ground_truth"], mmmu.parse_open_response(output))
        hits.setdefault(mmmu.subject_of(name), []).append(hit)
    return mmmu.mmmu_table(hits)


def _mathvista_scores(problems: dict) -> dict:
    return mathvista.score_mathvista_internvl(list(problems.values())).table


def _mathvista_normalise(case: dict) -> dict:
    prediction = mathvista.normalize_extracted_answer(case["extraction"], case)
    return {"prediction": prediction, "true_false": prediction == case["answer"]}


def _mathvista_check(case: dict) -> dict:
    found = mathvista.prefetch(case, case["response"])
    return {"check": mathvista.post_check(case, case["response"]), "prefetch": found}


def _mathvista_table(rows: list[dict]) -> dict:
    hits = [mathvista.post_check(row, row["response"]) for row in rows]
    return mathvista.mathvista_table(rows, [row["log"] == "Prefetch succeed" for row in rows], hits)


def _mathvision_check(case: dict) -> dict:
    found = mathematics.prefetch(case, case["response"])
    return {"check": mathematics.post_check(case, case["response"]), "prefetch": found}


def _mathvision_table(rows: list[dict]) -> dict:
    hits = [mathematics.post_check(row, row["response"]) for row in rows]
    return mathematics.mathvision_table(rows, [row["log"] == "Prefetch succeed" for row in rows], hits)


def _mathverse_table(rows: list[dict]) -> dict:
    return mathematics.mathverse_table(rows, [float(row["score"]) for row in rows])


def _scienceqa(case: dict) -> dict:
    rows = [
        {
            **_lettered(question["choices"]),
            "answer": ascii_uppercase[question["answer"]],
            "prediction": question["prediction"],
        }
        for question in case["questions"]
    ]
    score = original_sets.score_scienceqa_cot if case["cot"] else original_sets.score_scienceqa
    extracted = [original_sets.scienceqa(row, case["cot"]) for row in rows]
    return {"acc": score(rows).overall / 100, "extracted": extracted}


def _mirb(questions: list[dict]) -> dict:
    scores = original_sets.score_mirb(questions)
    return {name: score / 100 for name, score in scores.table.items()} | {"scores": scores.samples}


def _mmiu(questions: list[dict]) -> dict:
    # An answer that failed is A in the official script, before it is scored.
    rows = [row | {"prediction": row["prediction"].replace("!raise", "A")} for row in questions]
    extracted = [
        choices.post_process_internvl(row["prediction"], original_sets.mmiu_choices(row["options"])) for row in rows
    ]
    return {"extracted": extracted, "overall": original_sets.score_mmiu(rows).overall / 100}


def _mmvp(questions: list[dict]) -> str:
    rows = [
        {
            **original_sets.mmvp_choices(row["options"]),
            "answer": row["answer"].strip("()").upper(),
            "prediction": row["prediction"],
        }
        for row in questions
    ]
    return f"The accuracy is {original_sets.score_mmvp_internvl(rows).table['accuracy']}"


def _captions(case: dict) -> tuple[list[str], list[list[str]]]:
    return [entry["pred"] for entry in case.values()], [entry["refs"] for entry in case.values()]


def _words_of_a_caption(caption: str) -> Any:
    """Only a full stop behind a last single letter depends on the next caption, which the golden data do not name."""
    alone, followed = (words_of_captions([caption, following])[0] for following in ("dogs run", "The dog runs"))
    return OneOf((" ".join(alone), " ".join(followed))) if alone != followed else " ".join(alone)


def _caption_scores(words: Callable[[list[str]], list[list[str]]]) -> Callable[[dict], dict]:
    def scored(case: dict) -> dict:
        given = _captions(case)
        each = captions.cider_each(*given, words)
        corpus, all_bleu = captions.bleu_scores(*given, words)
        return {
            "Bleu": corpus,
            "Bleu4_each": [bleu[3] for bleu in all_bleu],
            "CIDEr": sum(each) / len(each),
            "CIDEr_each": each,
        }

    return scored


def _raw_captions(case: dict) -> dict:
    """The official scores of raw captions are those of the same captions, tokenised, in the section before."""
    sections = json.loads((golden_root() / FOLDER / "caption.json").read_text(encoding="utf-8"))
    place = next(place for place, other in enumerate(sections["raw_text"]["cases"]) if other["in"] == case)
    expected = sections["scores_tokenised"]["cases"][place]["out"]
    got = _caption_scores(words_of_captions)(case)
    rows = [{"answer": entry["refs"], "prediction": entry["pred"]} for entry in case.values()]
    assert same(got, expected) and same(captions.score_captions(rows).overall, 100 * expected["CIDEr"])
    return None


def _captions_vlmevalkit(case: dict) -> dict:
    rows = [{"answer": entry["refs"], "prediction": entry["pred"]} for entry in case.values()]
    return captions.score_captions_vlmevalkit(rows).table


def _convbench(case: dict) -> dict:
    rows = []
    for number, (position, *letters) in enumerate(
        zip(case["positions"], *(case[turn] for turn in CONVBENCH_TEXTS), strict=False), start=1
    ):
        if number not in case["missing"]:
            verdicts = dict(zip(CONVBENCH_TEXTS, letters, strict=True))
            texts = {f"{turn}_evaluation": text for turn, text in CONVBENCH_TEXTS.items()}
            rows.append({**verdicts, **texts, "position": int(position)})
    rates = judged.convbench_rates(rows)
    names = {"overall": "overall_prediction"}
    return {names.get(turn, f"{turn}_turn_rating"): rate for turn, rate in rates.items()}


def _tiny_lvlm_answers(answers: Any) -> list[str]:
    return [answers] if isinstance(answers, str) else answers


def _tiny_lvlm_scores(rows: list[dict]) -> dict:
    given = [
        {"category": row["task"], "answer": _tiny_lvlm_answers(row["gt_answers"]), "prediction": row["answer"]}
        for row in rows
    ]
    return original_sets.score_tiny_lvlm(given).table


def _seed(rows: list[dict]) -> dict:
    given = [{**row, "question_type_id": row["type"]} for row in rows]
    return {name: f"{score:.2f}%" for name, score in original_sets.score_seed_internvl(given).table.items()}


def _vsi_bench(case: dict) -> dict:
    score = video.mean_relative_accuracy(case["prediction"], case["answer"])
    return {"mra": score, "text": video.vsi_bench_text(case["prediction"])}


def _multi_choice_score(case: dict) -> bool | int:
    """The official function gives 1 for equal texts, and else a truth value."""
    score = correctness.multi_choice_score(case["pred"], case["gt"])
    return 1 if case["pred"].strip().lower() == case["gt"].strip().lower() else score


SCORERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("authors_sets", "scienceqa"): _scienceqa,
    ("authors_sets", "mantis_single"): lambda case: int(original_sets.mantis(case["prediction"], case)),
    ("authors_sets", "mirb"): _mirb,
    ("authors_sets", "mmiu"): _mmiu,
    ("authors_sets", "mmvp"): _mmvp,
    ("caption", "ptb_tokenizer"): _words_of_a_caption,
    ("caption", "scores_tokenised"): _caption_scores(captions.split_at_spaces),
    ("caption", "raw_text"): _raw_captions,
    ("caption", "vlmevalkit_no_tokenizer"): _captions_vlmevalkit,
    ("convbench", "rates"): _convbench,
    ("convbench", "extract_rate"): judged.convbench_rate,
    ("convbench", "extract_prediction"): judged.convbench_prediction,
    ("mathvision", "is_equal"): lambda case: mathematics.is_equal(case["prediction"], case["answer"]),
    ("mathvision", "post_check"): _mathvision_check,
    ("mathvision", "table"): _mathvision_table,
    ("mathvision", "mathverse_post_check_score"): lambda case: mathematics.mathverse_post_check_score(
        case["answer"], case["extract"]
    ),
    ("mathvision", "mathverse_table"): _mathverse_table,
    ("mathvista", "internvl_extract"): lambda case: (
        "<language model>"
        if mathvista.extract_answer(case["response"], case) is None
        else mathvista.extract_answer(case["response"], case)
    ),
    ("mathvista", "internvl_quick_extract"): lambda case: mathvista.extract_answer(case["response"], case, quick=True),
    ("mathvista", "internvl_normalise"): _mathvista_normalise,
    ("mathvista", "most_similar_choice"): lambda case: mathvista.most_similar_choice(
        case["prediction"], case["choices"]
    ),
    ("mathvista", "internvl_scores"): _mathvista_scores,
    ("mathvista", "vlmevalkit_post_check"): _mathvista_check,
    ("mathvista", "vlmevalkit_table"): _mathvista_table,
    ("mmmu", "parse_multi_choice_response"): _letter_or_random(mmmu.parse_multi_choice_response),
    ("mmmu", "parse_open_response"): lambda response: frozenset(mmmu.parse_open_response(response)),
    ("mmmu", "normalize_str"): mmmu.normalize_str,
    ("mmmu", "extract_numbers"): mmmu.extract_numbers,
    ("mmmu", "eval_open"): lambda case: mmmu.eval_open(case["gold"], mmmu.parse_open_response(case["response"])),
    ("mmmu", "eval_multi_choice"): lambda case: mmmu.eval_multi_choice(case["gold"], case["pred"]),
    ("mmmu", "aggregation"): _aggregation,
    ("mmmu", "mmmu_pro_parse"): _letter_or_random(mmmu.parse_mmmu_pro_response),
    ("mpo_correctness", "parse_answer"): lambda case: correctness.parse_answer(case["response"], case["version"]),
    ("mpo_correctness", "get_mode"): correctness.modes_of,
    ("mpo_correctness", "check_answer"): lambda case: correctness.check_answer(case["pred"], case["gt"], case["mode"]),
    ("mpo_correctness", "fix_answer"): lambda case: correctness.fix_answer(case["response"], case["pred"], case["gt"]),
    ("mpo_correctness", "multi_choice_score"): _multi_choice_score,
    ("mpo_correctness", "math_score"): lambda case: correctness.math_score(case["pred"], case["gt"]),
    ("mpo_correctness", "relaxed_correctness"): lambda case: correctness.relaxed_correctness(case["gt"], case["pred"]),
    ("small_sets", "crpe_is_correct"): lambda case: small_sets.crpe_is_correct(case["answer"], case["prediction"]),
    ("small_sets", "crpe_table"): lambda rows: small_sets.score_crpe(rows).table,
    ("small_sets", "tallyqa_count"): small_sets.tallyqa_count,
    ("small_sets", "tiny_lvlm_vqa_eval"): lambda case: original_sets.tiny_lvlm(
        case["answer"], _tiny_lvlm_answers(case["gt_answers"])
    ),
    ("small_sets", "tiny_lvlm_scores"): _tiny_lvlm_scores,
    ("small_sets", "countbench"): lambda rows: small_sets.score_countbench(rows).table,
    ("small_sets", "mmvet_table"): judged.mmvet_table,
    ("small_sets", "seed"): _seed,
    ("video", "internvl_mvbench_check_ans"): lambda case: video.mvbench_internvl(case["pred"], case["gt"]),
    ("video", "vlmevalkit_mvbench_check_ans"): lambda case: video.mvbench_vlmevalkit(case["pred"], case["gt"]),
    ("video", "vlmevalkit_check_ans_advanced"): lambda case: video.check_ans_advanced(case["pred"], case["gt"]),
    ("video", "mvbench_table"): lambda rows: video.score_mvbench_vlmevalkit(rows).table,
    ("video", "videomme_regex"): video.extract_characters_videomme,
    ("video", "videomme_v2_regex"): video.extract_characters_videomme_v2,
    ("video", "videomme_table"): lambda rows: video.score_videomme(rows).table,
    ("video", "vsi_bench_mra"): _vsi_bench,
}
# Where the official code raises: is our result the documented one?
RAISING: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("mpo_correctness", "parse_answer"): refuses(
        lambda case: correctness.parse_answer(case["response"], case["version"])
    ),
    ("mpo_correctness", "fix_answer"): lambda case: isinstance(
        correctness.fix_answer(case["response"], case["pred"], case["gt"]), str
    ),
    ("small_sets", "crpe_is_correct"): lambda case: (
        small_sets.crpe_is_correct(case["answer"], case["prediction"]) is None and not case["prediction"]
    ),
    ("small_sets", "seed"): lambda rows: "Total accuracy" in _seed(rows),
    ("video", "internvl_mvbench_check_ans"): lambda case: isinstance(
        video.mvbench_internvl(case["pred"], case["gt"]), bool
    ),
    ("video", "vlmevalkit_mvbench_check_ans"): lambda case: isinstance(
        video.mvbench_vlmevalkit(case["pred"], case["gt"]), bool
    ),
    ("video", "vlmevalkit_check_ans_advanced"): lambda case: isinstance(
        video.check_ans_advanced(case["pred"], case["gt"]), bool
    ),
}


@pytest.mark.parametrize("section", sections_of(FOLDER), ids="-".join)
def test_section(section):
    check(FOLDER, section, SCORERS, RAISING)
