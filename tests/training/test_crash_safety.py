# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Kills, full disks, clocks that go back and second writers: what training leaves on disk is whole or known not to be.

`python -m tests.training.kills` kills processes.
"""

import json
import os
import time
from pathlib import Path

import pytest
import torch

from tests.crashes import a_disk_with_room_for, left_by_kills, snapshot, write
from tests.training.drawn import short, write_data
from tests.training.kills import trainer_of
from transformers_internvl.cli import main
from transformers_internvl.conversion.files.folders import write_json, write_whole
from transformers_internvl.training.feature_cache.store import FeatureStore, tile_name
from transformers_internvl.training.run.folder import SAVING, discard_unfinished, put_in_place
from transformers_internvl.training.run.options import read_options, write_options
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare
from transformers_internvl.training.trainers.checkpoints import is_complete, last_checkpoint

STATE = "trainer_state.json"


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    made = trainer_of("rows", tmp_path_factory.mktemp("trainer"), save_total_limit=2)
    made.create_optimizer_and_scheduler(10)
    return made


@pytest.fixture
def saving(trainer, tmp_path):
    """A function that saves the checkpoint of a step into `tmp_path`."""
    trainer.args.output_dir, trainer.args.save_total_limit = str(tmp_path), 2
    trainer.state.best_model_checkpoint = None

    def save(step):
        trainer.state.global_step = step
        trainer._save_checkpoint(trainer.model, None)

    return save


def kept(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*"))


# --- order and the clock ---


def test_checkpoints_count_by_their_steps(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-11", "checkpoint-100x", "checkpoint-"):
        (tmp_path / name).mkdir()
        (tmp_path / name / STATE).write_text("{}")
    (tmp_path / "checkpoint-12").write_text("{}")  # no folder
    (tmp_path / "checkpoint-11" / STATE).write_text('{"global')
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert last_checkpoint(tmp_path, with_optimizer=True) is None
    (tmp_path / "checkpoint-9" / "rng_state_0.pth").touch()
    assert last_checkpoint(tmp_path, with_optimizer=True) == str(tmp_path / "checkpoint-9")


def test_the_fewest_steps_go_first_whatever_the_clock_says(saving, trainer, tmp_path):
    for step in (8, 9, 10, 11):
        saving(step)
        os.utime(tmp_path / f"checkpoint-{step}", (2e9 - step, 2e9 - step))  # the clock is put back afterwards
        assert str(tmp_path / f"checkpoint-{step}") == last_checkpoint(tmp_path)
    assert kept(tmp_path) == ["checkpoint-10", "checkpoint-11"]
    assert trainer.args.save_total_limit == 2
    arguments = torch.load(tmp_path / "checkpoint-11" / "training_args.bin", weights_only=False)
    assert arguments.save_total_limit == 2
    trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint-10")
    saving(12)
    saving(13)
    assert kept(tmp_path) == ["checkpoint-10", "checkpoint-13"]


def test_a_limit_of_one_keeps_the_newest(saving, trainer, tmp_path):
    trainer.args.save_total_limit = 1
    saving(1)
    os.utime(tmp_path / "checkpoint-1", (2e9, 2e9))
    saving(2)
    assert kept(tmp_path) == ["checkpoint-2"]


def test_a_run_whose_clock_goes_back(tmp_path, monkeypatch):
    data, clock = write_data(tmp_path / "data"), [2e9]

    def earlier():
        clock[0] -= 60
        return clock[0]

    monkeypatch.setattr(time, "time", earlier)
    result = prepare(read_options("internvl2.5-1b-lora", short(data, save_steps=1, max_steps=3))).train()
    assert result.steps == 3 and kept(data / "out") == [f"checkpoint-{step}" for step in (1, 2, 3)]
    rows = read_log(data / "out")
    assert [row["step"] for row in rows] == [1, 2, 3] and all(row["tokens_per_second"] > 0 for row in rows)


# --- kills ---


def test_a_checkpoint_that_is_written_again_is_never_of_two(saving, trainer, tmp_path):
    saving(4)
    before = snapshot(tmp_path)
    weight = next(parameter for parameter in trainer.model.parameters() if parameter.requires_grad)
    weight.data.add_(1)
    weights = "checkpoint-4/adapter_model.safetensors"
    moments = left_by_kills(tmp_path, lambda: saving(4))
    after = moments[-1]
    assert before[weights] != after[weights] and after.keys() == before.keys() and len(moments) > 5
    for files in moments:
        state = files.get(f"checkpoint-4/{STATE}")
        if state is None or not state.endswith(b"}"):
            continue  # it is passed over
        assert files in (before, after)
    assert any(f"checkpoint-4/{STATE}" not in files for files in moments)


def model_files(which, shards=2):
    names = [f"model-{number}.safetensors" for number in range(shards)]
    return {name: which.encode() * 9 for name in (*names, "config.json", "README.md", "model.safetensors.index.json")}


@pytest.mark.parametrize("config", ["config.json", "adapter_config.json"])
def test_the_end_of_a_run_is_never_of_two_models(config, tmp_path):
    old, new = model_files("o"), model_files("n")
    for files in (old, new):
        files[config] = files.pop("config.json")
    write(old, tmp_path)
    write(new, tmp_path / SAVING)
    moments = left_by_kills(tmp_path, lambda: put_in_place(tmp_path / SAVING, tmp_path))
    seen = [{name: content for name, content in files.items() if SAVING not in name} for files in moments]
    assert seen[0] == old and seen[-1] == new and len(seen) > len(new)
    assert all(files in (old, new) for files in seen if config in files)


def test_what_a_killed_save_left_is_not_taken_along(tmp_path):
    data = write_data(tmp_path / "data")
    write({"model-00009.safetensors": b"of another run"}, data / "out" / SAVING)
    prepare(read_options("internvl2.5-1b-lora", short(data, max_steps=1, save_strategy="no"))).train()
    assert not list((data / "out").glob("model-*")) and (data / "out" / "adapter_model.safetensors").is_file()
    assert not (data / "out" / SAVING).exists()


def test_unfinished_folders_go_and_whole_ones_stay(tmp_path):
    write(
        {"checkpoint-1/trainer_state.json": b"{}", "checkpoint-2/model.safetensors": b"", ".saving/x": b""}, tmp_path
    )
    discard_unfinished(tmp_path)
    assert list(snapshot(tmp_path)) == ["checkpoint-1/trainer_state.json"]


def test_files_of_a_run_are_the_old_or_the_new(tmp_path):
    options = read_options("internvl2.5-1b-lora", {"model": "m", "data": "d"})
    for write_once in (
        lambda: write_json(tmp_path / "file", {"a": list(range(1000))}),
        lambda: write_whole(tmp_path / "file", "b" * 10_000),
        lambda: write_options(options, tmp_path / "file", "comment"),
    ):
        before = snapshot(tmp_path).get("file")
        moments = left_by_kills(tmp_path, write_once)
        assert {files.get("file") for files in moments} == {before, (tmp_path / "file").read_bytes()}
        assert len(moments) > 2


def test_features_are_there_whole_or_not_at_all(tmp_path):
    store, name = FeatureStore(tmp_path, "model"), bytes(16)
    path = str(store._path(name).relative_to(tmp_path))
    features = [torch.full((4, 8), value) for value in (1.0, 2.0)]
    store.write(name, features[0])
    before = snapshot(tmp_path)[path]
    moments = left_by_kills(tmp_path, lambda: store.write(name, features[1]))
    assert {files[path] for files in moments} == {before, moments[-1][path]} and len(moments) > 2
    assert torch.equal(store.read(name), features[1])
    moments = left_by_kills(tmp_path, lambda: store.remember(name, [name], [1]))
    written = {content for files in moments for file, content in files.items() if Path(file).suffix == ".json"}
    assert len(written) == 1 and json.loads(written.pop())["num_patches"] == [1]


def test_contents_are_on_the_disk_before_they_take_their_names(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append(os.fstat(number).st_ino), fsync(number))[1])

    def noted(source, target):
        assert os.stat(source).st_ino in done, f"{source} was not flushed"
        replace(source, target)

    monkeypatch.setattr(os, "replace", noted)
    write_json(tmp_path / "state.json", {})
    write_whole(tmp_path / "log.jsonl", "")
    write(model_files("n"), tmp_path / SAVING)
    put_in_place(tmp_path / SAVING, tmp_path)
    assert len(done) == 2 + len(model_files("n"))


# --- full disks ---


def test_a_full_disk_leaves_the_checkpoint_before(saving, tmp_path):
    saving(1)
    sizes = {path.stat().st_size for path in (tmp_path / "checkpoint-1").iterdir()}
    assert len(sizes) > 5
    said = r"checkpoint-2 cannot be written \(.*What was complete before is still"
    for room in sorted({size - 1 for size in sizes} | {size // 2 for size in sizes}):
        with pytest.raises(OSError, match=said), a_disk_with_room_for(room):
            saving(2)
        assert not is_complete(tmp_path / "checkpoint-2")
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")
    saving(2)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def test_a_run_on_a_full_disk_ends_in_one_line_and_goes_on(tmp_path, capsys):
    data = write_data(tmp_path / "data")
    fields = short(data, save_steps=1, max_steps=2)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in fields.items()]
    run = prepare(read_options("internvl2.5-1b-lora", {**fields, "max_steps": 1}))
    run.train()
    before = snapshot(data / "out" / "checkpoint-1")
    largest = max(path.stat().st_size for path in (data / "out" / "checkpoint-1").iterdir())
    with a_disk_with_room_for(largest - 1):
        assert main(["train", "internvl2.5-1b-lora", *words, "--resume"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint-2 cannot be written" in last
    assert kept(data / "out") == ["checkpoint-1"] and snapshot(data / "out" / "checkpoint-1") == before
    assert main(["train", "internvl2.5-1b-lora", *words, "--resume"]) == 0
    assert kept(data / "out") == ["checkpoint-1", "checkpoint-2"]


def test_features_on_a_full_disk(tmp_path):
    store, name = FeatureStore(tmp_path, "model"), bytes(16)
    with (
        pytest.raises(OSError, match=r"000.safetensors cannot be written: .*File too large"),
        a_disk_with_room_for(99),
    ):
        store.write(name, torch.zeros(100))
    assert snapshot(tmp_path) == {} and store.read(name) is None


# --- two writers ---


def test_two_processes_write_one_cache(tmp_path):
    store = FeatureStore(tmp_path, "model")
    tiles = [torch.full((3, 2, 2), value) for value in range(20)]
    features = {tile_name(tile): torch.full((64, 64), float(number)) for number, tile in enumerate(tiles)}
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(3):
                    for name, value in features.items():
                        store.write(name, value)
                        store.remember(name, [name], [1])
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    running = True
    while running:
        running = any(os.waitpid(child, os.WNOHANG) == (0, 0) for child in children[:1])
        for name, value in features.items():
            read, known = store.read(name), store.recall(name)
            assert read is None or torch.equal(read, value)
            assert known is None or known[1] == [1]
    assert os.waitpid(children[1], 0)[1] == 0
    assert all(torch.equal(store.read(name), value) for name, value in features.items())
    assert not list(tmp_path.rglob(".*"))
