# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""GSPO and GRPO on TRL: loss and advantages are ours, and a short run raises the reward of the embedded model."""

import json

import datasets
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import GRPOConfig

from lab.nano.drawing import Style
from lab.nano.evaluation import fresh_drawings
from transformers_internvl import nano_path
from transformers_internvl.training.data.questions import Questions
from transformers_internvl.training.data.records import DataSet, SkipPolicy, TableRows
from transformers_internvl.training.recipes import get_recipe, recipe_names
from transformers_internvl.training.reinforcement.policy_trainer import PolicyTrainer, as_table, askable
from transformers_internvl.training.reinforcement.rewards import box_reward, number_reward
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import RUN_FILE, prepare
from transformers_internvl.training.trainers.gspo import GSPOLoss, answer_log_probs, group_advantages

GSPO = "internvl3.5-1b-gspo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two drawings, and how many shapes each has."""
    folder = tmp_path_factory.mktemp("questions")
    rows = []
    for number, drawn in enumerate(fresh_drawings("count", 2, Style())):
        drawn.image.save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": f"<image>\n{drawn.question}", "answer": drawn.answer})
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def nano():
    return AutoModelForImageTextToText.from_pretrained(nano_path()), AutoProcessor.from_pretrained(nano_path())


def fields(folder, **others) -> dict:
    quick = {"bf16": False, "gradient_checkpointing": False, "max_tiles": 1, "max_completion_length": 4, "seed": 1}
    data = {"model": str(nano_path()), "data": str(folder / "q.jsonl"), "output": str(folder / "out")}
    sizes = {"num_generations": 8, "batch_size": 16, "per_device_train_batch_size": 16, "steps_per_rollout": 1}
    return {**data, **quick, **sizes, "reward": "number", "disable_tqdm": True, **others}


def a_trainer(nano, folder, rows, **options) -> PolicyTrainer:
    model, processor = nano
    table = as_table(Questions([DataSet("rows", TableRows("rows", rows))]), processor)
    given = {"num_generations": 2, "per_device_train_batch_size": 2, "max_completion_length": 3, "loss_type": "grpo"}
    given |= {"importance_sampling_level": "sequence", "report_to": [], "use_cpu": True, "bf16": False, **options}
    arguments = GRPOConfig(str(folder), disable_tqdm=True, gradient_checkpointing=False, **given)
    return PolicyTrainer(model, [number_reward], arguments, train_dataset=table, processing_class=processor)


def test_the_loss_of_trl_is_gspo(nano, tmp_path):
    """On answers whose ratios are cut off above, below and not at all: the loss, and its gradient."""
    model, processor = nano
    image = Image.effect_noise((112, 112), 80).convert("RGB")
    rows = [{"image": image, "question": "<image>\nHow many?", "answer": 1}]
    trainer = a_trainer(nano, tmp_path, rows)
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "How many?"}]}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    answers, mask = torch.tensor([[5, 6, 7], [8, 9, 0], [10, 11, 12], [5, 0, 0]]), torch.ones(4, 3, dtype=torch.long)
    mask[1, 2:], mask[3, 1:] = 0, 0
    count = len(answers)
    ids = torch.cat([prompt["input_ids"].expand(count, -1), answers], dim=1)
    pixels = prompt["pixel_values"].repeat(count, 1, 1, 1)
    attended = torch.cat([torch.ones_like(ids[:, :-3]), mask], dim=1)
    labels = torch.cat([torch.full_like(ids[:, :-3], -100), answers.masked_fill(mask == 0, -100)], dim=1)
    batch = {"input_ids": ids, "attention_mask": attended, "labels": labels, "pixel_values": pixels}
    model.eval().zero_grad()
    new, found = answer_log_probs(model, batch)
    old = new.detach() + torch.tensor([[0.5], [-0.5], [0.05], [0.6]])
    advantages = torch.tensor([-1.0, 2.0, 0.5, 1.5])
    terms = GSPOLoss()(new, old, advantages, found)
    terms.loss.backward()
    assert 0 < terms.clip_fraction < 1
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.zero_grad()
    length = len(ids[0]) - 3
    inputs = {"prompt_ids": ids[:, :length], "prompt_mask": attended[:, :length], "completion_ids": answers}
    inputs |= {"completion_mask": mask, "advantages": advantages, "old_per_token_logps": old[:, -3:]}
    inputs |= {"pixel_values": pixels, "num_images": [1] * count, "num_tiles": [len(pixels) // count] * count}
    loss = trainer.compute_loss(model, inputs)
    loss.backward()
    torch.testing.assert_close(loss, terms.loss, rtol=1e-4, atol=1e-6)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_advantages_are_the_original_ones(nano, tmp_path):
    """Three questions of two answers: unlike rewards, like ones, and one of which only one answer has a reward."""
    trainer = a_trainer(nano, tmp_path, [{"question": "How many?", "answer": 1}])
    trainer.model.train()
    rewards = torch.tensor([[1.0], [0.0], [2.0], [2.0], [3.0], [float("nan")]])
    expected = group_advantages(torch.tensor([1.0, 0.0, 2.0, 2.0]), torch.tensor([0, 0, 1, 1]))
    assert torch.equal(trainer._advantages(rewards), torch.cat([expected, torch.zeros(2)]))
    assert not trainer._advantages(torch.full((4, 1), float("nan"))).any()


def test_a_short_run_raises_the_reward(folder):
    """At a temperature at which the embedded model often counts wrongly."""
    given = fields(folder, learning_rate=1e-3, temperature=2.0, max_steps=6, eval_data=str(folder / "q.jsonl"))
    run = prepare(read_options(GSPO, {**given, "save_steps": 6}))
    config = run.trainer.args
    assert isinstance(config, GRPOConfig) and (config.num_generations, config.steps_per_generation) == (8, 1)
    assert (config.importance_sampling_level, config.loss_type, config.beta) == ("sequence", "grpo", 0.0)
    result = run.train()
    rows = read_log(folder / "out")
    rewards = [row["reward"] for row in rows if "reward" in row]
    assert len(rewards) == result.steps == 6
    assert sum(rewards[:2]) < sum(rewards[-2:]) - 0.3
    assert [row["eval_reward"] for row in rows if "eval_reward" in row] and rows[0]["rewards/number_reward/mean"] >= 0
    assert 16 * 30 < rows[0]["tokens"] < 16 * 45  # prompts and answers that were trained on, and none of sampling
    moved = {name.split(".")[1] for name, p in run.model.named_parameters() if p.requires_grad}
    assert moved == {"multi_modal_projector", "language_model"}
    AutoModelForImageTextToText.from_pretrained(folder / "out" / "checkpoint-6")
    again = read_options(folder / "out" / RUN_FILE)
    assert (again.recipe.objective, again.reward, again.arguments["temperature"]) == ("gspo", "number", 2.0)


def test_grpo_of_adapters_with_and_without_images(folder, tmp_path):
    """Rows of unequal numbers of images and tiles, one of them text alone; ratios of tokens; two steps a rollout."""
    row = json.loads((folder / "q.jsonl").read_text().splitlines()[0])
    more = [
        {"question": "How much is 1 + 1?", "answer": 2},
        {"image": [row["image"]] * 2, "question": "<image>\n<image>\nHow many shapes?", "answer": "4", "id": 7},
    ]
    (folder / "more.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (row, *more, row)))
    given = fields(folder, objective="grpo", output=str(tmp_path / "out"), data=str(folder / "more.jsonl"))
    given |= {"lora_rank": 2, "max_tiles": 4, "num_generations": 2, "steps_per_rollout": 2, "max_steps": 2}
    run = prepare(read_options(GSPO, {**given, "batch_size": 4, "per_device_train_batch_size": 4, "epsilon": 0.1}))
    assert (run.trainer.args.importance_sampling_level, run.trainer.args.steps_per_generation) == ("token", 2)
    assert run.trainer.args.epsilon == 0.1 and run.adapters
    assert run.train().steps == 2
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_a_plan_of_rollouts(folder):
    plan = make_plan(read_options(GSPO, fields(folder, max_steps=None, epochs=3)))
    assert [(part.name, part.samples) for part in plan.sets] == [("q", 2)] and plan.memory is None
    assert plan.facts["batch"].startswith("16 answers")
    assert plan.facts["a step"] == "2 questions, 8 answers each of at most 4 tokens; new answers every 1 step"
    assert (plan.facts["epoch"], plan.facts["run"]) == ("1 step", "3 epochs, 3 steps")


@pytest.mark.parametrize(
    "given, reason",
    [
        ({"reward": None}, "Objective 'gspo' needs `reward`, what answers are rewarded for: box, choice"),
        ({"steps_per_rollout": 2}, "There are 2 questions, but 4 are asked at once: give more, or lower `batch_size`"),
        ({"reward": "numbers"}, "There is no reward 'numbers'"),
        ({"reward": "box"}, "q.jsonl, line 1: none of box_reward knows what to do with the answer '"),
        ({"max_length": 100}, "`max_length` does nothing for objective 'gspo': questions are never cut"),
        ({"objective": "sft", "reward": None, "beta": 0.1}, "`beta` does nothing for objective 'sft': TRL has it"),
        ({"objective": "sft"}, "`reward` does nothing for objective 'sft': only `gspo` and `grpo`"),
        ({"part_learning_rates": {"projector": 1.0}}, "trains all parts at one rate"),
        ({"betas": 0.1}, "There is no field 'betas'"),
    ],
)
def test_what_is_refused(given, reason, folder):
    given = {**fields(folder, output=str(folder / "none")), **given}
    if given["reward"] is None:
        del given["reward"]
    for name in ("num_generations", "max_completion_length", "steps_per_rollout"):
        given.pop(name) if given.get("objective") == "sft" else None
    for start in (make_plan, prepare):
        with pytest.raises(ValueError, match=reason):
            start(read_options(GSPO, given))


def test_texts_that_trl_would_misread_are_refused(nano):
    rows = [
        {"question": "How many <IMG_CONTEXT>?", "answer": 1},
        {"question": "How many?", "answer": 1, "images": [], "prompt": "x"},
        {"question": "How many?", "answer": "[0, 0, 1, 1]"},
    ]
    policy = SkipPolicy(3)
    questions = Questions([DataSet("rows", TableRows("rows", rows))], policy, check=askable(nano[1], [box_reward]))
    assert len(questions) == 1 and [reason.split(",")[0] for _, reason in policy.skipped] == [
        "a text has '<IMG_CONTEXT>'", "`prompt` is the name of an argument of rewards: rename that field"
    ]  # fmt: skip
    assert isinstance(as_table(questions, nano[1]), datasets.Dataset)


def test_rows_equal_the_shells_of_verl():
    """`shell/internvl3_5_*.sh` of verl-internvl, and its defaults."""
    rows = {name.split("-")[1]: get_recipe(name) for name in recipe_names() if name.endswith("-gspo")}
    assert set(rows) == {"1b", "2b", "4b", "8b", "14b", "30b", "38b", "241b"}
    for size, row in rows.items():
        large = size == "241b"
        assert row.learning_rate == (8e-7 if large else 1e-6) and row.batch_size == 16 * (64 if large else 32)
        assert (row.max_grad_norm, row.epochs) == ((0.5, 2) if large else (1.0, 1))
        assert row.batch_size * row.steps_per_rollout == 16 * 512 and row.num_generations == 16
        assert (row.weight_decay, row.warmup, row.scheduler, row.drop_path) == (0.01, 0, "constant", 0)
        assert (row.max_length, row.max_completion_length) == (8192, 32768) and "vision" not in row.trains
        values = row.argument_values(1, per_device_train_batch_size=4)
        assert values["steps_per_generation"] * 4 == 16 * 512 and values["epsilon"] == 0.2
        assert "steps_per_generation" not in get_recipe("internvl3.5-1b-mpo").argument_values(1)
