# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Runs with evaluation data: the loss of what was not trained on, and a few answers."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from lab.nano.dual_encoder import SMALL, Settings, build_model, build_processor, build_tokenizer
from tests.training.drawn import short, write_data
from transformers_internvl import nano_path
from transformers_internvl.cli import main
from transformers_internvl.training.run.answers import ANSWER_FILE, last_stretch
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare

LORA = "internvl2.5-1b-lora"


@pytest.fixture
def folder(tmp_path):
    folder = write_data(tmp_path / "data")
    for name in ("chat", "prefs", "pairs"):
        lines = (folder / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}-eval.jsonl").write_text("".join(lines[:3]))
    return folder


def run(recipe, assigned, resume=False):
    return prepare(read_options(recipe, assigned), resume)


def with_evaluation(folder, data="chat", **fields):
    return short(folder, f"{data}.jsonl", eval_data=str(folder / f"{data}-eval.jsonl"), **fields)


def evaluations(folder):
    return [row for row in read_log(folder / "out") if "eval_loss" in row]


def loss_by_hand(folder, model, names):
    """The mean over all tokens that the assistant wrote, sample by sample through the model."""
    processor, losses = AutoProcessor.from_pretrained(nano_path()), []
    for line in (folder / names).read_text().splitlines():
        row = json.loads(line)
        picture = {"type": "image", "path": str(folder / row["image"])}
        question = {"role": "user", "content": [picture, {"type": "text", "text": "What is drawn?"}]}
        answer = {"role": "assistant", "content": [{"type": "text", "text": row["conversations"][1]["value"]}]}
        options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
        prompt = processor.apply_chat_template([question], add_generation_prompt=True, **options)
        inputs = processor.apply_chat_template([question, answer], **options)
        start = prompt["input_ids"].shape[1]
        with torch.no_grad():
            logits = model(**inputs).logits[0, start - 1 : -1].float()
        ids = inputs["input_ids"][0, start:]
        end = int((ids == processor.tokenizer.eos_token_id).nonzero()[0]) + 1
        losses.append(torch.nn.functional.cross_entropy(logits[:end], ids[:end], reduction="none"))
    return torch.cat(losses).mean().item()


@pytest.mark.parametrize("packed", [False, True])
def test_loss_and_answers_are_logged(packed, folder):
    limits = {"packed_tokens": 300, "packed_tiles": 8} if packed else {}
    fields = with_evaluation(folder, max_steps=4, save_steps=2, learning_rate=1e-3, drop_path=0, **limits)
    result = run("internvl2.5-1b-full", fields).train()
    rows = evaluations(folder)
    assert [row["step"] for row in rows] == [2, 4] and rows[-1]["eval_loss"] == result.eval_loss
    assert [row["step"] for row in read_log(folder / "out") if "loss" in row] == [1, 2, 3, 4]
    model = AutoModelForImageTextToText.from_pretrained(folder / "out", dtype="float32").eval()
    assert result.eval_loss == pytest.approx(loss_by_hand(folder, model, "chat-eval.jsonl"), rel=1e-4)
    answers = [json.loads(line) for line in (folder / "out" / ANSWER_FILE).read_text().splitlines()]
    assert [(row["step"], row["sample"]) for row in answers] == [(2, 0), (2, 1), (2, 2), (4, 0), (4, 1), (4, 2)]
    rows = [json.loads(line) for line in (folder / "chat-eval.jsonl").read_text().splitlines()]
    captions = [row["conversations"][1]["value"] for row in rows]
    found = {row["sample"]: row for row in answers if row["step"] == 4}
    processor = AutoProcessor.from_pretrained(folder / "out")
    order = {row["expected"].strip() for row in found.values()}
    assert order == set(captions) and all("What is drawn?" in row["prompt"] for row in answers)
    row = found[0]
    image = rows[captions.index(row["expected"].strip())]["image"]
    content = [{"type": "image", "path": str(folder / image)}, {"type": "text", "text": "What is drawn?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids = model.generate(**inputs, max_new_tokens=40, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = processor.decode(ids, skip_special_tokens=True)
    assert row["answer"] and answer.startswith(row["answer"])


def test_evaluation_at_the_end_where_no_checkpoint_is(folder):
    fields = with_evaluation(folder, save_strategy="no", eval_answers=1)
    assert run(LORA, fields).train().eval_loss > 0
    assert [row["step"] for row in evaluations(folder)] == [2]
    assert len((folder / "out" / ANSWER_FILE).read_text().splitlines()) == 1


def test_steps_of_evaluation_and_the_best_checkpoint(folder):
    fields = with_evaluation(folder, max_steps=4, eval_steps=2, save_steps=2, eval_answers=0, learning_rate=5e-2)
    run(LORA, {**fields, "load_best_model_at_end": True}).train()
    rows = evaluations(folder)
    assert [row["step"] for row in rows] == [2, 4] and not (folder / "out" / ANSWER_FILE).exists()
    best = min(rows, key=lambda row: row["eval_loss"])
    places = (folder / "out" / f"checkpoint-{best['step']}", folder / "out")
    states = [(place / "adapter_model.safetensors").read_bytes() for place in places]
    assert states[0] == states[1]


def test_preferences_are_evaluated(folder):
    run("internvl2.5-8b-mpo", with_evaluation(folder, "prefs", lora_rank=2)).train()
    (row,) = evaluations(folder)
    assert {"eval_rewards/margins", "eval_loss/preference"} <= row.keys()
    answers = [json.loads(line) for line in (folder / "out" / ANSWER_FILE).read_text().splitlines()]
    assert len(answers) == 3 and all("a cat" not in row["expected"] for row in answers)


@pytest.mark.parametrize("stage", ["contrastive", "generative"])
def test_pairs_are_evaluated(stage, folder):
    captions = [json.loads(line)["caption"] for line in (folder / "pairs.jsonl").read_text().splitlines()]
    tokenizer = build_tokenizer(captions)
    build_model(len(tokenizer), Settings(width=32, vision_layers=2, text_layers=2)).save_pretrained(folder / "dual")
    build_processor(tokenizer, SMALL).save_pretrained(folder / "dual")
    fields = with_evaluation(folder, "pairs", model=str(folder / "dual"), image_size=SMALL, drop_path=0, batch_size=4)
    fields |= {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 2}
    result = run(f"internvl-14b-{stage}", fields).train()
    assert 0 < result.eval_loss < 100 and len(evaluations(folder)) == 1
    assert "1 of 3 samples were not evaluated: they fill no batch." in result.notes
    with pytest.raises(ValueError, match="There are 3 samples, but a batch of 4 is compared at once"):
        run(f"internvl-14b-{stage}", {**fields, "per_device_eval_batch_size": 4, "output": str(folder / "other")})


def test_what_is_evaluated_comes_once_and_as_it_is(folder):
    meta = json.loads((folder / "meta.json").read_text())
    for change in ({"repeat_time": 0.5}, {"data_augment": True}):
        (folder / "meta-eval.json").write_text(json.dumps({"all": {**meta["all"], **change}}))
        with pytest.raises(ValueError, match="Set 'all' of .*meta-eval.json: what is evaluated is neither"):
            run(LORA, {**short(folder), "eval_data": str(folder / "meta-eval.json")})


def test_a_run_goes_on_with_its_evaluations(folder):
    fields = with_evaluation(folder, max_steps=4, save_steps=2, eval_answers=1)
    run(LORA, {**fields, "max_steps": 2}).train()
    run(LORA, fields, resume=True).train()
    assert [row["step"] for row in evaluations(folder)] == [2, 4]
    lines = (folder / "out" / ANSWER_FILE).read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]


def test_a_dry_run_counts_what_is_evaluated(folder):
    assert make_plan(read_options(LORA, with_evaluation(folder))).facts["evaluation"].startswith("3 samples of ")


def test_the_command_line_says_the_loss(folder, capsys):
    assigned = with_evaluation(folder)
    words = [word for name, value in assigned.items() for word in (f"--{name.replace('_', '-')}", str(value).lower())]
    paths = {str(value).lower(): str(value) for value in assigned.values()}
    assert main(["train", LORA, *[paths.get(word, word) for word in words]]) == 0
    err = capsys.readouterr().err
    assert ", evaluation loss " in err and "step 2: evaluation loss " in err


def test_the_last_stretch():
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 0, 0], dtype=torch.bool)
    assert last_stretch(mask) == (3, 6)
    assert last_stretch(mask[:2]) == (0, 2) and last_stretch(mask[2:3]) == (0, 0)


def test_generated_answers_are_scored_and_choose_the_best_checkpoint(tmp_path):
    """All of the evaluated samples are asked, in training and from the run's file; the score is logged and drawn."""
    folder = write_data(tmp_path / "data", count=3)
    given = short(folder, eval_data=str(folder / "chat.jsonl"), eval_metric="accuracy_internvl", learning_rate=1e-3)
    given |= {"eval_steps": 1, "save_steps": 1, "metric_for_best_model": "score", "load_best_model_at_end": True}
    run = prepare(read_options("internvl2.5-1b-lora", {**given, "disable_tqdm": True}))
    scores = iter([75.0, 25.0])
    asked, real = [], run.trainer.scorer

    def scored(*args):
        asked.append(real(*args))
        return {"score": next(scores)}

    run.trainer.scorer = scored
    run.train()
    evaluated = [row for row in read_log(folder / "out") if "eval_score" in row]
    assert [row["eval_score"] for row in evaluated] == [75.0, 25.0] and all("eval_loss" in row for row in evaluated)
    assert run.trainer.state.best_metric == 75.0 and run.trainer.state.best_model_checkpoint.endswith("checkpoint-1")
    answers = [json.loads(line) for line in (folder / "out" / "answers.jsonl").read_text().splitlines()]
    assert [(row["step"], row["sample"]) for row in answers] == [(step, n) for step in (1, 2) for n in range(3)]
    right = [sum(row["answer"] == row["expected"] for row in answers if row["step"] == step) / 3 for step in (1, 2)]
    assert [found["score"] for found in asked] == pytest.approx([100 * share for share in right])
    again = read_options(folder / "out" / "run.yaml")
    assert again.eval_metric == "accuracy_internvl" and "eval_answers" not in again.given
    for metric in ("none", "pope_internvl"):
        options = read_options("internvl2.5-1b-lora", {**given, "eval_metric": metric, "output": str(tmp_path / "x")})
        with pytest.raises(ValueError, match="`eval_metric` is a metric that compares answers with the expected ones"):
            prepare(options)
