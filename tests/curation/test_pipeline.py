# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The pipeline file: what it accepts, and errors that name step and key."""

import pytest

from transformers_internvl.curation.pipeline import STEPS, check_pipeline, read_pipeline, stages_of

READ = [{"format": "jsonl", "path": "rows.jsonl"}]
MODEL = {"url": "http://127.0.0.1:1/v1", "model": "m"}


def checked(**keys):
    return check_pipeline({"output": "out", "read": READ, **keys}, "p.yaml")


def test_what_is_not_given():
    pipeline = checked()
    assert (pipeline.tasks, pipeline.steps, pipeline.write.format) == (1, (), "jsonl")
    assert (pipeline.executor.kind, pipeline.executor.workers) == ("local", 1)
    assert [stage.name for stage in stages_of(pipeline)] == ["00-read", "01-report"]


def test_every_step_is_read_with_its_defaults():
    needed = {"judge": MODEL, "judge_repetition": MODEL, "translate": {**MODEL, "language": "Korean"}}
    needed["image_text"] = {"model": "m", "threshold": 0.2}
    pipeline = checked(steps=[{name: needed[name]} if name in needed else name for name in STEPS])
    options = {place.name: value for place, value in pipeline.steps}
    assert (options["judge"].threshold, options["judge"].rows) == (7, "text")  # of the paper
    assert options["judge_repetition"].threshold == 3 and options["repetition"].ngram_share == 0.4
    assert [place.number for place, _ in pipeline.steps] == list(range(1, len(STEPS) + 1))


def test_stages_end_where_all_rows_are_needed():
    steps = ["heuristics", "text_duplicates", "repetition", {"image_duplicates": {"distance": 2}}]
    stages = stages_of(checked(steps=steps, tasks=3))
    assert [(stage.name, stage.tasks) for stage in stages] == [
        ("00-read", 3),
        ("01-text_duplicates-buckets", 14),
        ("02-text_duplicates-groups", 1),
        ("03-text_duplicates-copies", 1),
        ("04-text_duplicates", 3),
        ("05-image_duplicates-copies", 1),
        ("06-image_duplicates", 3),
        ("07-report", 1),
    ]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"stepz": []}, "p.yaml: unknown key 'stepz'; did you mean 'steps'?"),
        ({"read": []}, "p.yaml: `read` is missing."),
        ({"output": "s3://bucket"}, "p.yaml: `output` should be a folder of a file system, got 's3://bucket'."),
        ({"tasks": 0}, "p.yaml: `tasks` should be a whole number from 1 on, got 0."),
        ({"tasks": True}, "p.yaml: `tasks` should be a whole number from 1 on, got True."),
        ({"read": [{"path": "x"}]}, "p.yaml, entry 1 of `read`: `format` is missing."),
        (
            {"read": [{"format": "json", "path": "x"}]},
            "p.yaml, entry 1 of `read`: `format`: unknown value 'json'; did ",
        ),
        ({"read": [{"format": "meta", "path": "x", "root": "y"}]}, "a meta file has `root` and the names"),
        ({"steps": {"judge": None}}, "p.yaml: `steps` should be a list"),
        ({"steps": ["heuristic"]}, "p.yaml, step 1: unknown step 'heuristic'; did you mean 'heuristics'?"),
        ({"steps": ["images", {"a": 1, "b": 2}]}, "p.yaml, step 2: expected a name, or `name: {options}`"),
        ({"steps": [{"images": 3}]}, "p.yaml, step 1 (images): expected keys and values, got 3."),
        ({"steps": [{"images": {"min_size": 3}}]}, "p.yaml, step 1 (images): unknown key 'min_size'; did you mean"),
        ({"steps": [{"images": {"min_side": "3"}}]}, "step 1 (images), `min_side`: expected a whole number, got '3'."),
        ({"steps": [{"images": {"min_side": True}}]}, "`min_side`: expected a whole number, got True."),
        ({"steps": [{"images": {"exempt": [3]}}]}, "step 1 (images), `exempt`: expected a text, got 3."),
        (
            {"steps": [{"images": {"rows": "most"}}]},
            "step 1 (images): `rows`: unknown value 'most'; known are all, te",
        ),
        ({"steps": [{"judge": {"model": "m"}}]}, "p.yaml, step 1 (judge): `url` is missing."),
        ({"steps": [{"judge": {**MODEL, "url": "localhost"}}]}, "(judge): `url` should be an http(s) address"),
        ({"steps": [{"judge": {**MODEL, "threshold": 11}}]}, "(judge): `threshold` should be from 0 to 10, got 11."),
        (
            {"steps": [{"judge": {**MODEL, "domains": {"art": "?"}}}]},
            "`domains`: unknown domain 'art'; known are disc",
        ),
        ({"steps": [{"judge": {**MODEL, "attempts": 0}}]}, "`attempts` should be 1 or more, got 0."),
        ({"steps": [{"translate": {**MODEL, "language": "<b>"}}]}, "`language` should be the English name"),
        ({"steps": [{"text_duplicates": {"rows": "all"}}]}, "compared by `image_duplicates`"),
        ({"steps": [{"image_text": {"model": "m"}}]}, "(image_text): `threshold` is missing."),
        ({"write": {"format": "csv"}}, "p.yaml, `write`: `format`: unknown value 'csv'; known are meta, jsonl"),
        ({"write": {"embed_images": True}}, "p.yaml, `write`: `embed_images` is an option of Parquet files."),
        ({"executor": {"kind": "slurm"}}, "p.yaml, `executor`: Slurm needs `time`."),
        ({"executor": {"time": "1:00"}}, "p.yaml, `executor`: `time` has no meaning for kind 'local'."),
        ({"executor": {"workers": 0}}, "p.yaml, `executor`: `workers` should be 1 or more, got 0."),
    ],
)
def test_errors_name_step_and_key(keys, message):
    with pytest.raises(ValueError) as caught:
        checked(**keys)
    assert message in str(caught.value)


def test_files_that_are_no_pipeline(tmp_path):
    path = tmp_path / "p.yaml"
    for text, message in (("- 1", "expected keys such as output"), ("a: [", "not YAML"), ("", "expected keys")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_pipeline(path)


def test_options_that_do_not_decide_the_result_may_change():
    def settings(**options):
        return checked(steps=["images", {"judge": {**MODEL, **options}}]).settings

    assert settings(url="http://other/v1", requests=1, input_price=2.0) == settings()
    assert settings(threshold=6.0) != settings()
