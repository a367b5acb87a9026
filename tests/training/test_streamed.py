# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Streamed data sets: samples, training as on the same rows by number, tables of `datasets`, and `internvl train`."""

import json
from itertools import islice

import datasets
import pytest
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from tests.tiny import tiny_model
from tests.training.drawn import QUESTION, short, trainer_arguments, write_data
from tests.training.kills import Stop, Stopped, model_of, samples, samples_in
from tests.training.streamed import archives, png, rows, write_lines, write_parquet, write_tar
from transformers_internvl.training.data.dataloader import StreamLoader
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, SkipPolicy, TableRows
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.sampling import Mixture
from transformers_internvl.training.data.shards import FileShards
from transformers_internvl.training.data.streamed import StreamedDataset
from transformers_internvl.training.data.streamed_tables import TableShards
from transformers_internvl.training.data.streams import StreamSet
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.run import prepare
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer
from transformers_internvl.training.trainers.trainer import InternVLTrainer

LORA = "internvl2.5-1b-lora"


@pytest.fixture(scope="module")
def encoder():
    return samples().encoder


def streamed(path, encoder, **options) -> StreamedDataset:
    of_set = {name: options.pop(name) for name in ("length", "question", "weight", "augment") if name in options}
    shards = FileShards([str(path)], str(path.parent))
    return StreamedDataset([StreamSet("s", shards, **of_set)], encoder, **{"shuffle_buffer": 0, **options})


def ids(found) -> list[list[int]]:
    return [sample["input_ids"].tolist() for sample in found]


def losses(data, folder, **options) -> list[tuple[float, float]]:
    fields = {"gradient_accumulation_steps": 2, "logging_steps": 1, "learning_rate": 1e-2, "max_steps": -1}
    fields |= {"num_train_epochs": 1, "per_device_train_batch_size": 1}
    trainer = InternVLTrainer(model_of(), trainer_arguments(folder, **{**fields, **options}), train_dataset=data)
    trainer.train()
    return [(row["loss"], row["learning_rate"]) for row in trainer.state.log_history if "loss" in row]


@pytest.mark.parametrize("packed", [True, False])
def test_streamed_and_indexed_rows_give_the_same_losses(packed, tmp_path, encoder):
    table = rows(9)
    order = Mixture([9], [1.0], "size", 0).epoch(0)[1].tolist()
    indexed = ChatDataset([DataSet("t", TableRows("t", table))], encoder)
    written = [table[row] for row in order]
    path = tmp_path / ("a.tar" if packed else "a.parquet")
    (write_tar if packed else write_parquet)(path, written)
    stream = streamed(path, encoder, length=9)
    both = [PackedDataset(data, 150, 12, max_open=3) if packed else data for data in (indexed, stream)]
    options = {} if packed else {"per_device_train_batch_size": 2}
    one, other = (losses(data, tmp_path / str(number), **options) for number, data in enumerate(both))
    assert one == other and len(one) > 1


def test_samples_go_on_where_they_were_and_follow_seed_and_row(tmp_path, encoder):
    def make(seed=0):
        part = archives(tmp_path, 12, 4, augment=True)
        return StreamedDataset([part], encoder, shuffle_buffer=5, seed=seed)

    whole = list(make())
    data = make()
    first = list(islice(data, 5))
    again = make()
    again.load_state_dict(json.loads(json.dumps(data.state_dict())))
    resumed = first + list(again)
    assert ids(resumed) == ids(whole) and again.epoch == 1
    for one, other in zip(whole, resumed, strict=True):
        assert ("pixel_values" in one) == ("pixel_values" in other)
        assert "pixel_values" not in one or (one["pixel_values"] == other["pixel_values"]).all()
    shares = [make() for _ in range(3)]
    for number, part in enumerate(shares):
        part.share = (number, 3)
    assert sorted(ids(sample for part in shares for sample in part)) == sorted(ids(whole))
    assert sorted(ids(DataLoader(make(), batch_size=None, num_workers=2))) == sorted(ids(whole))
    with pytest.raises(ValueError, match="Nothing was read yet"):
        make().state_dict()
    with pytest.raises(ValueError, match="seed: 0 then, 1 now"):
        other = make(1)
        other.load_state_dict(data.state_dict())
        next(iter(other))


def test_bad_rows_follow_the_policy(tmp_path, encoder):
    good = rows(6)
    path = tmp_path / "a.jsonl"
    write_lines(path, [good[1], "{broken", good[2], {"conversations": []}, good[4]])
    with pytest.raises(UnusableSample, match="line 2: not a JSON object"):
        list(streamed(path, encoder))
    policy = SkipPolicy(2)
    found = list(streamed(path, encoder, policy=policy))
    assert [sample is None for sample in found] == [False, True, False, True, False] and len(policy.skipped) == 2
    loader = StreamLoader(streamed(path, encoder, policy=SkipPolicy(2)), lambda batch: ids(batch), 2)
    assert list(loader) == [ids(found[:1]), ids(found[2:3]), ids(found[4:])]
    packs = PackedDataset(streamed(path, encoder, policy=SkipPolicy(2)), 1000, 12)
    assert [len(pack) for pack in packs] == [3]


def test_captions_answer_the_question_of_their_set(tmp_path, encoder):
    path = tmp_path / "a.tar"
    write_tar(path, [{"image": {"bytes": png(0)}, "caption": "a picture"}])
    with pytest.raises(UnusableSample, match="say what it answers, by `question`"):
        list(streamed(path, encoder))
    (sample,) = streamed(path, encoder, question=QUESTION)
    text = encoder.processor.tokenizer.decode(sample["input_ids"])
    assert "What is drawn?" in text and "a picture" in text and len(sample["pixel_values"]) == 1


def test_rows_without_a_caption_are_no_captions(tmp_path, encoder):
    """Whether the set has a question, or the row is an object at all."""
    path = tmp_path / "a.jsonl"
    write_lines(path, ['{"text": "a"}', "[1]", '"caption"', "null", '{"caption": 3}'])
    for options in ({}, {"question": QUESTION}):
        found = []
        stream = streamed(path, encoder, policy=found.append, **options)
        assert list(stream) == [None] * 5
        assert [error.where for error in found] == [f"{path}, line {at}" for at in range(1, 6)]
        said = [("question` of the set" in error.reason) for error in found]
        assert said == [False] * 4 + [not options]
    row = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}], "caption": "x"}
    write_lines(path, [row])
    (sample,) = streamed(path, encoder, question=QUESTION)
    text = encoder.processor.tokenizer.decode(sample["input_ids"])
    assert "Why?" in text and "What is drawn?" not in text


def test_what_streams_refuse(tmp_path, encoder):
    part = archives(tmp_path, 4)
    for sets, options, reason in (
        ([], {}, "at least one set"),
        ([part, archives(tmp_path, 4, weight=1)], {}, "Either all sets have a weight, or none"),
        ([part, part], {}, "give each a `length`"),
        ([part], {"shuffle_buffer": -1}, "`shuffle_buffer` is a number of rows from 0"),
        ([part], {"mixing": "none"}, "`mixing` is one of"),
        ([part], {"rank": 2, "world_size": 2}, "share from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=reason):
            StreamedDataset(sets, encoder, **options)
    data = StreamedDataset([part], encoder)
    for options, reason in (
        ({"max_steps": -1}, "set `max_steps`"),
        ({"dataloader_drop_last": True}, "Nothing is dropped at the end"),
    ):
        with pytest.raises(ValueError, match=reason):
            InternVLTrainer(tiny_model(), trainer_arguments(tmp_path, **options), train_dataset=data).train()
    with pytest.raises(ValueError, match="has no rows: there are fewer"):
        packs = PackedDataset(data, 150, 12, rank=5, world_size=6, endless=True)
        next(iter(packs))


def test_a_streamed_table_is_trained_on_and_resumed(tmp_path, encoder):
    def made(shards):
        for shard in shards:
            yield from rows(4, shard)

    def trainer(table, **options):
        arguments = trainer_arguments(tmp_path / "out", logging_steps=1, max_steps=4, **options)
        return InternVLTrainer(model_of(), arguments, train_dataset=table, processing_class=encoder.processor)

    table = datasets.IterableDataset.from_generator(made, gen_kwargs={"shards": [0, 4, 8]})
    table = table.map(lambda row: {**row, "id": 1}).filter(lambda row: "number 1 " not in str(row))
    whole = trainer(table)
    whole.train()
    stopped = trainer(table, save_strategy="steps", save_steps=2)
    stopped.add_callback(Stop(3))
    with pytest.raises(Stopped):
        stopped.train()
    resumed = trainer(table)
    resumed.train(resume_from_checkpoint=True)
    one, other = ([row["loss"] for row in run.state.log_history if "loss" in row] for run in (whole, resumed))
    assert one == other and len(one) == 4
    assert len(list(whole.train_dataset)) == 11
    for refused, reason in (
        (table.shuffle(seed=0, buffer_size=4), "leave `shuffle` out"),
        (table.shuffle(seed=0).map(lambda row: row), "leave `shuffle` out"),
        (split_dataset_by_node(table, 0, 2), "split over ranks already"),
    ):
        with pytest.raises(ValueError, match=reason):
            TableShards("t", refused)


def test_archives_as_datasets_streams_them(tmp_path, encoder):
    path = tmp_path / "a.tar"
    write_tar(path, rows(8)[::3])
    table = datasets.load_dataset("webdataset", data_files=[str(path)], split="train", streaming=True)
    theirs = StreamedDataset([StreamSet("t", TableShards("t", table))], encoder, shuffle_buffer=0)
    assert ids(theirs) == ids(streamed(path, encoder))


def test_preferences_are_streamed(tmp_path):
    path = tmp_path / "p.jsonl"
    write_lines(path, [{"question": f"Q {n}", "chosen": "good", "rejected": "bad " * n} for n in range(1, 5)])
    data = streamed(path, samples().encoder, length=4)
    arguments = trainer_arguments(tmp_path, max_steps=-1, num_train_epochs=1, per_device_train_batch_size=2)
    trainer = MPOTrainer(model_of(), arguments, train_dataset=data)
    trainer.train()
    assert trainer.state.global_step == 2 and trainer.mpo_loss.rewards.count == 2
    with pytest.raises(UnusableSample, match="preference pairs cannot be packed"):
        next(iter(PackedDataset(data, 150, 12)))


def test_a_run_of_archives(tmp_path):
    folder = write_data(tmp_path / "data", 6)
    written = [json.loads(line) for line in (folder / "chat.jsonl").read_text().splitlines()]
    for number, row in enumerate(written):
        row["image"] = {"bytes": (folder / row["image"]).read_bytes()}
        write_tar(folder / f"{number:02d}.tar", [row])
    fields = short(folder, "{00..05}.tar", shuffle_buffer=4)
    plan = make_plan(read_options(LORA, fields))
    assert plan.sets[0].samples is None and plan.sets[0].entries is None and "not known" in plan.facts["run"]
    assert plan.memory_note.startswith("for full packs") or "samples" in plan.memory_note
    result = prepare(read_options(LORA, fields)).train()
    assert result.steps == 2 and not result.skipped
    assert "shuffle_buffer: 4" in (folder / "out" / "run.yaml").read_text()
    with pytest.raises(ValueError, match="How many rows .* is not known.*set `max_steps`"):
        prepare(read_options(LORA, {**fields, "epochs": 1, "max_steps": None, "output": str(folder / "other")}))


def test_runs_that_are_streamed_where_they_need_not_be(tmp_path):
    folder = write_data(tmp_path / "data", 4)
    options = read_options(LORA, short(folder, stream=True))
    run = prepare(options)
    assert isinstance(run.data.samples, StreamedDataset) and "stream: true" in yaml_of(options)
    plain = read_options(LORA, short(folder))
    assert "stream:" not in yaml_of(plain)
    with pytest.raises(ValueError, match="`shuffle_buffer` does nothing without streamed data"):
        prepare(read_options(LORA, short(folder, shuffle_buffer=3)))
    write_tar(folder / "a.tar", rows(2))
    with pytest.raises(ValueError, match="a.tar is streamed, but what is evaluated is read by number"):
        prepare(read_options(LORA, short(folder, eval_data=str(folder / "a.tar"))))
    with pytest.raises(ValueError, match="`shuffle_buffer` is a number of rows from 0"):
        read_options(LORA, short(folder, stream=True, shuffle_buffer=-1))


def yaml_of(options) -> str:
    return "\n".join(f"{name}: {str(value).lower()}" for name, value in options.as_mapping().items())


def test_samples_of_a_padded_batch_are_those_of_the_stream(tmp_path, encoder):
    path = tmp_path / "a.parquet"
    write_parquet(path, rows(5))
    from transformers_internvl.training.data.collation import PaddingCollator

    loader = StreamLoader(streamed(path, encoder), PaddingCollator(0), 2)
    assert [row for batch in loader for row in samples_in(batch)] == ids(streamed(path, encoder))
