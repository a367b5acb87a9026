# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Trainers on our data sets: tables, collators, packs of the model's own backends, and what they refuse."""

import json

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny import tiny_model
from tests.training.drawn import trainer_arguments as arguments
from tests.training.kills import QWEN2, conversations, model_of, samples, stopped_and_resumed, trainer_of
from transformers_internvl.conversion.files.folders import write_json
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.training.data.collation import PackingCollator, PaddingCollator
from transformers_internvl.training.data.dataloader import PackLoader, RowLoader, training_loader
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, SkipPolicy, TableRows
from transformers_internvl.training.trainers.checkpoints import last_checkpoint
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer, PairCollator
from transformers_internvl.training.trainers.trainer import InternVLTrainer


def losses_of(trainer) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


class Reads(TableRows):
    """Rows that remember which of them were read."""

    read: list[int] = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_what_was_passed_over_is_not_read_again(tmp_path):
    def trainer(rows):
        data = ChatDataset([DataSet("i", rows)], samples().encoder, seed=1)
        options = {
            "max_steps": -1,
            "num_train_epochs": 1,
            "save_strategy": "steps",
            "save_steps": 4,
            "max_grad_norm": 0.0,
        }
        return InternVLTrainer(
            model_of(), arguments(tmp_path, per_device_train_batch_size=2, **options), train_dataset=data
        )

    table = conversations("i", 12, True).table
    first = Reads("i", table)
    trainer(first).train()
    again = Reads("i", table)
    Reads.read = []
    trainer(again).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    order = ChatDataset([DataSet("i", again)], samples().encoder, seed=1).mixture.epoch(0)[1].tolist()
    assert Reads.read == order[8:]


def messages_table(count: int = 5) -> datasets.Dataset:
    noise = np.random.default_rng(0)
    rows = []
    for number in range(count):
        content = [{"type": "image", "text": None}, {"type": "text", "text": f"What is number {number}?"}]
        answer = [{"type": "text", "text": "noise"}]
        rows.append(
            {
                "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}],
                "images": [Image.fromarray(noise.integers(0, 256, (56, 56, 3), dtype=np.uint8))],
            }
        )
    return datasets.Dataset.from_list(rows).cast_column("images", datasets.List(datasets.Image()))


def test_a_table_of_messages_is_trained_on(tmp_path):
    processor = InternVLProcessor.from_pretrained(QWEN2)
    table = messages_table()
    trainer = InternVLTrainer(
        model_of(),
        arguments(tmp_path, max_steps=-1, num_train_epochs=2, per_device_train_batch_size=2, logging_steps=1),
        train_dataset=table,
        eval_dataset={"same": table},
        processing_class=processor,
    )
    assert isinstance(trainer.train_dataset, ChatDataset) and isinstance(trainer.data_collator, PaddingCollator)
    sample = trainer.train_dataset[0]
    assert len(sample["pixel_values"]) == 1 and (sample["labels"] != -100).any()
    trainer.train()
    assert len(losses_of(trainer)) == 6
    assert 0 < trainer.evaluate()["eval_same_loss"] < losses_of(trainer)[0]
    with pytest.raises(ValueError, match="The train table has rows that a processor turns into samples"):
        InternVLTrainer(tiny_model(), arguments(tmp_path), train_dataset=table)
    with pytest.raises(ValueError, match="eval table is streamed, but what is evaluated is read by number"):
        streamed = table.to_iterable_dataset()
        InternVLTrainer(tiny_model(), arguments(tmp_path), eval_dataset=streamed, processing_class=processor)


def test_preferences_are_trained_on_and_resumed(tmp_path):
    rows = [{"question": f"Q {n}", "chosen": "good " * (1 + n % 3), "rejected": "bad"} for n in range(5)]
    data = ChatDataset([DataSet("p", TableRows("p", rows))], samples().encoder)

    def trainer(folder, steps):
        options = {"save_strategy": "steps", "save_steps": 2, "gradient_accumulation_steps": 2, "logging_steps": 1}
        options |= {"max_steps": steps, "per_device_train_batch_size": 1, "lr_scheduler_type": "constant"}
        return MPOTrainer(model_of(), arguments(folder, **options), train_dataset=data)

    whole = trainer(tmp_path / "whole", 6)
    assert isinstance(whole.data_collator, PairCollator)
    whole.train()
    assert whole.state.epoch == 2 and len(losses_of(whole)) == 6
    assert whole.mpo_loss.rewards.count == 10  # a batch without a pair adds nothing
    trainer(tmp_path / "parts", 4).train()
    resumed = trainer(tmp_path / "parts", 6)
    resumed.train(resume_from_checkpoint=True)
    assert losses_of(resumed) == losses_of(whole)
    assert resumed.mpo_loss.rewards.state() == whole.mpo_loss.rewards.state()


def test_a_batch_without_samples_has_no_gradient(tmp_path):
    trainer = trainer_of("packed", tmp_path, noise=0.0)
    batch = trainer.empty_batch()
    assert trainer.step_weight([batch]) == 0
    loss = trainer.compute_loss(trainer.model.train(), batch, num_items_in_batch=torch.tensor(3.0))
    loss.backward()
    gradients = [parameter.grad for parameter in trainer.model.parameters() if parameter.requires_grad]
    assert loss == 0 and all(gradient is not None and not gradient.any() for gradient in gradients)


def packed_against_rows(tmp_path, attention, packed: bool, checkpointing: bool) -> tuple[list[float], list]:
    """One step on all samples, in one pack or in a row each."""
    data = samples(5, 2)
    model = model_of(0.0, attn_implementation=attention)
    options = {"activation_checkpointing": True} if checkpointing else {}
    options |= {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "logging_steps": 1}
    options |= {"per_device_train_batch_size": 1 if packed else len(data), "use_cpu": attention != FLEX}
    train = PackedDataset(data, 1000, 100) if packed else data
    trainer = InternVLTrainer(model, arguments(tmp_path, **options), train_dataset=train)
    assert isinstance(trainer.data_collator, PackingCollator if packed else PaddingCollator)
    trainer.train()
    trained = [parameter.detach().cpu() for parameter in model.parameters() if parameter.requires_grad]
    return losses_of(trainer), trained


FLEX = {"vision_config": "sdpa", "text_config": "flex_attention"}
# On a CPU PyTorch has no gradient of flex attention ("does not support backward on CPU").
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="gradients of flex attention need a GPU")


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", ["eager", "sdpa", pytest.param(FLEX, marks=on_gpu, id="flex")])
def test_packed_equals_separate_under_adapters(attention, checkpointing, tmp_path):
    losses, weights = packed_against_rows(tmp_path, attention, True, checkpointing)
    expected, others = packed_against_rows(tmp_path, "sdpa", False, False)
    assert losses == pytest.approx(expected, abs=1e-5)
    for one, other in zip(weights, others, strict=True):  # after a step of rate 1: the gradients' differences
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_samples_that_are_left_out_leave_batches_empty(tmp_path):
    table = [*conversations("t", 3, False).table, *({"conversations": []} for _ in range(3))]
    data = ChatDataset([DataSet("t", TableRows("t", table))], samples().encoder, policy=SkipPolicy(3))
    options = {"max_steps": -1, "num_train_epochs": 1, "per_device_train_batch_size": 1, "logging_steps": 1}
    trainer = InternVLTrainer(model_of(), arguments(tmp_path, **options), train_dataset=data)
    trainer.train()
    assert len(losses_of(trainer)) == 6 and sum(loss == 0 for loss in losses_of(trainer)) == 3


def test_an_unfinished_checkpoint_is_passed_over(tmp_path):
    trainer = stopped_and_resumed("packed", tmp_path, [3], num_train_epochs=1)
    last = trainer.state.global_step
    assert last_checkpoint(tmp_path) == str(tmp_path / f"checkpoint-{last}")
    (tmp_path / f"checkpoint-{last}" / "trainer_state.json").write_text("{")
    before = last_checkpoint(tmp_path)
    assert before is not None and before != str(tmp_path / f"checkpoint-{last}")
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    with pytest.raises(ValueError, match="no complete checkpoint"):
        trainer_of("packed", tmp_path / "none").train(resume_from_checkpoint=True)
    # One without the place in the data, and what is meant by `ignore_data_skip`.
    (tmp_path / before.rsplit("/", 1)[1] / "data_state_0.json").unlink()
    with pytest.raises(ValueError, match="the place in the data was not saved"):
        trainer_of("packed", tmp_path).train(resume_from_checkpoint=before)
    anew = trainer_of("packed", tmp_path, num_train_epochs=1, ignore_data_skip=True)
    anew.train(resume_from_checkpoint=before)
    assert anew.state.epoch == 1 and anew.args.ignore_data_skip
    assert anew.state.global_step > last
    # A run that has ended stays ended.
    again = trainer_of("packed", tmp_path, num_train_epochs=1)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == anew.state.global_step


def test_what_trainers_refuse(tmp_path):
    model, data = tiny_model(), samples()
    packs = PackedDataset(data, 150, 12)
    endless = PackedDataset(data, 150, 12, endless=True)

    def train(train_dataset, **options):
        InternVLTrainer(model, arguments(tmp_path, **options), train_dataset=train_dataset).train()

    with pytest.raises(ValueError, match="Endless packs have no last epoch"):
        train(endless, max_steps=-1)
    with pytest.raises(ValueError, match="the order of their mixture"):
        train(data, train_sampling_strategy="group_by_length")
    with pytest.raises(ValueError, match="Nothing is dropped"):
        train(packs, dataloader_drop_last=True)
    with pytest.raises(ValueError, match="is for rank 1 of 2, this is rank 0 of 1"):
        train(PackedDataset(data, 150, 12, rank=1, world_size=2))
    with pytest.raises(ValueError, match="Evaluate on the `ChatDataset` itself"):
        InternVLTrainer(model, arguments(tmp_path), eval_dataset=endless).evaluate()
    state = PackLoader(packs, PackingCollator(), 1).state_dict()
    with pytest.raises(ValueError, match="max_tokens: 150 then, 151 now"):
        PackLoader(PackedDataset(data, 151, 12), PackingCollator(), 1).load_state_dict(state)
    with pytest.raises(ValueError, match="ranks: 1 then, 2 now.*begin the epoch again"):
        PackLoader(packs, PackingCollator(), 1, 0, 2).load_state_dict(state)
    with pytest.raises(ValueError, match="workers: 1 then, 2 now"):
        PackLoader(packs, PackingCollator(), 1, num_workers=2).load_state_dict(state)


def test_evaluation_on_packs(tmp_path):
    packs = PackedDataset(samples(5, 2), 150, 12)
    trainer = InternVLTrainer(model_of(), arguments(tmp_path), PackingCollator("square"), eval_dataset=packs)
    assert 0 < trainer.evaluate()["eval_loss"] < 20


@pytest.mark.parametrize("drop_last", [False, True])
def test_rows_of_ranks_are_those_of_one(drop_last):
    data = samples(9, 2)
    ids = lambda batch: [] if batch is None else [row.tolist() for row in batch["input_ids"]]  # noqa: E731
    collate = PaddingCollator(0, pad_to_multiple_of=64)
    (one,) = loaders = [training_loader(data, collate, 6, drop_last=drop_last)]
    ranks = [training_loader(data, collate, 2, rank, 3, drop_last=drop_last) for rank in range(3)]
    assert isinstance(one, RowLoader) and {loader.batches_per_epoch() for loader in [*loaders, *ranks]} == {
        len(data) // 6 + (not drop_last)
    }
    for whole, *parts in zip(one, *ranks, strict=True):
        assert ids(whole) == [row for part in parts for row in ids(part)]
    assert one.entries_out() == sum(loader.entries_out() for loader in ranks)
    assert one.batches is not None and one.batches.ended


def test_other_data_go_trainers_own_way(tmp_path):
    rows = [{"input_ids": torch.arange(5) + 2, "labels": torch.arange(5) + 2} for _ in range(4)]
    trainer = InternVLTrainer(tiny_model(), arguments(tmp_path, max_steps=-1, num_train_epochs=1), train_dataset=rows)
    trainer.train()
    assert trainer.state.global_step == 1 and training_loader(rows, None, 1) is None
