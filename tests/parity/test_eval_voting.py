# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Voting, best of N, repetition and post-processing give the official results on `golden/eval_voting`.

The sections of `prm_format.json` are also those of `test_visual_prm.py`.
"""

from collections.abc import Callable
from typing import Any

import pytest

from transformers_internvl.evaluation.metrics.extraction import boxed_content
from transformers_internvl.evaluation.prompts import asking_style, chat_request, question_text
from transformers_internvl.evaluation.reasoning import (
    answer_for_scorer,
    best_of_n,
    best_of_n_settings,
    check_conversation,
    detect_repetition,
    majority_vote,
    mpo_post_processing,
    repeated_ngram_ratio,
)

from .sections import check, refuses, sections_of

FOLDER = "eval_voting"


def _text(case: dict) -> str:
    return case["text"] if "text" in case else case["prefix"] + case["unit"] * case["times"] + case["suffix"]


def _repetition(case: dict) -> dict:
    found = detect_repetition(_text(case))
    return {"matches": found.matches, "repeated": found.repeated}


def _best_of_n(case: dict) -> dict:
    style = asking_style("InternVL2_5-8B", "cot" if case["n"] > 1 else "direct")  # a reward model forces the former
    text = question_text(case["row"], case["dataset"], style)
    request = chat_request([text, *[None] * len(case["image_sizes"])], case["dataset"], style)
    generation = {"do_sample": case["do_sample"], "max_new_tokens": style.max_new_tokens}
    settings = best_of_n_settings(case["n"], generation)
    responses = [f"answer {number}" for number in range(case["n"])]
    patches = request.num_patches([tuple(size) for size in case["image_sizes"]])
    call = {
        "num_patches_list": patches,
        "pixel_values": sum(patches),
        "question": request.question,
        "response_list": responses,
    }
    return {
        "generations": [{"generation_config": one, "question": request.question} for one in settings],
        "returned": best_of_n(responses, case["scores"][: case["n"]]).answer,
        "reward_call": call if case["n"] > 1 else None,
    }


def _returned(case: dict) -> str:
    style = asking_style(case["model"], "cot" if case["use_cot"] else "direct")
    return answer_for_scorer(case["response"], case["dataset"], style, case["use_postprocess"])


SCORERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("repetition", "detect_repetition"): _repetition,
    ("repetition", "ngram_repetition"): lambda case: repeated_ngram_ratio(_text(case), case["n"]),
    ("repetition", "check_conversations"): lambda case: (
        "kept" if check_conversation(case["conversations"], case["threshold"], case["ngram"]) else "dropped"
    ),
    ("voting", "majority_vote"): lambda answers: majority_vote(answers).answer,
    ("voting", "majority_vote_empty"): lambda answers: majority_vote(answers).answer,
    ("voting", "boxed_content"): boxed_content,
    ("voting", "mpo_post_processing"): lambda case: mpo_post_processing(case["response"], case["dataset"]),
    ("voting", "best_of_n"): _best_of_n,
    ("voting", "returned_answer"): _returned,
}
RAISING: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("voting", "majority_vote_empty"): refuses(majority_vote),
}


@pytest.mark.parametrize(
    "section", [section for section in sections_of(FOLDER) if section[0] != "prm_format"], ids="-".join
)
def test_section(section):
    check(FOLDER, section, SCORERS, RAISING)
