"""Benchmarks as rows: names, tiles, frames, settings and published scores are those of the reference data."""

import json
from collections import Counter

from tests.parity.golden import golden_cases
from transformers_internvl.evaluation.benchmarks import BENCHMARKS
from transformers_internvl.evaluation.prompts import SCRIPTS, is_video, set_type
from transformers_internvl.evaluation.prompts.original_scripts import tokens_of

FRAMES = {
    None: (),
    16: (16,),
    "16": (16,),
    "16..64": (16, 32, 48, 64),
    "best of 16, 32, 48, 64 (2.5)": (16, 32, 48, 64),
}


def golden_rows():
    """Every row of the reference data."""
    files = [folder / "benchmarks.json" for folder in golden_cases("eval_datasets")]
    return [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]


def ours():
    return {(row.name, row.split): row for row in BENCHMARKS.values()}


def test_every_benchmark_is_a_row():
    rows = ours()
    for golden in golden_rows():
        row, kit = rows[golden["name"], golden["split"]], golden["vlmevalkit"]
        assert row.dataset == (kit["dataset"] if kit else None), row.task
        assert row.unit == golden["unit"], row.task
        assert row.frames == FRAMES[golden["frames"]], row.task
        if kit is None:
            continue
        assert (set_type(row.dataset), is_video(row.dataset)) == (kit["type"], kit["modality"] == "VIDEO"), row.task
        assert row.max_tiles == golden["tiles"]["vlmevalkit_max_num"], row.task
        assert (row.origin or {"url": None})["url"] == kit["url"], row.task
        if row.origin:
            assert row.origin["md5"] == kit["md5"], row.task


def test_scripts_and_their_lengths():
    rows = ours()
    for golden in golden_rows():
        row = rows[golden["name"], golden["split"]]
        tokens = golden["max_new_tokens"]["authors_script"]
        if tokens is not None:
            assert row.script in SCRIPTS, row.task
            assert tokens_of(row.script, row.script_set) == tokens, row.task


def test_published_scores():
    rows, seen = ours(), 0
    for golden in golden_rows():
        row = rows[golden["name"], golden["split"]]
        assert set(row.published) == set(golden["scores"]), row.task
        for model, scores in golden["scores"].items():
            got = row.published[model]
            assert [score.value for score in got] == [score["value"] for score in scores], (row.task, model)
            for mine, theirs in zip(got, scores, strict=True):
                # the data adds where it was noted down
                words = "original documentation" if "documentation" in theirs["source"] else "InternVL"
                assert mine.source.startswith(words), (mine.source, theirs["source"])
                for number in ("2404.16821", "2412.05271", "2504.10479"):
                    assert (number in theirs["source"]) <= (number in mine.source)
                seen += 1
    assert seen == sum(len(scores) for golden in golden_rows() for scores in golden["scores"].values())


def test_tasks_are_distinct_and_scored_or_say_why():
    assert not [task for task, count in Counter(row.task for row in BENCHMARKS.values()).items() if count > 1]
    for row in BENCHMARKS.values():
        assert row.metric or row.unscored or row.mean_of, row.task
        assert all(task in BENCHMARKS for task in row.mean_of)
        assert row.dataset or row.script or row.mean_of or row.unscored or row.folder or row.metric == "convbench", (
            row.task
        )
