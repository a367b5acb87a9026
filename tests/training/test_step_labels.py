# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows of scored steps: labels by hand, samples, whole runs, and what is refused."""

import json

import pytest

from tests.parity.golden import golden_root
from tests.training.drawn import short, write_data
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.rows import StepsRow, UnusableSample, parse_row
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.data.step_labels import StepLabels
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare

STEPS = (("a", 1.0), ("b", 0.25), ("c", 0.0), ("d", 0.5))
ROW = {"question": "Q", "steps_with_score": [{"step": text, "score": score} for text, score in STEPS]}


def answers(labels, **row):
    turns = labels.turns("Q", STEPS, **row)
    assert turns[0]["from"] == "system" and turns[1]["value"].startswith(
        "### Question:\nQ\n\n### Solution Process:\na"
    )
    return [turn["value"] for turn in turns if turn["from"] == "gpt"]


def test_labels_by_hand():
    assert answers(StepLabels()) == ["+", "+", "-", "+"]
    assert answers(StepLabels(threshold=0.25)) == ["+", "-", "-", "+"]
    assert answers(StepLabels(early_stop=True)) == ["+", "+", "-"]
    assert answers(StepLabels(whole=True)) == ["+"]
    assert answers(StepLabels(threshold=0.5, whole=True)) == ["-"]
    assert StepLabels(whole=True).turns("Q", STEPS, "all of it")[1]["value"].endswith("Process:\nall of it")
    for threshold in (-0.1, 1):
        with pytest.raises(ValueError, match="share in"):
            StepLabels(threshold=threshold)
    with pytest.raises(ValueError, match="at least one step"):
        StepLabels().turns("Q", [])


def test_the_image_stands_where_scoring_has_it():
    row = parse_row({**ROW, "image": "a.png"}, "here")
    assert isinstance(row, StepsRow) and row.steps == STEPS
    assert StepLabels().turns_of(row)[1]["value"].startswith("### Question:\n<image>\nQ\n")
    marked = parse_row({**ROW, "image": "a.png", "question": "See <image>"}, "here")
    assert StepLabels().turns_of(marked)[1]["value"].startswith("### Question:\nSee <image>\n")


def test_only_the_answers_are_supervised():
    encoder = SampleEncoder(InternVLProcessor.from_pretrained(golden_root() / "visual_prm"))
    rows = [DataSet("t", TableRows("t", [ROW]))]
    sample = ChatDataset(rows, encoder, step_labels=StepLabels()).encode(0, 0, 0, 0)
    tokens = encoder.processor.tokenizer.convert_ids_to_tokens(sample["labels"][sample["labels"] != -100].tolist())
    assert [token for token in tokens if token in "+-"] == ["+", "+", "-", "+"]
    assert set(tokens) == {"+", "-", "<|im_end|>"}
    with pytest.raises(UnusableSample, match="objective 'prm'"):
        ChatDataset(rows, encoder).encode(0, 0, 0, 0)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"steps_with_score": []}, "is empty"),
        ({"steps_with_score": "a"}, "should be a list"),
        ({"steps_with_score": [{"step": "a"}]}, "step 1 should be"),
        ({"steps_with_score": [{"step": "a", "score": 1}, {"step": "a", "score": 1.5}]}, "step 2 should be"),
        ({"steps_with_score": [{"step": "a", "score": True}]}, "step 1 should be"),
        ({"chosen": "a"}, "excludes chosen"),
        ({"question": "<image>"}, "0 images, but 1"),
        ({"response": "\ud800"}, "Unicode"),
        ({"video": "a.mp4"}, "has a video"),
    ],
)
def test_broken_rows(changes, reason):
    with pytest.raises(UnusableSample, match=reason):
        parse_row({**ROW, **changes}, "here")


def test_a_run(tmp_path):
    folder = write_data(tmp_path / "data", count=4)
    rows = [{**ROW, "image": f"pictures/{index}.png"} for index in range(4)]
    (folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"objective": "prm", "step_threshold": 0.25, "eval_data": str(folder / "steps.jsonl"), "eval_answers": 0}
    result = prepare(read_options("internvl2.5-1b-lora", short(folder, "steps.jsonl", lora_rank=2, **fields))).train()
    assert result.steps == 2 and read_log(folder / "out")[0]["loss"] > 0
    kept = read_options(folder / "out" / "run.yaml")
    assert (kept.recipe.objective, kept.step_threshold) == ("prm", 0.25)
    fields["step_threshold"] = 1
    with pytest.raises(ValueError, match="share in"):
        read_options("internvl2.5-1b-lora", short(folder, **fields))
    with pytest.raises(ValueError, match="only rows of `prm` have scored steps"):
        prepare(read_options("internvl2.5-1b-lora", short(folder, step_early_stop=True)))
