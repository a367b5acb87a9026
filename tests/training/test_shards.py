# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Shards of every kind: their rows, places, patterns, stores, and what is broken in them."""

import io
import itertools
import json
import tarfile
import tracemalloc
from pathlib import Path

import fsspec
import pytest

from tests.training.streamed import png, rows, write_lines, write_parquet, write_tar
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.shards import FileShards, expand
from transformers_internvl.training.data.streamed_files import is_streamed, read_streams
from transformers_internvl.training.data.streams import MixedStream, Share, StreamSet

ROWS = rows(13)
WRITERS = {
    "a.tar": write_tar,
    "a.tar.gz": lambda path, written: write_tar(path, written, ":gz"),
    "a.parquet": write_parquet,
    "a.jsonl": write_lines,
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_and_their_places(name, tmp_path):
    shards = FileShards([WRITERS[name](tmp_path / name, ROWS)])
    found = list(shards.read(0))
    assert [row.fields["conversations"] for row in found] == [row["conversations"] for row in ROWS]
    assert [row.number for row in found] == list(range(13)) and len({row.where for row in found}) == 13
    for row in found[::3]:
        rest = list(shards.read(0, json.loads(json.dumps(row.place))))
        assert [(again.number, again.where, again.fields) for again in rest] == [
            (other.number, other.where, other.fields) for other in found[row.number :]
        ]
    assert shards.count() == (13 if name == "a.parquet" else None)


def archive(path: Path, members: dict[str, bytes]) -> FileShards:
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return FileShards([str(path)])


def test_members_of_a_stem_are_a_row(tmp_path):
    members = {
        "README": b"belongs to no row",
        "x/._0.jpg": b"neither does this",
        "x/0.png": b"picture",
        "x/0.txt": "Grüße".encode(),
        "x/1.10.jpg": b"eleventh",
        "x/1.2.jpg": b"third",
        "x/1.json": json.dumps({"conversations": []}).encode(),
        "x/2.a.png": b"A",
        "x/2.b.png": b"B",
        "x/2.json": json.dumps({"image": ["2.b.png", "other.png", "x/2.a.png", "b.png"]}).encode(),
        "x/3.mp4": b"film",
        "x/3.json": json.dumps({"video": "", "caption": "own"}).encode(),
        "x/3.txt": b"not taken",
        "x/4.jpg": b"one",
        "x/4.json": json.dumps({"image": "4.jpg", "id": 1}).encode(),
        "y/" + "long" * 60 + ".jpg": b"of a long name",
    }
    found = [row.fields for row in archive(tmp_path / "a.tar", members).read(0)]
    assert found == [
        {"images": [b"picture"], "caption": "Grüße"},
        {"conversations": [], "images": [b"third", b"eleventh"]},
        {"image": [b"B", "other.png", b"A", b"B"]},
        {"videos": [b"film"], "caption": "own"},
        {"image": b"one", "id": 1},
        {"images": [b"of a long name"]},
    ]


def test_broken_rows_are_told_and_the_next_ones_read(tmp_path):
    lines = FileShards([write_lines(tmp_path / "a.jsonl", [ROWS[1], "{broken", "", "[1]", ROWS[2]])])
    first, broken, a_list, last = lines.read(0)
    assert isinstance(broken.fields, UnusableSample) and str(broken.fields).startswith(f"{tmp_path}/a.jsonl, line 2")
    assert a_list.fields == [1] and last.fields == ROWS[2] and last.number == 3
    members = {"0.json": b"{", "1.json": b"[]", "2.txt": b"\xff", "3.json": b"{}"}
    *broken_ones, last = archive(tmp_path / "a.tar", members).read(0)
    reasons = ["json cannot be read", "should hold an object with fields", "txt cannot be read"]
    for row, reason in zip(broken_ones, reasons, strict=True):
        assert isinstance(row.fields, UnusableSample) and reason in str(row.fields)
    assert last.fields == {}
    one_text = tmp_path / "one.jsonl"
    one_text.write_text(json.dumps(ROWS[1], indent=1))
    with pytest.raises(ValueError, match="JSON over several lines"):
        list(FileShards([str(one_text)]).read(0))


def test_files_that_break_off_are_told(tmp_path):
    whole = {name: Path(WRITERS[name](tmp_path / name, ROWS)).read_bytes() for name in WRITERS if name != "a.jsonl"}
    begins = [row.place[0] for row in FileShards([str(tmp_path / "a.tar")]).read(0)]
    cut = {
        "within.tar": whole["a.tar"][: begins[5] + 700],
        "header.tar": whole["a.tar"][: begins[5]] + b"x" * 512 + whole["a.tar"][begins[5] + 512 :],
        "none.tar": b"hello" * 300,
        "within.tar.gz": whole["a.tar.gz"][:-3000],
        "within.parquet": whole["a.parquet"][:5000],
    }
    for name, content in cut.items():
        (tmp_path / name).write_bytes(content)
        *good, last = FileShards([str(tmp_path / name)]).read(0)
        assert isinstance(last.fields, UnusableSample) and "broken from here on" in str(last.fields), name
        if name in ("within.tar", "header.tar"):
            had = [row.fields["conversations"] for row in good]
            assert len(had) in (4, 5) and had == [row["conversations"] for row in ROWS[: len(had)]]


def test_patterns(tmp_path):
    for number in (0, 9, 10):
        write_tar(tmp_path / f"s-{number:02d}.tar", ROWS[:1])
    names = [str(tmp_path / f"s-{number:02d}.tar") for number in (0, 9, 10)]
    assert expand(tmp_path) == expand(f"{tmp_path}/*.tar") == expand(f"{tmp_path}/s-{{00,09,10}}.tar") == names
    assert expand(f"{tmp_path}/s-{{09..10}}.tar") == names[1:]
    assert expand("x-{8..10}.tar") == ["x-8.tar", "x-9.tar", "x-10.tar"]
    for pattern, reason in (
        (f"{tmp_path}/none", "names no shards"),
        (f"{tmp_path}/*.jsonl", "names no shards"),
        ("x{3..1}.tar", "goes upwards"),
        ("{a,a}.tar", "names a file twice"),
        ("pipe:cat x.tar", "commands are not run"),
        ("nowhere://x/*.tar", "cannot be read by fsspec: Protocol not known"),
    ):
        with pytest.raises(ValueError, match=reason):
            expand(pattern)
    with pytest.raises(ValueError, match="files of one kind"):
        FileShards(["a.tar", "b.jsonl"])
    with pytest.raises(ValueError, match="b.tar does not exist"):
        read_streams(tmp_path / "b.tar")


def test_stores_of_fsspec(tmp_path):
    store = fsspec.filesystem("memory")
    for number in range(3):
        store.put(write_tar(tmp_path / f"{number}.tar", ROWS[: number + 1]), f"/shards/{number}.tar")
    for pattern in ("memory://shards/{0..2}.tar", "memory://shards/*.tar", "memory://shards"):
        (part,) = read_streams(pattern)
        assert is_streamed(pattern) and part.shards.remote
        assert len(list(MixedStream([part], Share()))) == 6


def test_meta_files_of_streams(tmp_path):
    entry = {"root": "", "data_augment": False, "repeat_time": 1}
    write_tar(tmp_path / "0.tar", ROWS)
    write_parquet(tmp_path / "0.parquet", ROWS)

    def meta(**sets):
        path = tmp_path / "meta.json"
        path.write_text(json.dumps({name: {**entry, **changes} for name, changes in sets.items()}))
        return path

    tar = {"annotation": f"{tmp_path}/*.tar", "weight": 2, "question": "<image>\nWhat?", "max_dynamic_patch": 4}
    path = meta(a=tar, b={"annotation": f"{tmp_path}/0.parquet", "weight": 0.5})
    assert is_streamed(path)
    a, b = read_streams(path, max_tiles=6)
    assert (a.name, a.weight, a.question, a.max_patches, a.length) == ("a", 2, "<image>\nWhat?", 4, None)
    assert (b.name, b.weight, b.question, b.max_patches, b.length) == ("b", 0.5, None, 6, 13)
    assert not is_streamed(meta(a={"annotation": "rows.jsonl"}))
    with pytest.raises(ValueError, match="set 'a': .*repeat factor"):
        read_streams(meta(a={**tar, "repeat_time": 7, "weight": 1}))
    with pytest.raises(ValueError, match="set 'a': .*names no shards"):
        read_streams(meta(a={"annotation": f"{tmp_path}/none"}))


def test_memory_does_not_grow_with_the_data(tmp_path):
    """A hundred times as many rows, in one shard each, are read within the same memory."""

    def peak(path: str) -> tuple[int, int]:
        tracemalloc.start()
        count = sum(1 for _ in MixedStream([StreamSet("a", FileShards([path]))], Share(), buffer=8))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return count, most

    for name, write in (("a.jsonl", write_lines), ("a.tar", write_tar)):
        row = {"conversations": [{"from": "human", "value": "text " * 100}]}
        row |= {"image": {"bytes": png(0)}} if name == "a.tar" else {}
        few, many = (write(tmp_path / f"{count}{name}", itertools.repeat(row, count)) for count in (10, 1000))
        small, large = peak(few), peak(many)
        assert (small[0], large[0]) == (10, 1000) and large[1] < 1.3 * small[1] + 50_000


def test_a_range_goes_upwards(tmp_path):
    (tmp_path / "3.tar").touch()
    assert expand(tmp_path / "{3..3}.tar") == [str(tmp_path / "3.tar")]
    with pytest.raises(ValueError, match=r"a range goes upwards, got \{3..2\}"):
        expand(tmp_path / "{3..2}.tar")
