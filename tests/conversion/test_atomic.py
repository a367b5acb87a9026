# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A folder appears whole or not at all, and never over another."""

import os
import signal

import pytest

from transformers_internvl.conversion.atomic import atomic_folder


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
    with pytest.raises(OSError), atomic_folder(target) as partial:
        (partial / "a").touch()
        target.mkdir()
        (target / "mine").touch()
    assert os.listdir(tmp_path) == ["target"] and os.listdir(target) == ["mine"]


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
