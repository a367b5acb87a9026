# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Voting, best of N, repetition, prompts and post-processing give the official results on `golden/eval_voting`."""

from collections.abc import Callable
from typing import Any

import pytest

from transformers_internvl.evaluation.metrics.extraction import boxed_content
from transformers_internvl.evaluation.prompts import asking_style, chat_request, question_text
from transformers_internvl.evaluation.reasoning import (
    INSTRUCTIONS,
    answer_for_scorer,
    best_of_n,
    best_of_n_settings,
    check_conversation,
    detect_repetition,
    majority_vote,
    mpo_post_processing,
    repeated_ngram_ratio,
)
from transformers_internvl.processing.chat_templates import THINKING_SYSTEM_MESSAGE
from transformers_internvl.processing.text.placeholders import END_IMAGE, IMAGE, IMAGE_CONTEXT, START_IMAGE
from transformers_internvl.processing.text.solution_steps import PRM_SYSTEM_PROMPT, split_response
from transformers_internvl.training.data.step_labels import StepLabels

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


def _conversations(case: dict) -> dict:
    steps = [(step["step"], step["score"]) for step in case["steps"]]
    kinds = {
        kind: StepLabels(threshold=case["threshold"], early_stop=case["early_stop"], whole=kind == "orm")
        for kind in ("prm", "orm")
    }
    return {kind: labels.turns(case["question"], steps, case["response"])[1:] for kind, labels in kinds.items()}


PROMPTS = {
    "IMG_PLACEHOLDER": IMAGE,
    "IMG_CONTEXT_TOKEN": IMAGE_CONTEXT,
    "IMG_START_TOKEN": START_IMAGE,
    "IMG_END_TOKEN": END_IMAGE,
    "R1_SYSTEM_PROMPT": THINKING_SYSTEM_MESSAGE,
    "PRM_SYSTEM_PROMPT": PRM_SYSTEM_PROMPT,
    "INSTRUCTION_EN": INSTRUCTIONS["en"],
    "INSTRUCTION_ZH": INSTRUCTIONS["zh"],
    "INSTRUCTION_BOXED_EN": INSTRUCTIONS["en_v2"],
    "INSTRUCTION_BOXED_ZH": INSTRUCTIONS["zh_v2"],
    "INSTRUCTION_R1_EN": INSTRUCTIONS["en_r1"],
    "INSTRUCTION_R1_ZH": INSTRUCTIONS["zh_r1"],
}
SCORERS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("prm_format", "conversations"): _conversations,
    ("prm_format", "split_response"): lambda case: split_response(case["response"], max_steps=case["max_steps"]),
    ("prm_format", "system_prompts"): PROMPTS.__getitem__,
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


@pytest.mark.parametrize("section", sections_of(FOLDER), ids="-".join)
def test_section(section):
    check(FOLDER, section, SCORERS, RAISING)
