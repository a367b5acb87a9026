# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""TRL's trainers take our models and processors as they are, images of unequal numbers of tiles included."""

import math

import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from tests.parity.golden import golden_root
from transformers_internvl.nano import nano_path
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.lora import lora_config
from transformers_internvl.training.trainers.trainer import InternVLTrainer

NANO, ORIGINAL = str(nano_path()), str(golden_root() / "chat_qwen2")  # one of each layout
ANSWERS = ["a red dog", "two", "no", "blue and green"]


def pictures(side: int) -> list[Image.Image]:
    """Of 1, 3, 4 and 2 squares."""
    shapes = [(1, 1), (3, 1), (2, 2), (1, 2)]
    return [Image.effect_noise((columns * side, rows * side), 80).convert("RGB") for columns, rows in shapes]


def open_pair(name: str):
    processor = AutoProcessor.from_pretrained(name)
    return AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32), processor


def options(folder, **others):
    return {
        "output_dir": str(folder), "max_steps": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 4,
        "logging_steps": 1, "save_strategy": "no", "report_to": [], "use_cpu": True, "bf16": False,
        "disable_tqdm": True, **others,
    }  # fmt: skip


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def moved(model, before: dict[str, torch.Tensor]) -> set[str]:
    after = dict(model.named_parameters())
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def state(model) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def ask(images: int = 1) -> list[dict]:
    return [{"role": "user", "content": "What is it?" + " And these?" * (images > 1)}]


@pytest.mark.parametrize("name", [NANO, ORIGINAL], ids=["canonical layout", "original layout"])
def test_sft_is_our_own_training(name, tmp_path):
    """The same rows, losses and weights as with `SampleEncoder` and `InternVLTrainer`."""
    model, processor = open_pair(name)
    side = processor.image_processor.size["height"]
    rows = [
        {"messages": [*ask(), {"role": "assistant", "content": answer}], "images": [image]}
        for image, answer in zip(pictures(side), ANSWERS, strict=True)
    ]
    arguments = SFTConfig(
        **options(tmp_path, activation_checkpointing=False), assistant_only_loss=True, max_length=None
    )
    theirs = SFTTrainer(model, arguments, train_dataset=Dataset.from_list(rows), processing_class=processor)
    before = state(model)
    theirs.train()

    own, _ = open_pair(name)
    for row in rows:  # TRL puts the images in front of the first question by itself
        row["messages"][0] = {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": ask()[0]["content"]}],
        }
    data = ChatDataset([DataSet("rows", TableRows("rows", rows))], SampleEncoder(processor))
    ours = InternVLTrainer(
        own,
        TrainingArguments(**options(tmp_path, remove_unused_columns=False, adam_beta2=arguments.adam_beta2)),
        train_dataset=data,
        data_collator=PaddingCollator(processor.tokenizer.pad_token_id),
    )
    ours.train()
    assert losses(theirs) == pytest.approx(losses(ours), rel=1e-4)
    assert moved(model, before) == moved(own, before) == set(before)


def test_sft_of_adapters_and_of_text(tmp_path):
    model, processor = open_pair(NANO)
    rows = [{"messages": [*ask(), {"role": "assistant", "content": answer}]} for answer in ANSWERS]
    trainer = SFTTrainer(
        model,
        SFTConfig(**options(tmp_path), assistant_only_loss=True, packing=True, max_length=64),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=lora_config("llm", model, r=4),
    )
    before = state(trainer.model)
    trainer.train()
    assert all(math.isfinite(loss) for loss in losses(trainer))
    assert moved(trainer.model, before) and all(".lora_" in name for name in moved(trainer.model, before))


@pytest.mark.parametrize("name", [NANO, ORIGINAL], ids=["canonical layout", "original layout"])
def test_dpo(name, tmp_path):
    model, processor = open_pair(name)
    images = pictures(processor.image_processor.size["height"])
    rows = [
        {
            "images": [image],
            "prompt": ask(),
            "chosen": [{"role": "assistant", "content": answer}],
            "rejected": [{"role": "assistant", "content": "something else"}],
        }
        for image, answer in zip(images, ANSWERS, strict=True)
    ]
    arguments = DPOConfig(**options(tmp_path), max_length=None)
    trainer = DPOTrainer(model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=processor)
    # By name: of a folder in the -hf layout it is upstream's class, whose numbers are the same.
    assert type(trainer.ref_model).__name__ == type(model).__name__
    before = state(model)
    trainer.train()
    first, second = losses(trainer)
    assert first == pytest.approx(math.log(2), abs=1e-6) and second < first
    assert moved(model, before) == set(before)


def test_grpo(tmp_path):
    """One, two and three images a prompt, of unequal numbers of tiles."""
    model, processor = open_pair(ORIGINAL)
    images = pictures(processor.image_processor.size["height"])
    rows = [{"images": images[:count], "prompt": ask(count)} for count in (1, 3, 2, 1)]

    def brevity(completions, **_) -> list[float]:
        return [-float(len(completion[0]["content"])) for completion in completions]

    arguments = GRPOConfig(
        **options(tmp_path, num_generations=2, steps_per_generation=2, max_completion_length=4, beta=0.1, seed=1)
    )
    trainer = GRPOTrainer(
        model, brevity, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=processor
    )
    before = state(model)
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "kl" in entry]
    assert [entry["kl"] == 0 for entry in logs] == [True, False]
    assert all(math.isfinite(loss) for loss in losses(trainer))
    assert moved(model, before) == set(before)
