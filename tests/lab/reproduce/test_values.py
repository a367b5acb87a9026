# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What needs no training: stages as values, rows of a mix, verdicts, the page, the command line."""

import pickle
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from lab.reproduce.__main__ import main, parser
from lab.reproduce.claims import CLAIMS
from lab.reproduce.data import LOOP, NAMES, Named, named, row_of, rows_of, sample_of, uneven_rows
from lab.reproduce.lab import Lab
from lab.reproduce.lineage import ONE_TILE, Lineage
from lab.reproduce.parallel import Job, in_order, jobs_of
from lab.reproduce.report import page_text, spread, write_page
from lab.reproduce.results import Result, known, result_file
from lab.reproduce.stages import FULL, QUICK, TRIAL, Mix
from tests.test_docs import blocks
from transformers_internvl.conversion.files.folders import write_json
from transformers_internvl.training.recipes import get_recipe

LINE = Lineage(TRIAL, 0)


def stages_of(line):
    found = [stage for claim in CLAIMS for stage in claim.stages(line)]
    return list(dict.fromkeys(stage for one in found for stage in (*one.before(), one)))


def test_digests_follow_from_every_field_and_from_the_stages_before():
    full = LINE.full()
    assert full.digest == LINE.full().digest
    changed = [
        replace(full, rate=1e-4),
        replace(full, mix=replace(full.mix, thumbnail=False)),
        replace(full, changes=(("loss_reduction", "token"),)),
        replace(full, start=replace(full.start, steps=full.start.steps + 1)),
        Lineage(TRIAL, 1).full(),
        Lineage(QUICK, 0).full(),
    ]
    assert len({full.digest, *(stage.digest for stage in changed)}) == 7


def test_stages_follow_recipes_and_come_behind_those_that_they_need():
    seen = set()
    for stage in stages_of(LINE):
        recipe = get_recipe(stage.recipe, **dict(stage.changes))
        expected = {"look": "contrastive", "contrastive": "contrastive", "generative": "generative", "mpo": "mpo"}.get(
            stage.kind, "sft"
        )
        assert recipe.objective == expected, stage.name
        assert set(stage.before()) <= seen, stage.name
        seen.add(stage)
    assert len({stage.folder for stage in seen}) == len(seen)
    trains = {stage.name: set(get_recipe(stage.recipe).trains) for stage in seen}
    assert trains["warmup"] == {"projector"} and trains["incremental"] == {"vision", "projector"}
    assert "language" in trains["full"] and not trains["lora"]


def test_quick_is_a_quarter_of_full():
    quick, full = stages_of(Lineage(QUICK, 0)), stages_of(Lineage(FULL, 0))
    assert [4 * stage.steps for stage in quick] == [stage.steps for stage in full]


def test_the_filter_leaves_out_what_was_planted_and_nothing_else():
    mix = Mix(samples=200, looping=0.1)
    rows = rows_of(mix)
    planted = [row for row in rows if row["conversations"][1]["value"].endswith(LOOP)]
    assert 10 <= len(planted) <= 32
    kept = rows_of(replace(mix, filtered=True))
    assert [row["conversations"] for row in kept] == [row["conversations"] for row in rows if row not in planted]


def test_rows_of_a_mix():
    plain, wordy = (row_of(mix, 3)["conversations"] for mix in (ONE_TILE, replace(ONE_TILE, wordy=1.0)))
    assert wordy[0] == plain[0] and wordy[1]["value"].endswith(f": {plain[1]['value']}")
    text = row_of(replace(ONE_TILE, text_only=True), 3)
    assert "image" not in text and "<image>" not in text["conversations"][0]["value"]
    described = row_of(replace(ONE_TILE, described=1.0), 3)["conversations"]
    assert described[1]["value"] == wordy[1]["value"].removesuffix(f": {plain[1]['value']}")


def test_towers_learn_to_name_what_captions_say():
    assert named("there is the number 3") & set(NAMES) == {"3"}
    assert named("a picture of 3 shapes") & set(NAMES) == {"3-shapes"}
    mix = replace(ONE_TILE, samples=10)
    for index, row in enumerate(Named(mix)):
        assert row["pixel_values"].shape == (3, 32, 32)
        said = {name for name, value in zip(NAMES, row["labels"], strict=True) if value}
        sample = sample_of(mix, index)
        assert said and said <= named(sample.caption)
        assert sample.task == "count" or sample.answer in said


def test_uneven_rows_are_of_all_kinds():
    rows = uneven_rows(80, 0)
    turns = [len(row["conversations"]) // 2 for row in rows if not set(row) & {"image", "video"}]
    assert max(turns) > 4 and min(turns) == 1 and 10 < len(turns) < 35
    assert any("video" in row for row in rows) and any(len(row.get("image", ())) == 2 for row in rows)
    texts = [[row["conversations"] for row in uneven_rows(80, seed)] for seed in (0, 1)]
    assert texts[0] == [row["conversations"] for row in rows] != texts[1]


def add(folder, name, needed):
    """A job that makes a file, and needs those of others."""
    assert all((folder / other).is_file() for other in needed)
    (folder / name).touch()


def test_jobs_wait_for_those_that_they_need(tmp_path):
    needs = {"last": ("left", "right"), "right": ("first",), "left": ("first",), "first": ()}
    jobs = {name: Job(add, (tmp_path, name, needed), needed) for name, needed in needs.items()}
    with ThreadPoolExecutor(2) as executor:
        found = list(in_order(jobs, executor, 2))
        assert found[0] == "first" and found[-1] == "last" and sorted(found) == sorted(jobs)
        with pytest.raises(ValueError, match="1 jobs wait for jobs that never end, such as 'b'"):
            list(in_order({"b": Job(add, (), ("c",))}, executor, 2))
        with pytest.raises(AssertionError):
            list(in_order({"d": Job(add, (tmp_path, "d", ("nothing",)))}, executor, 2))


def test_jobs_are_all_stages_and_measures_that_are_missing(tmp_path):
    lab = Lab(tmp_path)
    todo = [(claim, LINE) for claim in CLAIMS]
    jobs = jobs_of(lab, todo)
    assert {key for key in jobs if isinstance(key, str)} == {stage.folder for stage in stages_of(LINE)}
    measures = {key for key in jobs if isinstance(key, Path)}
    assert measures == {result_file(lab, claim, LINE) for claim in CLAIMS} and len(measures) == len(CLAIMS) - 2
    assert set(jobs[LINE.warmup.folder].needs) == {stage.folder for stage in LINE.warmup.before()}
    lab.folder(LINE.look).mkdir(parents=True)
    claim = next(claim for claim in CLAIMS if claim.name == "generative")
    write_json(result_file(lab, claim, LINE), {"values": {}})
    less = jobs_of(lab, todo)
    assert set(jobs) - set(less) == {LINE.look.folder, result_file(lab, claim, LINE), LINE.generative.folder}
    assert not less[LINE.contrastive.folder].needs
    assert pickle.loads(pickle.dumps(less)) == less  # processes take them


def test_verdicts():
    claim = replace(CLAIMS[0], margin=lambda values: values["a"] - values["b"])
    good, bad, equal = {"a": 3.0, "b": 1.0}, {"a": 1.0, "b": 4.0}, {"a": 1.0, "b": 1.0}
    cases = [
        ({}, "not run"),
        ({0: good}, "reproduces"),
        ({0: equal}, "does not reproduce"),
        ({0: good, 1: bad, 2: good}, "in 2 of 3 seeds"),
        ({0: bad, 1: bad}, "does not reproduce"),
    ]
    for values, verdict in cases:
        assert Result(claim, values).verdict == verdict
    assert Result(claim, {0: good, 1: bad}).summary() == {"a": (2.0, 1.0, 3.0), "b": (2.5, 1.0, 4.0)}
    assert spread(2.0, 1.0, 3.0) == "2.0 (1.0 to 3.0)" and spread(2.0, 2.0, 2.0) == "2.0"


def invented(claim, line):
    """Values of the names that a claim's margin asks for."""

    class Asked(dict):
        def __missing__(self, name):
            self[name] = 10.0 + len(self)
            return self[name]

    values = Asked()
    claim.margin(values)
    return dict(values)


def test_the_page_has_every_claim_beside_the_published_figure(tmp_path):
    lab = Lab(tmp_path)
    chosen = [claim for claim in CLAIMS if claim.name in ("jpeg", "mpo")]
    for claim in chosen:
        write_json(result_file(lab, claim, LINE), {"values": invented(claim, LINE)})
    results = [known(lab, claim, [LINE]) for claim in CLAIMS]
    page = write_page(tmp_path / "report", results, TRIAL, "python -m lab.reproduce").read_text(encoding="utf-8")
    assert page == page_text(results, TRIAL, "python -m lab.reproduce")
    for claim in CLAIMS:
        assert f"## {claim.name}\n" in page and claim.published in page and claim.source in page
    assert page.count("| not run |") == len(CLAIMS) - 2
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "results.md",
        *(f"{claim.name}.png" for claim in chosen),
    }


def test_names_are_unique_and_the_list_shows_them(tmp_path, capsys):
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    main(["--list", "--scale", "trial", "--cache", str(tmp_path)])
    shown = capsys.readouterr().out
    assert all(f"`{claim.name}`" in shown for claim in CLAIMS) and shown.count("not run") == len(CLAIMS)
    with pytest.raises(SystemExit):
        main(["--only", "everything"])
    with pytest.raises(SystemExit):
        main(["--quick", "--scale", "full"])
    with pytest.raises(SystemExit):
        main(["--processes", "0"])


def test_the_docs_have_every_claim():
    page = (Path(__file__).parents[3] / "docs/lab.md").read_text(encoding="utf-8")
    for claim in CLAIMS:
        row = f"| `{claim.name}` | {claim.source} | {claim.expected} | {claim.published} | "
        assert row in page, claim.name
    for stage in stages_of(LINE):
        assert stage.kind in ("chat", "language") or f"`{stage.recipe}`" in page, stage.name


def test_the_snippet_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    (code,) = blocks("lab.md", "python")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "lab.md", "exec"), names)
    assert (tmp_path / "receipt.png").is_file() and names["sample"].answer in capsys.readouterr().out
    options = [shlex.split(line, comments=True)[3:] for line in "".join(blocks("lab.md", "bash")).splitlines()]
    assert len(options) == 4 and all(parser().parse_args(words) for words in options)
