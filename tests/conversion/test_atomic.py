# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A folder appears whole or not at all, and never over another."""

import os
import signal

import pytest
from peft import get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from tests.crashes import a_disk_with_room_for, left_by_kills, snapshot
from transformers_internvl.cli import main
from transformers_internvl.conversion.files.folders import atomic_folder
from transformers_internvl.conversion.surgery.operations import merge_lora_folder
from transformers_internvl.nano import nano_path
from transformers_internvl.training.lora import lora_config


def test_it_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "folder"
    with atomic_folder(target) as partial:
        (partial / "a").write_text("whole")
        assert not target.exists() and partial.parent == target.parent
    assert (target / "a").read_text() == "whole"
    assert os.listdir(target.parent) == ["folder"]


def test_an_empty_folder_is_filled(tmp_path):
    with atomic_folder(tmp_path) as partial:
        (partial / "a").touch()
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="midway"), atomic_folder(tmp_path / "folder") as partial:
        (partial / "a").touch()
        raise RuntimeError("midway")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("there", ["file", "folder"])
def test_nothing_is_overwritten(there, tmp_path):
    target = tmp_path / "target"
    if there == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").touch()
    with pytest.raises(FileExistsError, match="is there already"), atomic_folder(target):
        pass
    assert os.listdir(tmp_path) == ["target"]


def test_what_comes_meanwhile_stays(tmp_path):
    target = tmp_path / "target"
    with pytest.raises(FileExistsError, match="is there already"), atomic_folder(target) as partial:
        (partial / "a").touch()
        target.mkdir()
        (target / "mine").touch()
    assert os.listdir(tmp_path) == ["target"] and os.listdir(target) == ["mine"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, capsys):
    with a_disk_with_room_for(200_000):
        code = main(["surgery", "add-tokens", str(nano_path()), str(tmp_path / "new"), "--tokens", "<mark>"])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and f"{tmp_path / 'new'} cannot be written: " in message and "File too large" in message
    assert os.listdir(tmp_path) == []


def test_what_is_damaged_is_not_taken_for_a_full_disk(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    with pytest.raises(SafetensorError), atomic_folder(tmp_path / "new"):
        load_file(tmp_path / "damaged.safetensors")


def test_killed_midway_the_name_stays_free(tmp_path):
    child = os.fork()
    if child == 0:
        with atomic_folder(tmp_path / "folder") as partial:
            (partial / "a").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL and not (tmp_path / "folder").exists()
    assert len(os.listdir(tmp_path)) == 1
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "b").touch()
    assert os.listdir(tmp_path / "folder") == ["b"]


def test_a_relative_name_is_that_of_the_beginning(tmp_path, monkeypatch):
    """Whoever goes elsewhere meanwhile finds the result where it was asked for."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with atomic_folder("folder") as partial:
        (partial / "a").touch()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert os.listdir(tmp_path / "folder") == ["a"] and os.listdir(tmp_path / "elsewhere") == []


def test_what_a_killed_run_of_the_same_id_left_goes(tmp_path):
    left = tmp_path / f".folder.partial-{os.getpid()}"
    left.mkdir()
    (left / "old").touch()
    with atomic_folder(tmp_path / "folder") as partial:
        (partial / "new").touch()
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["new"]


def test_a_merge_that_is_killed_leaves_no_name(tmp_path):
    """Whatever the moment: the folder of `internvl surgery merge-lora` is not there, or is there whole."""
    adapter, target = write_adapter(tmp_path / "adapter"), tmp_path / "merged" / "model"
    target.parent.mkdir()
    moments = left_by_kills(target.parent, lambda: merge_lora_folder(adapter, target))
    whole = snapshot(target)
    assert {"model.safetensors", "config.json"} <= whole.keys() and len(moments) > 10
    for files in moments:
        named = {name.removeprefix("model/"): content for name, content in files.items() if name.startswith("model/")}
        assert named in ({}, whole)
    assert any("model.safetensors" in name for files in moments[:-1] for name in files)  # beside its place
    assert os.listdir(target.parent) == ["model"]


def test_a_merge_on_a_full_disk_leaves_nothing(tmp_path, capsys):
    adapter = write_adapter(tmp_path / "adapter")
    for room in (100, 20_000, 2_000_000):
        with a_disk_with_room_for(room):
            code = main(["surgery", "merge-lora", str(adapter), str(tmp_path / "merged")])
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert code == 2 and message.startswith("internvl surgery: ") and "File too large" in message
        assert os.listdir(tmp_path) == ["adapter"]


def write_adapter(folder):
    """A LoRA adapter of the embedded model."""
    model = AutoModelForImageTextToText.from_pretrained(nano_path())
    model = get_peft_model(model, lora_config("llm", model, r=2))
    model.peft_config["default"].base_model_name_or_path = str(nano_path())
    model.save_pretrained(folder)
    return folder
