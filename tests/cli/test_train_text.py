# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What `internvl train` prints, letter by letter, from plans, reports and results that are written here by hand."""

from types import SimpleNamespace

import pytest
import torch

from transformers_internvl.cli import train
from transformers_internvl.profiling.training_memory import Footprint, Use
from transformers_internvl.training.run.mixture import MixtureReport, SetContent

PLAN = """
name: answers of folder

part       parameters  trainable   learning rate
------------------------------------------------
vision      1,000,000     frozen
projector       2,000      2,000           4e-05
text          30,000     30,000   2e-06 to 4e-05
------------------------------------------------
all         1,032,000     32,000
"""


def a_part(name, parameters, trainable, *rates):
    return SimpleNamespace(name=name, parameters=parameters, trainable=trainable, rates=rates)


def a_set(name, samples, entries, repeat=1.0, weight=None):
    return SimpleNamespace(name=name, samples=samples, entries=entries, repeat=repeat, weight=weight)


def a_plan(*sets, memory=None):
    parts = [
        a_part("vision", 1_000_000, 0),
        a_part("projector", 2000, 2000, 4e-5),
        a_part("text", 30_000, 30_000, 4e-5, 2e-6, 1e-5),
    ]
    facts = {"batch": "6", "epoch": "3 steps"}
    return SimpleNamespace(parts=parts, sets=sets, facts=facts, memory=memory, memory_note="About memory.")


def options_of(**changes):
    recipe = SimpleNamespace(name="name", objective="answers")
    return SimpleNamespace(recipe=recipe, model="folder", output="out", feature_cache=None, **changes)


def lines_of(text):
    return [line.split() for line in text.strip().splitlines()]


def test_a_plan_of_several_sets():
    plan = a_plan(a_set("a", 1200, 2400, 2.0), a_set("b", 7, 70, 1.0, 3), memory=None)
    written = lines_of(train._plan(options_of(), plan))
    assert written[:9] == lines_of(PLAN)
    assert written[9:] == [
        [],
        ["data", "samples", "repeat", "entries", "an", "epoch"],
        ["-" * 41],
        ["a", "1,200", "2", "2,400"],
        ["b", "7", "weight", "3", "70"],
        ["-" * 41],
        ["all", "1,207", "2,470"],
        [],
        ["batch", "6"],
        ["epoch", "3", "steps"],
        [],
        ["About", "memory."],
    ]


def test_a_plan_of_one_set_has_no_sum_and_what_is_not_known_stays_so():
    written = train._plan(options_of(), a_plan(a_set("a", None, None, 0.5)))
    assert "\na     not known     0.5         not known\n\nbatch       6\nepoch       3 steps\n\nAbout" in written
    unknown = train._plan(options_of(), a_plan(a_set("a", 3, 3), a_set("b", None, 5)))
    assert ["all", "not", "known", "8"] in lines_of(unknown)


def test_memory_of_a_device():
    use = [Use(3 << 20, 5 << 29, 7 << 30), Use(1 << 19, (1 << 30) - 1, 1 << 30)]
    memory = Footprint(
        weights=1 << 31, gradients=1 << 28, optimizer=1 << 40, reference=0, kept=use[0], recomputed=use[1]
    )
    (table, note) = train._memory(a_plan(memory=memory))
    assert lines_of(table) == [
        ["memory", "of", "a", "device", "activations", "kept", "checkpointed"],
        ["-" * len(table.splitlines()[1])],
        ["weights", "2.0", "GiB", "2.0", "GiB"],
        ["gradients", "256.0", "MiB", "256.0", "MiB"],
        ["optimizer", "states", "1,024.0", "GiB", "1,024.0", "GiB"],
        ["activations", "3.0", "MiB", "0.5", "MiB"],
        ["logits,", "loss", "2.5", "GiB", "1,024.0", "MiB"],
        ["-" * len(table.splitlines()[1])],
        ["peak", "of", "a", "step", "7.0", "GiB", "1.0", "GiB"],
    ]
    assert note == "About memory."
    other = SimpleNamespace(**{**vars(memory), "reference": 1 << 30})
    assert lines_of(train._memory(a_plan(memory=other))[0])[5] == ["reference", "model", "1.0", "GiB", "1.0", "GiB"]


def head_of(table):
    return [table, "samples", "%", "tokens", "%", "tiles", "%"]


def test_a_mixture():
    bad = (("line 3", "no answer"),)
    texts = SetContent("t", 30, 1.0, None, 0.75, ("text", "text"), (40, 60), (10, 10), (0, 0), bad)
    images = SetContent("i", None, 1.0, 1.0, 0.25, ("image",), (300,), (20,), (7,), ())
    written = train._mixture(MixtureReport((texts, images), 100, seen=60.0))
    # Tokens: 0.75 * 50 = 37.5 and 0.25 * 300 = 75. Texts of 30 rows come 45 times.
    assert lines_of(written) == [
        [*head_of("mixture"), "tokens", "longest", "tiles", "seen", "times", "each", "unusable"],
        ["-" * len(written.splitlines()[1])],
        ["t", "75.0", "33.3", "0.0", "50", "60", "0.0", "45", "1.5", "1", "of", "3"],
        ["i", "25.0", "66.7", "100.0", "300", "300", "7.0", "15", "not", "known", "0", "of", "1"],
        [],
        head_of("modality"),
        ["-" * len(written.splitlines()[6])],
        ["text", "75.0", "33.3", "0.0"],
        ["image", "25.0", "66.7", "100.0"],
        [],
        ["tokens", "of", "a", "sample", "samples", "%"],
        ["-" * len(written.splitlines()[11])],
        ["32", "to", "63", "75.0", "#" * 30],
        ["64", "to", "127", "0.0"],
        ["128", "to", "255", "0.0"],
        ["256", "to", "511", "25.0", "#" * 10],
        [],
        ["by", "rows", "that", "were", "encoded:", "3", "of", "t,", "1", "of", "i"],
    ]
    bars = [line for line in written.splitlines() if "#" in line]
    assert [line.index("#") for line in bars] == [bars[0].index("#")] * 2  # they begin in one column
    alone = MixtureReport((texts,), 100)
    assert alone.shares("tiles") == {"t": 0.0} and alone.modality_shares("tiles") == {"text": 0.0}  # no tile at all
    assert train._mixture(alone).splitlines()[2].split()[7:] == ["not", "known", "1", "of", "3"]


def a_run(**changes):
    model = torch.nn.Linear(3, 2)
    model.bias.requires_grad = False
    trainer = SimpleNamespace(args=SimpleNamespace(world_size=1))
    own = {"model": model, "trainer": trainer, "begins_with_adapter": "", "checkpoint": None, "options": options_of()}
    return SimpleNamespace(**own | changes)


def test_the_opening_of_a_run():
    assert train._opening(a_run()) == "name: 6 of 8 parameters train, to out"
    several = SimpleNamespace(args=SimpleNamespace(world_size=2))
    options = SimpleNamespace(**{**vars(options_of()), "feature_cache": "kept"})
    run = a_run(trainer=several, begins_with_adapter="goes on", checkpoint="out/checkpoint-2", options=options)
    assert train._opening(run).splitlines() == [
        "name: 6 of 8 parameters train on 2 devices, to out",
        "the adapter in folder goes on",
        "features of tiles are kept in kept",
        "continuing from out/checkpoint-2",
    ]


def test_the_closing_of_a_run():
    result = SimpleNamespace(
        loss=0.12345, eval_loss=2.0, steps=7, adapters=False, skipped=[("x, line 3", "bad")], notes=["A."]
    )
    assert train._closing(a_run(), result).splitlines() == [
        "7 steps, loss 0.1235, evaluation loss 2.0000. Model and log in out",
        "left out: x, line 3: bad",
        "A.",
    ]
    model = SimpleNamespace(active_peft_config=SimpleNamespace(base_model_name_or_path="base"))
    bare = SimpleNamespace(loss=None, eval_loss=None, steps=1, adapters=True, skipped=[], notes=[])
    lines = train._closing(a_run(model=model), bare).splitlines()
    assert lines[:2] == ["1 steps. Adapters and log in out", "To merge the adapters into the model:"]
    code = "\n".join(line.removeprefix("  ") for line in lines[2:])
    assert "from_pretrained('base'), 'out')" in code
    compile(code, "merging", "exec")


@pytest.mark.parametrize("checkpoint", [None, "out/checkpoint-3"])
def test_what_is_said_after_control_c(checkpoint, monkeypatch):
    monkeypatch.setattr("sys.argv", ["internvl", "train", "R", "--resume", "--data", "my data"])
    where = checkpoint or "the beginning, there is no checkpoint yet"
    expected = f"\nStopped at step 4. To continue from {where}:\n  internvl train R --data 'my data' --resume"
    assert train._interrupted(checkpoint, 4) == expected
