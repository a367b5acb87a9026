# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Readers and writers of every format: rows, images and their order come through, at any number of tasks."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.curation.test_rows import CONVERSATION, MESSAGES, PREFERENCE, STEPS
from transformers_internvl.curation.pipeline import check_pipeline
from transformers_internvl.curation.rows import images_of, map_images, texts_of
from transformers_internvl.curation.running import run_pipeline
from transformers_internvl.curation.sources import SourceOptions, find_sources, read_rows
from transformers_internvl.training.data import parse_row, read_meta


def png(shade: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (12, 12), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def rows_of(count: int) -> list[dict]:
    """Rows of every form; images are `a.png` and `b.png`."""
    forms = [
        {**CONVERSATION, "image": ["a.png", "b.png"], "width_list": [12, 12], "height_list": [12, 12]},
        {"conversations": [{"from": "human", "value": "안녕?"}, {"from": "gpt", "value": "네. 😀 <b>"}]},
        MESSAGES,
        {**PREFERENCE, "image": "b.png", "question": "<image>\nWhy?"},
        {**STEPS, "own": {"score": [1, 2.5]}},
        {"video": "clip.mp4", "clip": [0, 2.5], "conversations": CONVERSATION["conversations"][:1] + [
            {"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "A dog."}]},
    ]  # fmt: skip
    return [{"id": str(number), **forms[number % len(forms)]} for number in range(count)]


@pytest.fixture(autouse=True)
def without_plots(monkeypatch):
    for name in ("plot_lengths", "plot_reasons"):
        monkeypatch.setattr(f"transformers_internvl.curation.report.{name}", lambda *_: None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    for name, shade in (("a.png", 10), ("b.png", 200)):
        (tmp_path / "root" / name).write_bytes(png(shade))
    return tmp_path


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def run(read: dict, output: str, tasks: int = 1, **write) -> list[dict]:
    """The rows that a pipeline without steps writes, as they are read again."""
    pipeline = check_pipeline({"output": output, "tasks": tasks, "read": read, "write": write}, "p.yaml")
    report = run_pipeline(pipeline)
    assert report["rows read"] == report["rows written"], report["findings"]
    return again(output, write["format"])


def again(output: str, form: str) -> list[dict]:
    pattern = {"meta": "meta.json", "jsonl": "*.jsonl", "parquet": "*.parquet", "webdataset": "*.tar"}[form]
    sources = find_sources(SourceOptions(form, f"{output}/data/{pattern}"))
    found = [row for source in sources for row in read_rows(source, 0, source.count)]
    assert [row.error for row in found] == [None] * len(found)
    return [row.fields for row in found]


def same(row: dict) -> dict:
    """A row without differences of form: bytes of the images, texts, and the user's own fields."""
    images = [image if isinstance(image, bytes) else Path(image).read_bytes() for image in images_of(row)]
    own = {name: row[name] for name in ("id", "clip", "own", "source") if name in row}
    return {"images": images, "texts": [(text.role, text.value) for text in texts_of(row)], **own}


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize(
    "write", [{"format": "jsonl"}, {"format": "parquet", "embed_images": True}, {"format": "webdataset"}]
)
def test_rows_come_through_every_format(folder, tasks, write):
    rows = rows_of(14)
    write_jsonl(folder / "rows.jsonl", rows)
    (folder / "clip.mp4").touch()
    read = {"format": "jsonl", "path": "rows.jsonl", "root": "root"}
    expected = [same(map_images(row, lambda image: str(folder / "root" / image))) for row in rows]
    first = run(read, "one", tasks, **write)
    assert [same(row) for row in first] == expected
    for row in first:
        parse_row(row, "here")
    pattern = {"jsonl": "*.jsonl", "parquet": "*.parquet", "webdataset": "*.tar"}[write["format"]]
    back = run({"format": write["format"], "path": f"one/data/{pattern}"}, "two", 3, format="jsonl")
    assert [same(row) for row in back] == expected
    kept = list((folder / "two").glob("images/*.png"))
    assert len(kept) == (0 if write["format"] == "jsonl" else 2)  # one file an image, however often it is used


def test_meta_files_keep_sets_roots_and_entries(folder):
    write_jsonl(folder / "x.jsonl", rows_of(6)[:2])
    write_jsonl(folder / "y.jsonl", rows_of(6)[3:])
    entry = {"root": "root", "data_augment": True, "repeat_time": 0.5}
    meta = {"x/1": {**entry, "annotation": "x.jsonl", "max_dynamic_patch": 3}, "y": {**entry, "annotation": "y.jsonl"}}
    (folder / "meta.json").write_text(json.dumps(meta))
    run({"format": "meta", "path": "meta.json"}, "out", 3, format="meta")
    first, second = read_meta("out/data/meta.json")
    assert (first.name, first.repeat, first.augment, first.max_patches, len(first.rows)) == ("x/1", 0.5, True, 3, 2)
    assert (second.name, second.max_patches, len(second.rows)) == ("y", None, 3)
    assert first.rows[0].images == (str(folder / "root" / "a.png"), str(folder / "root" / "b.png"))
    assert (folder / "out/data/x_1.jsonl").read_text() == (folder / "x.jsonl").read_text().replace("\n\n", "\n")


@pytest.mark.parametrize("count", [0, 1, 5, 4096, 4097, 9000])
def test_ranges_of_a_file_are_its_rows(tmp_path, count):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"id": {number}}}\n' for number in range(count)))
    (source,) = find_sources(SourceOptions("jsonl", str(path)))
    edges = [0, count // 3, count // 3, count // 2, count]
    ranges = zip(edges, edges[1:], strict=False)
    found = [row for low, high in ranges for row in read_rows(source, low, high)]
    assert [row.fields["id"] for row in found] == list(range(count))
    assert [row.where for row in found][-1:] == [f"{path}, line {count}"][: count > 0]


def test_captions_of_shards_need_a_question(tmp_path):
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in (("a/1.jpg", png(3)), ("a/1.txt", b"a dog "), ("a/2.png", png(5)), ("a/3.json", b"[1]")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    (source,) = find_sources(SourceOptions("webdataset", str(path), question="Describe it."))
    first, second, third = read_rows(source, 0, 3)
    turns = [{"from": "human", "value": "<image>\nDescribe it."}, {"from": "gpt", "value": "a dog"}]
    assert first.fields == {"image": [png(3)], "conversations": turns}
    assert (second.where, second.fields) == (f"{path}, sample a/2", None)
    assert "`question`" in second.error and "3.json should be an object" in third.error
    assert [row.where for row in read_rows(source, 1, 2)] == [second.where]


@pytest.mark.parametrize("form", ["parquet", "webdataset", "jsonl"])
def test_files_of_another_format(tmp_path, form):
    path = tmp_path / "x"
    path.write_text('[\n{"id": 1},\n{"id": 2}\n]\n')
    with pytest.raises(ValueError, match=f"{path} (is no (Parquet|WebDataset)|holds JSON over several lines)"):
        find_sources(SourceOptions(form, str(path)))
    with pytest.raises(ValueError, match="there is no file"):
        find_sources(SourceOptions(form, str(tmp_path / "*.y")))


def test_rows_that_a_table_has_no_column_for_are_named(folder):
    row = {"id": "n1", "messages": [{"role": "user", "content": "?", "tool": 1}]}
    write_jsonl(folder / "rows.jsonl", [row])
    with pytest.raises(ValueError, match=r"n1: a message has \['tool'\], .* write JSONL"):
        run({"format": "jsonl", "path": "rows.jsonl"}, "out", format="parquet")
    assert not list((folder / "out/data").glob("*"))


def test_an_image_that_is_missing_stops_an_embedding_run(folder):
    write_jsonl(folder / "rows.jsonl", [{**rows_of(1)[0], "image": ["a.png", "c.png"]}])
    read = {"format": "jsonl", "path": "rows.jsonl", "root": "root"}
    with pytest.raises(ValueError, match="line 1: cannot read the image: .* Put the step `images`"):
        run(read, "out", format="webdataset")
    assert not list((folder / "out/data").glob("*"))
