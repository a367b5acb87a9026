# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl curate` on a corpus with planted faults, in two languages; resuming; executors."""

import dataclasses
import json
import os
import re
import stat
from pathlib import Path

import pytest
import yaml

from tests.evaluation.dual_encoder import MODEL, model_and_processor
from tests.test_docs import DOCS, blocks
from transformers_internvl.cli import main
from transformers_internvl.curation.checks import Images
from transformers_internvl.curation.documents import kept_rows
from transformers_internvl.curation.endpoints import EndpointOptions
from transformers_internvl.curation.files import WholeFile
from transformers_internvl.curation.pipeline import STEPS as STEP_TABLE
from transformers_internvl.curation.pipeline import check_pipeline
from transformers_internvl.curation.running import run_pipeline
from transformers_internvl.evaluation.embedding import embed_images, embed_texts
from transformers_internvl.training.data import read_meta

from .corpus import FAULTS, write_corpus

STEPS = ["images", "heuristics", "repetition", "text_duplicates", "image_duplicates"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return folder, write_corpus(folder, rows=50, faults_each=2)


@pytest.fixture
def without_plots(monkeypatch):
    for name in ("plot_lengths", "plot_reasons"):
        monkeypatch.setattr(f"transformers_internvl.curation.report.{name}", lambda *_: None)


def pipeline_of(corpus, output: Path, tasks: int = 2, steps=STEPS, **executor):
    read = [{"format": "meta", "path": str(corpus[0] / "meta.json")}]
    keys = {"output": str(output), "tasks": tasks, "read": read, "steps": steps, "write": {"format": "meta"}}
    return {**keys, "executor": executor}


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def curated(corpus, tmp_path_factory):
    """The folder of a run through the command, and what that printed."""
    folder = tmp_path_factory.mktemp("curated")
    path = folder / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline_of(corpus, folder / "out")))
    assert main(["curate", str(path)]) == 0
    return folder / "out"


def test_planted_faults_are_found(corpus, curated):
    planted = corpus[1]
    review = lines_of(curated / "review.jsonl")
    found = {(line["row"]["id"], line["row"]["planted"]) for line in review if line["step"] != "read"}
    for fault in FAULTS:
        assert sum(kind == fault for _, kind in found) == planted[fault], fault
    assert sum(line["reason"] == "broken row" for line in review) == planted["broken row"]
    false_alarms = sum(kind == "" for _, kind in found)
    assert false_alarms < 0.02 * planted[""]
    assert {line["row"]["id"][:2] for line in review if line["step"] != "read"} == {"en", "ko"}
    copy = next(line for line in review if line["step"] == "text_duplicates")
    kept = json.loads(Path(copy["detail"].split(" of ")[1].split(", line")[0]).read_text().splitlines()[
        int(copy["detail"].rpartition("line ")[2]) - 1])  # fmt: skip
    assert kept["id"] == copy["row"]["copy_of"]


def test_what_stays_is_a_meta_file_that_training_reads(corpus, curated):
    sets = read_meta(curated / "data" / "meta.json")
    assert [(data.name, data.augment, data.max_patches) for data in sets] == [("en", True, 6), ("ko", True, 6)]
    rows = [data.rows.fields(number) for data in sets for number in range(len(data.rows))]
    assert [row["planted"] for row in rows] == [""] * corpus[1][""]
    original = [json.loads(line) for line in (corpus[0] / "en.jsonl").read_text().splitlines() if line[-1] == "}"]
    order = [row["id"] for row in original if row.get("planted") == ""]
    assert [row["id"] for row in rows if row["id"].startswith("en")] == order
    shown = [image for data in sets for number in range(len(data.rows)) for image in data.rows[number].images]
    assert len(shown) > 20 and all(Path(image).is_file() for image in shown)


def test_the_report(corpus, curated):
    report = json.loads((curated / "report.json").read_text())
    planted = corpus[1]
    assert report["rows read"] == sum(planted.values()) and report["rows written"] == planted[""]
    before, after = (sum(report[when]["sets"][name]["rows"] for name in ("en", "ko")) for when in ("before", "after"))
    assert (before, after) == (sum(planted.values()) - planted["broken row"], planted[""])
    assert sum(report["before"]["lengths"].values()) == before
    text = (curated / "report.md").read_text()
    assert f"{planted['']} of {sum(planted.values())} rows stay." in text and "| 01-images | broken image |" in text
    for name in ("lengths.png", "reasons.png"):
        assert (curated / name).read_bytes().startswith(b"\x89PNG")


def test_another_number_of_tasks_gives_the_same_rows(corpus, curated, tmp_path, without_plots):
    run_pipeline(check_pipeline(pipeline_of(corpus, tmp_path / "out", tasks=5), "p"))
    for name in ("data/en.jsonl", "data/ko.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (curated / name).read_bytes()

    def found(path):
        return sorted((line["where"], line["step"], line["detail"]) for line in lines_of(path / "review.jsonl"))

    assert found(tmp_path / "out") == found(curated)


def test_a_run_goes_on_where_it_stopped(corpus, tmp_path, monkeypatch, without_plots):
    pipeline = check_pipeline(pipeline_of(corpus, tmp_path / "out", tasks=3, steps=["images"]), "p")
    looked, original = [], Images.examine

    def examine(self, document):
        looked.append(document.id)
        if len(looked) == 60:
            raise OSError("the disk is full")
        return original(self, document)

    monkeypatch.setattr(Images, "examine", examine)
    with pytest.raises(OSError, match="the disk is full"):
        run_pipeline(pipeline)
    assert [path.name for path in sorted((tmp_path / "out/logs/00-read/completions").iterdir())] == ["00000"]
    (whole,) = (tmp_path / "out/work/statistics/before").iterdir()  # whole files of whole tasks only
    done = sum(counts["rows"] for counts in json.loads(whole.read_text())["sets"].values())
    first = looked[:done]
    looked.clear()
    monkeypatch.setattr(
        Images, "examine", lambda self, document: looked.append(document.id) or original(self, document)
    )
    report = run_pipeline(pipeline)
    found = sum(row["rows"] for row in report["findings"])
    assert report["rows written"] + found == report["rows read"] == done + len(looked) + corpus[1]["broken row"]
    assert 0 < done < 60 and not set(first) & set(looked)
    looked.clear()
    assert run_pipeline(pipeline) == report and looked == []  # all is done


def test_flagged_rows_stay_and_exempt_sets_pass(corpus, tmp_path, without_plots):
    steps = [{"heuristics": {"action": "flag"}}, {"repetition": {"exempt": ["en"], "rows": "text"}}]
    report = run_pipeline(check_pipeline(pipeline_of(corpus, tmp_path / "out", steps=steps), "p"))
    assert not any(row["dropped"] for row in report["findings"] if row["step"] == "01-heuristics")
    dropped = [line for line in lines_of(tmp_path / "out/review.jsonl") if line["step"] == "repetition"]
    assert dropped and all(line["set"] == "ko" and "image" not in line["row"] for line in dropped)
    assert report["rows written"] == report["rows read"] - corpus[1]["broken row"] - len(dropped)


def test_rows_that_a_person_keeps_stay(corpus, curated, tmp_path, without_plots):
    lines = lines_of(curated / "review.jsonl")
    chosen = {line["row"]["id"] for line in lines if line["reason"] in ("loop", "duplicate", "zero run")}
    for line in lines:
        if line["reason"] != "broken row":
            line["keep"] = line["row"]["id"] in chosen
    keep = tmp_path / "reviewed.jsonl"
    keep.write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = [*STEPS[:1], {"heuristics": {"max_zeros": 9}}, *STEPS[2:]]
    run_pipeline(check_pipeline({**pipeline_of(corpus, tmp_path / "out", steps=steps), "keep": str(keep)}, "p"))
    stayed = {row["id"] for name in ("en", "ko") for row in lines_of(tmp_path / f"out/data/{name}.jsonl")}
    dropped = {line["row"]["id"] for line in lines_of(tmp_path / "out/review.jsonl") if line["step"] != "read"}
    assert chosen <= stayed and not chosen & dropped and len(chosen) == 16
    keep.write_text('{"where": "x"}\n')
    with pytest.raises(ValueError, match='no line has "keep": true'):
        kept_rows(keep)
    keep.write_text('{"where": "x", "keep": 1}\n')
    with pytest.raises(ValueError, match="line 1: `keep` should be true or false, got 1"):
        kept_rows(keep)


def test_a_folder_belongs_to_one_pipeline_and_its_files(corpus, tmp_path, without_plots):
    keys = pipeline_of(corpus, tmp_path / "out", steps=["heuristics"])
    run_pipeline(check_pipeline(keys, "p"))
    with pytest.raises(ValueError, match="has a run of another pipeline.*tasks was 2 and is 3"):
        run_pipeline(check_pipeline({**keys, "tasks": 3}, "p"))
    annotation = corpus[0] / "en.jsonl"
    facts = annotation.stat()
    os.utime(annotation, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))
    try:
        with pytest.raises(ValueError, match="en.jsonl is another file since the run"):
            run_pipeline(check_pipeline(keys, "p"))
    finally:
        os.utime(annotation, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_mismatched_pairs_are_found_by_a_dual_encoder(corpus, tmp_path, without_plots):
    folder, model, processor = corpus[0], *model_and_processor()
    lines = [line for line in (folder / "ko.jsonl").read_text().splitlines() if '"planted": "", ' in line]
    rows = [row for row in map(json.loads, lines) if "image" in row][:6]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = embed_images(model, processor, [str(folder / "images" / row["image"]) for row in rows])
    said = embed_texts(model, processor, [row["conversations"][1]["value"] for row in rows], truncation=True)
    scores = (shown * said).sum(dim=1).tolist()
    threshold = sorted(scores)[2] - 1e-4  # two rows are below
    keys = {"output": str(tmp_path / "out"), "read": {"format": "jsonl", "path": str(path)}}
    keys["read"]["root"] = str(folder / "images")
    step = {"model": str(MODEL), "threshold": threshold, "batch_size": 4}
    run_pipeline(check_pipeline({**keys, "steps": [{"image_text": step}]}, "p"))
    found = {line["row"]["id"]: line["scores"]["image_text"] for line in lines_of(tmp_path / "out/review.jsonl")}
    expected = {row["id"]: score for row, score in zip(rows, scores, strict=True) if score < threshold}
    assert len(found) == 2 and found == pytest.approx(expected, abs=2e-4)
    assert len(lines_of(tmp_path / "out/data/00000.jsonl")) == 4


def test_stages_are_given_to_slurm_in_turn(corpus, tmp_path, monkeypatch):
    """`sbatch` is a script that writes down what it got."""
    script = tmp_path / "bin" / "sbatch"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\ncat "$3" "$2" 2>/dev/null | grep SBATCH\necho "$@" >> {tmp_path}/calls\necho job $$\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    executor = {"kind": "slurm", "time": "1:00:00", "partition": "cpu", "workers": 4, "venv_path": "/env/activate"}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline_of(corpus, tmp_path / "out", tasks=3, **executor)))
    assert main(["curate", str(path)]) == 0
    stages = sorted((tmp_path / "out/logs").iterdir())
    assert [stage.name for stage in stages][:2] == ["00-read", "01-text_duplicates-buckets"] and len(stages) == 8
    launched = (stages[0] / "launch_script.slurm").read_text()
    for part in ("#SBATCH --array=0-2%4", "--partition=cpu", "source /env/activate", "launch_pickled_pipeline"):
        assert part in launched, launched
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if "--export" in line]
    assert len(calls) == 8 and "--dependency" not in calls[0]
    assert all("--dependency=afterok:" in call for call in calls[1:])


# --- the command -----------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_sets_and_stages(corpus, tmp_path, capsys):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline_of(corpus, tmp_path / "out", steps=["text_duplicates"])))
    assert main(["curate", str(path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "en" in out and "04-text_duplicates" in out and not (tmp_path / "out").exists()


def test_the_command_prints_what_was_dropped(corpus, tmp_path, capsys, without_plots):
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(pipeline_of(corpus, tmp_path / "out", steps=["heuristics"])))
    assert main(["curate", str(path)]) == 0
    captured = capsys.readouterr()
    assert "01-heuristics" in captured.out and "zero run" in captured.out and "rows are in" in captured.out
    assert captured.err == "00-read: 2 tasks done\n01-report: 1 task done\n"
    assert main(["curate", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows written"] > 90


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: o\nread: {format: meta, path: gone.json}\n", "there is no file|No such file"),
        ("output: o\nread: {format: jsonl, path: gone.jsonl}\n", "there is no file gone.jsonl"),
        ("output: o\nstep: 1\nread: x\n", "unknown key 'step'; did you mean 'steps'"),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(text)
    assert main(["curate", "p.yaml"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and any(part in err for part in message.split("|")), err


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "a" / "x.jsonl"
    with pytest.raises(KeyError), WholeFile(path) as file:
        file.line({"a": 1})
        raise KeyError
    assert list(path.parent.iterdir()) == []
    with WholeFile(path) as file:
        file.line({"a": "\ud800 안녕"})
        assert not path.exists()
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "\ud800 안녕"}


def test_the_page_runs(corpus, tmp_path, monkeypatch, capsys, without_plots):
    monkeypatch.chdir(tmp_path)
    first, *others = blocks("curation.md", "yaml")
    meta = json.loads((corpus[0] / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({"textbook": meta["en"]}))
    (tmp_path / "pipeline.yaml").write_text(first.replace("workers: 2}", "workers: 1}"))
    (commands,) = blocks("curation.md", "bash")
    for line in commands.splitlines():
        assert main(line.split()[1:]) == 0
    (code,) = blocks("curation.md", "python")
    capsys.readouterr()
    exec(compile(code, "curation.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1] == "zero run"
    for block in others:  # parts of a file
        check_pipeline({**yaml.safe_load(first), **yaml.safe_load(block)}, "curation.md")


def test_the_page_tells_the_defaults():
    page = (DOCS / "curation.md").read_text(encoding="utf-8")
    for name, (options, _) in STEP_TABLE.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        told = re.findall(r"`(\w+)` \(([\d.]+)", row)
        known = {field.name: field.default for field in dataclasses.fields(options)}
        assert {field: float(value) for field, value in told} == {field: known[field] for field, _ in told}, name
    endpoint = {field.name: field.default for field in dataclasses.fields(EndpointOptions)}
    for field in ("requests", "timeout", "attempts", "refusals"):
        assert f"`{field}` ({endpoint[field]:g})" in page
