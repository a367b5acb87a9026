# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""VisualPRM: prompts, step scores, rankings, modes, and training conversations as in the original code."""

import json
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.parity.golden import golden_cases, golden_root, weights
from transformers_internvl import InternVLRewardModel
from transformers_internvl.evaluation.step_scores import StepScorer
from transformers_internvl.processing.text.solution_steps import PRM_SYSTEM_PROMPT, split_response, step_questions
from transformers_internvl.training.data.step_labels import StepLabels

FOLDERS = golden_cases("visual_prm")
METHODS = {
    "soft_v2": InternVLRewardModel.generate_steps_with_soft_score,
    "orm_soft": lambda *call: InternVLRewardModel.generate_steps_with_soft_score(*call, orm=True),
    "hard": InternVLRewardModel.generate_steps_with_hard_score,
}
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}


@cache
def loaded(folder, attention):
    model = AutoModel.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@cache
def record(folder):
    return (
        json.loads((folder / "scores.json").read_text())["cases"],
        load_file(folder / "inputs.safetensors"),
        load_file(folder / "outputs.safetensors"),
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_scores_and_rankings(folder, attention):
    model, tokenizer = loaded(folder, attention)
    assert type(model) is InternVLRewardModel
    cases, inputs, outputs = record(folder)
    for number, case in enumerate(cases):
        asked, wanted = case["request"], case["result"]
        model.system_message = asked["system_message"]
        pixels = None if asked["pixel_rows"] is None else inputs["pixel_values"][asked["pixel_rows"]]
        options = {key: asked[key] for key in ("num_patches_list", "max_steps", "version")}
        call = (tokenizer, asked["question"], asked["response_list"], pixels)
        ranked = model.select_best_response(*call, **options, return_scores=True)
        assert [text for text, _ in ranked] == wanted["sorted_response_list"]
        scores_of = dict(ranked)
        scorer = StepScorer(model, tokenizer)
        options["max_steps"] = None if options["version"] == "orm_soft" else options["max_steps"]
        mode = options.pop("version")
        all_found = scorer.score(*call[1:], **options, mode=mode)
        for place, (expected, found) in enumerate(zip(wanted["responses"], all_found, strict=True)):
            text = expected["response"]
            # The original code gives the turn back, not the step, but in the one-pass mode.
            steps = list(found.steps if mode == "soft_v2" else found.turns)
            assert steps == [one["step"] for one in expected["steps_with_score"]]
            scores = [one["score"] for one in expected["steps_with_score"]]
            assert found.scores == pytest.approx(scores, abs=1e-5)
            assert scores == pytest.approx(
                outputs.get(f"case{number}.resp{place}.scores", torch.tensor(scores)).tolist()
            )
            assert scores_of[text] == pytest.approx(expected["overall_score"], abs=1e-5)
            assert found.overall == pytest.approx(expected["overall_score"], abs=1e-5)
            overall = model.generate_overall_score(expected["steps_with_score"], version=asked["version"])
            assert overall == pytest.approx(expected["overall_score"], abs=1e-6)
            if mode in METHODS and place == 0:
                one_by_one = METHODS[mode](
                    model, *call[:2], text, *call[3:], asked["num_patches_list"], asked["max_steps"]
                )
                assert [one["step"] for one in one_by_one] == steps
                assert [one["score"] for one in one_by_one] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_one_prompt_and_the_logits_of_its_answers(folder):
    model, tokenizer = loaded(folder, "eager")
    cases, inputs, outputs = record(folder)
    seen = 0
    for number, case in enumerate(cases):
        asked = case["request"]
        model.system_message = asked["system_message"]
        scorer = StepScorer(model, tokenizer)
        for place, text in enumerate(asked["response_list"]):
            name = f"case{number}.resp{place}"
            if f"{name}.input_ids" not in inputs:  # not of the modes with one prompt
                continue
            seen += 1
            rows = asked["pixel_rows"]
            tiles = [] if rows is None else asked["num_patches_list"] or [len(rows)]
            question = asked["question"]
            if rows is not None and "<image>" not in question:
                question = f"<image>\n{question}"
            turns = step_questions(question, split_response(text, max_steps=asked["max_steps"]))
            (row,) = scorer._rows(turns, tiles, apart=False)
            assert row.ids == inputs[f"{name}.input_ids"][0].tolist()
            assert row.positions == outputs[f"{name}.placeholder_positions"].tolist()
            with torch.no_grad():
                pixels = {} if rows is None else {"pixel_values": inputs["pixel_values"][rows]}
                logits = model(input_ids=torch.tensor([row.ids]), **pixels).logits[0, row.positions]
            torch.testing.assert_close(logits[:, scorer.answer_ids], outputs[f"{name}.plus_minus_logits"], **TOLERANCE)
    assert seen


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_checkpoint_is_saved_as_it_was(folder, tmp_path):
    model, tokenizer = loaded(folder, "eager")
    model.save_pretrained(tmp_path)
    before, after = weights(folder), weights(tmp_path)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["architectures"] == ["InternVLRewardModel"]
    assert type(AutoModel.from_pretrained(tmp_path)) is InternVLRewardModel


def prm_format():
    return json.loads((golden_root() / "eval_voting" / "prm_format.json").read_text())


def test_responses_are_split_into_steps():
    cases = [
        (case["in"]["response"], case["in"]["max_steps"], case["out"])
        for case in prm_format()["split_response"]["cases"]
    ]
    for folder in FOLDERS:
        own = json.loads((folder / "split_response.json").read_text())
        cases += [(case["text"], case["max_steps"], case["steps"]) for case in own]
    for text, most, steps in cases:
        assert split_response(text, max_steps=most) == steps


def test_training_conversations():
    system = {case["in"]: case["out"] for case in prm_format()["system_prompts"]["cases"]}["PRM_SYSTEM_PROMPT"]
    assert system == PRM_SYSTEM_PROMPT
    cases = [
        (
            {**case["in"], "steps_with_score": case["in"]["steps"]},
            case["in"]["threshold"],
            case["in"]["early_stop"],
            case["out"],
        )
        for case in prm_format()["conversations"]["cases"]
    ]
    for folder in FOLDERS:
        for own in json.loads((folder / "training_conversations.json").read_text()):
            turns = {kind: own[kind]["conversations"] for kind in ("prm", "orm")}
            assert all(kind.pop(0) == {"from": "system", "value": system} for kind in turns.values())
            cases.append((own["item"], own["mc_threshold"], own["early_stop"], turns))
    for item, threshold, early_stop, expected in cases:
        for kind, turns in expected.items():
            labels = StepLabels(threshold=threshold, early_stop=early_stop, whole=kind == "orm")
            steps = [(one["step"], one["score"]) for one in item["steps_with_score"]]
            found = labels.turns(item["question"], steps, item.get("response"))
            assert found == [{"from": "system", "value": system}, *turns]
