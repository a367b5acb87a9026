# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl train --feature-cache`: the same run, on features that are computed once, also after a kill."""

import json
import signal

import pytest
import torch

from tests.forked import PACKAGE
from tests.training.drawn import short, write_data
from transformers_internvl.cli import main
from transformers_internvl.training.feature_cache.model import FeatureCache
from transformers_internvl.training.run.folder import RUN_FILE, check_output
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.run.plan import make_plan
from transformers_internvl.training.run.report import read_log
from transformers_internvl.training.run.run import prepare

LORA = "internvl2.5-1b-lora"
# Runs the command, and is killed while it puts the eighth file of features in its place.
KILLED = """
import os, signal, sys, torch
from transformers_internvl.cli import main
place, seen = os.replace, []
def replace(path, target):
    if str(target).endswith(".safetensors") and "checkpoint" not in str(target):
        seen.append(target)
        if len(seen) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
    return place(path, target)
os.replace = replace
torch.manual_seed(0)
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight drawings as data of every form, with a meta file whose images are augmented."""
    folder = write_data(tmp_path_factory.mktemp("data") / "data", 8)
    meta = json.loads((folder / "meta.json").read_text())
    meta["all"]["data_augment"] = True
    (folder / "augmented.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="module")
def plain(folder):
    """The folder of a run without a cache."""
    assert train(folder, "plain") == 0
    return folder / "plain"


@pytest.fixture
def encoded(monkeypatch):
    """How many tiles the tower encodes in each call."""
    counts, encode = [], FeatureCache._encode

    def counting(self, pixel_values):
        counts.append(len(pixel_values))
        return encode(self, pixel_values)

    monkeypatch.setattr(FeatureCache, "_encode", counting)
    return counts


def train(folder, output, *more):
    """Run the command; the exit code. Fresh adapters are the same each time."""
    torch.manual_seed(0)
    return main(words(folder, output, *more))


def words(folder, output, *more):
    """The command line of two epochs, with a checkpoint at every step."""
    fields = short(folder, output=str(folder / output), max_steps=8, save_steps=1, learning_rate=4e-3)
    own = {name: fields.pop(name) for name in ("model", "data", "output")}
    given = [part for name, value in own.items() for part in (f"--{name}", value)]
    given += [part for name, value in fields.items() for part in ("--set", f"{name}={value}")]
    return [
        "train",
        LORA,
        *given,
        "--eval-data",
        str(folder / "chat.jsonl"),
        "--eval-strategy",
        "epoch",
        "--eval-answers",
        "2",
        *more,
    ]


def curve(folder):
    """What the log of a run says of its steps, without times."""
    return [
        {name: row[name] for name in row if "second" not in name and "runtime" not in name} for row in read_log(folder)
    ]


def assert_same(found, expected):
    assert [row.keys() for row in found] == [row.keys() for row in expected] and len(found) >= 8
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-5, abs=1e-6)


def test_a_run_is_the_same_with_the_cache_and_the_next_one_needs_no_tower(folder, plain, encoded, capsys):
    assert not encoded
    cache = ("--feature-cache", str(folder / "cache"))
    assert train(folder, "cached", *cache) == 0
    assert f"features of tiles are kept in {folder / 'cache'}" in capsys.readouterr().err
    assert_same(curve(folder / "cached"), curve(plain))
    assert {row["tiles"] for row in read_log(folder / "cached") if "tiles" in row} == {2}
    answers = [(folder / name / "answers.jsonl").read_text() for name in ("plain", "cached")]
    assert answers[0] == answers[1] and answers[0].count("\n") == 4  # two questions after each epoch
    files = list((folder / "cache").glob("*/??/*.safetensors"))
    assert sum(encoded) == len(files) == 8  # each drawing once, of one tile each
    encoded.clear()
    assert train(folder, "again", *cache) == 0
    assert not encoded
    assert_same(curve(folder / "again"), curve(plain))
    assert read_options(folder / "cached" / RUN_FILE).feature_cache == str(folder / "cache")


def test_a_killed_run_goes_on_with_the_features_that_are_there(folder, plain, encoded, capfd):
    cache = folder / "cache of a killed run"
    cached = words(folder, "killed", "--feature-cache", str(cache))
    log = folder / "log.txt"
    assert PACKAGE.start(["-c", KILLED, *cached], [(log, log, {})], 300) == [-signal.SIGKILL]
    left = list(cache.glob("*/??/*.safetensors"))
    assert len(left) == 7 and list(cache.glob("*/??/.*"))  # the eighth is not whole
    assert main(cached) == 2 and "--resume continues it" in capfd.readouterr().err
    assert main([*cached, "--resume"]) == 0
    assert sum(encoded) == 1  # the rest
    assert_same(curve(folder / "killed"), curve(plain))
    without = read_options(folder / "killed" / RUN_FILE, {"feature_cache": None})
    assert check_output(without, True)  # a run may go on without its cache


def test_another_model_has_features_of_its_own(folder, encoded):
    cache = folder / "cache of two"
    prepare(read_options(LORA, short(folder, output=str(folder / "one"), feature_cache=str(cache)))).train()
    first = sum(encoded)
    prepare(
        read_options(LORA, short(folder, output=str(folder / "two"), dtype="bfloat16", feature_cache=str(cache)))
    ).train()
    assert first and sum(encoded) == 2 * first and len(list(cache.glob("*/model.json"))) == 2


REFUSED = {
    "the tower trains": ("internvl2.5-1b-stage2", {"drop_path": 0.0}, "tower and projector are frozen"),
    "the projector trains": ("internvl2.5-1b-stage1", {"packed_tokens": None, "packed_tiles": None}, "projector"),
    "the tower beside adapters trains": (LORA, {"trains": "vision"}, "tower and projector are frozen"),
    "stochastic depth": ("internvl2.5-1b-full", {"trains": "language,head"}, "drops at a rate of"),
    "augmented images": (LORA, {"data": "augmented.json"}, "that are augmented, as those of all"),
    "preferences": ("internvl2.5-8b-mpo", {"data": "prefs.jsonl"}, "pairs of answers are trained on pixels"),
    "dual encoders": ("internvl-14b-contrastive", {"data": "pairs.jsonl"}, "dual encoders have none"),
}


def options_of(folder, case):
    """Recipe and fields of a refused run, and what is said."""
    recipe, fields, message = REFUSED[case]
    data = fields.get("data", "chat.jsonl")
    given = short(folder, data, **{name: value for name, value in fields.items() if name != "data"})
    return recipe, given | {"output": str(folder / "refused"), "feature_cache": str(folder / "unused")}, message


@pytest.mark.parametrize("case", REFUSED)
def test_refused(folder, case):
    recipe, given, message = options_of(folder, case)
    with pytest.raises(ValueError, match=message):
        prepare(read_options(recipe, given))
    assert not list((folder / "unused").rglob("*.safetensors"))


@pytest.mark.parametrize("case", ["the tower trains", "augmented images"])
def test_a_dry_run_refuses_the_same(folder, case):
    recipe, given, message = options_of(folder, case)
    with pytest.raises(ValueError, match=message):
        make_plan(read_options(recipe, given))


def test_a_dry_run_says_where_features_are_kept(folder):
    plan = make_plan(read_options(LORA, short(folder, feature_cache="here")))
    assert plan.facts["features"] == "of each tile are computed once, and kept in here"
