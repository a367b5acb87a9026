# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Where a file is looked for goes along with every request for a file, not with the first alone."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from transformers_internvl.conversion.files import shapes
from transformers_internvl.hub import arguments
from transformers_internvl.hub.arguments import HUB_ARGUMENTS, find_file, hub_arguments, pinned
from transformers_internvl.processing import processor_files
from transformers_internvl.processing.tokenizers import loading as tokenization

EVERYWHERE = {
    "cache_dir": "cache",
    "force_download": True,
    "local_files_only": True,
    "proxies": {"https": "proxy"},
    "revision": "v2",
    "subfolder": "part",
    "token": "hf_x",
}


def test_arguments_that_say_where():
    given = {**EVERYWHERE, "dtype": "auto", "device_map": "cpu"}
    assert hub_arguments(given) == EVERYWHERE and set(HUB_ARGUMENTS) == set(EVERYWHERE)
    assert hub_arguments({"token": None, "dtype": "auto"}) == {"token": None}
    assert hub_arguments({}) == {}


@pytest.fixture
def resolved(monkeypatch):
    """What is asked of transformers' `resolve_revision`; the commit that it answers with is in `answer`."""
    asked = []

    def resolve(name, revision, **options):
        asked.append((name, revision, options))
        return resolve.answer

    resolve.answer, resolve.asked = "0123abcd", asked
    monkeypatch.setattr(arguments, "resolve_revision", resolve)
    return resolve


def test_a_revision_is_bound_to_its_commit(resolved):
    assert pinned("org/model", {**EVERYWHERE, "dtype": "auto"}) == {**EVERYWHERE, "revision": "0123abcd"}
    shared = {"cache_dir": "cache", "token": "hf_x", "local_files_only": True}
    assert resolved.asked == [("org/model", "v2", shared)]


def test_without_a_revision_the_main_one_is_bound(resolved):
    assert pinned("org/model", {"subfolder": "part"}) == {"subfolder": "part", "revision": "0123abcd"}
    assert resolved.asked == [("org/model", None, {"local_files_only": False})]
    resolved.answer = None  # a folder, or no connection and nothing in the cache
    assert pinned("folder", EVERYWHERE) == EVERYWHERE
    assert pinned("folder", {}) == {}


def test_one_file(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(arguments, "cached_file", lambda *words, **options: asked.append((words, options)))
    find_file(tmp_path, "config.json", **EVERYWHERE)
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    assert asked == [((str(tmp_path), "config.json"), {**EVERYWHERE, **quiet})]
    monkeypatch.undo()
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "config.json").write_text("{}")
    assert find_file(tmp_path, "config.json") is None
    assert Path(find_file(tmp_path, "config.json", subfolder="part")) == tmp_path / "part" / "config.json"


def _shards(folder: Path) -> None:
    places = {}
    for number in (1, 2):
        save_file({f"tower.{number}": torch.ones(number, 3)}, folder / f"model-{number}.safetensors")
        places[f"tower.{number}"] = f"model-{number}.safetensors"
    index = {"metadata": {}, "weight_map": {**places, "other": "model-3.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


SEVERAL_FILES = {
    # function, its arguments behind the name -> names of the files that it asks for, one after the other
    "weights": (
        shapes,
        lambda path, **hub: shapes.weight_shapes(path, "tower.", **hub),
        ["model.safetensors", "model.safetensors.index.json", "model-1.safetensors", "model-2.safetensors"],
    ),
    "tokenizer": (processor_files, processor_files.check_tokenizer_files, list(processor_files._TOKENIZER_FILES)),
    "added tokens": (tokenization, tokenization.added_token_ids, list(tokenization._TOKEN_FILES)),
}


@pytest.mark.parametrize("what", SEVERAL_FILES)
def test_every_file_is_asked_for_at_the_same_place(what, monkeypatch, tmp_path):
    module, look, names = SEVERAL_FILES[what]
    _shards(tmp_path)
    asked = []

    def find(name_or_path, name, **hub):
        assert name_or_path == "org/model" and hub == EVERYWHERE, (name, hub)
        asked.append(name)
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr(module, "find_file", find)
    if what == "tokenizer":
        with pytest.raises(OSError, match="There is no tokenizer in 'org/model/part'"):
            look("org/model", **EVERYWHERE)
    else:
        found = look("org/model", **EVERYWHERE)
        assert what != "weights" or found == {"1": (1, 3), "2": (2, 3)}
    assert asked == names and len(names) > 1
