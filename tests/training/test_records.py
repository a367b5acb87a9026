# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows of every kind, meta files, and that every error says where and why."""

import json
import os
import pickle

import pytest
from PIL import Image

from transformers_internvl.evaluation.data import read_pairs
from transformers_internvl.training.data import records
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy, TableRows, read_meta
from transformers_internvl.training.data.rows import UnusableSample, parse_row
from transformers_internvl.training.run.options import read_options

HUMAN, GPT = {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}


def turns(question="Q", answer="A"):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


KINDS = {
    "text": {"id": 0, "conversations": [{"from": "system", "value": "S"}, HUMAN, GPT, HUMAN, GPT]},
    "image": {"conversations": turns("<image>\nQ"), "image": "a.jpg", "width": 10, "height": 20},
    "multi-image": {
        "conversations": turns("Image-1: <image>\nImage-2: <image>"),
        "image": ["a.jpg", "b.jpg"],
        "width_list": [1, 2],
        "height_list": [3, 4],
    },
    "video": {"conversations": turns("<video>\nQ"), "video": "a.mp4", "clip": [0.5, 2]},
    "grounding": {"conversations": turns("<image>Q", "<ref>x</ref><box>[[0, 1, 2, 1000]]</box>"), "image": "a.jpg"},
    "pretraining": {"conversations": [{"from": "pretrain", "value": "x <image> y"}], "image": "a.jpg"},
    "preference": {"image": "a.jpg", "question": "Q", "chosen": "A", "rejected": "B", "system_prompt": "S"},
    "messages": {"messages": [{"role": "user", "content": "Q"}], "images": None, "conversations": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    row = parse_row(KINDS[kind], "here", root="data")
    assert row.kind == kind and row.where == "here"
    if "image" in KINDS[kind]:
        assert row.images[0] == "data/a.jpg"


def test_what_rows_hold():
    video = parse_row(KINDS["video"], "", root="s3://bucket/")
    assert (video.videos, video.clip) == (("s3://bucket/a.mp4",), (0.5, 2))
    several = parse_row(KINDS["multi-image"], "")
    assert several.sizes == ((1, 3), (2, 4)) and several.images == ("a.jpg", "b.jpg")
    preference = parse_row(KINDS["preference"], "")
    values = [turn["value"] for turn in preference.turns_with(preference.rejected)]
    assert values == ["S", "Q", "B"]
    picture = Image.new("RGB", (4, 4))
    columns = parse_row({"messages": [{"role": "user", "content": "Q"}], "images": [picture]}, "", root="data")
    assert columns.images == (picture,)
    assert parse_row({**KINDS["image"], "image": "https://a/b.jpg"}, "", "data").images == ("https://a/b.jpg",)


@pytest.mark.parametrize(
    "data, reason",
    [
        ([1], "expected an object"),
        ({"id": 3}, "expected one of `conversations`"),
        ({"conversations": turns(), "messages": [{}]}, "expected one of"),
        ({"conversations": "Q"}, "`conversations` should be a list"),
        ({"conversations": []}, "`conversations` is empty"),
        ({"messages": []}, "`messages` is empty"),
        ({"conversations": [{"from": "robot", "value": "x"}]}, "turn 1 should be"),
        ({"conversations": [HUMAN, {"from": "gpt", "value": None}]}, "turn 2 should be"),
        ({"conversations": [HUMAN]}, "no answer to learn"),
        ({"conversations": turns("<image>")}, "0 images, but 1 times <image>"),
        ({"conversations": turns("Q", "<image>"), "image": ["a", "b"]}, "2 images, but 0 times"),
        ({"conversations": turns("<image>"), "image": ""}, "`image` is empty"),
        ({"conversations": turns("<video><video>"), "video": "a.mp4"}, "1 videos, but 2 times <video>"),
        ({"conversations": turns(), "clip": [0, 1]}, "`clip` needs one video"),
        ({"conversations": turns(), "video": "a", "clip": [2, 1]}, "start, end"),
        ({"conversations": turns(), "image": "a", "width": 4, "height": [1, 2]}, "1 widths, 2 heights"),
        ({"conversations": turns(), "image": "a", "width": 0, "height": 2}, "above 0"),
        ({"conversations": turns(), "image": "a", "images": ["b"]}, "exclude each other"),
        ({"conversations": turns("<box>[[1, 2, 3]]</box>")}, "a <box> should hold"),
        ({"conversations": turns("<box>[[1, 2, 3, 1001]]</box>")}, "a <box> should hold"),
        ({"conversations": turns("<box>1, 2, 3, 4</box>")}, "a <box> should hold"),
        ({"conversations": turns("<box>[]</box>")}, "a <box> should hold"),
        ({"question": "Q", "chosen": "A"}, "needs `rejected`"),
        ({"question": "<image>", "chosen": "A", "rejected": "B"}, "0 images, but 1"),
        ({"conversations": [{"from": "pretrain", "value": "x"}], "image": "a"}, "1 images, but 0 times"),
    ],
)
def test_unusable_rows(data, reason):
    with pytest.raises(UnusableSample, match=reason) as caught:
        parse_row(data, "file.jsonl, line 7")
    assert str(caught.value).startswith("file.jsonl, line 7: ")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # it comes home from workers


def write(path, rows):
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return path


def test_jsonl_by_offsets(tmp_path):
    path = write(tmp_path / "a.jsonl", [KINDS["text"], b"\n", KINDS["image"], b"{bad\n", b'{"\xff": 1}\n', b"  "])
    rows = JsonlRows(path, "data")
    assert len(rows) == 4 and rows[1].kind == "image" and rows[0].kind == "text"
    assert rows[1].where == f"{path}, line 3"
    for index, line in ((2, 4), (3, 5)):
        with pytest.raises(UnusableSample, match=f"a.jsonl, line {line}: not a JSON object"):
            rows[index]
    umlauts = write(tmp_path / "b.jsonl", [{"conversations": turns("ä" * 9)}, {"conversations": turns("你好")}])
    assert JsonlRows(umlauts)[1].turns[0]["value"] == "你好"


def test_rows_of_a_table():
    rows = TableRows("mine", [KINDS["messages"], {}])
    assert len(rows) == 2 and rows[0].kind == "messages"
    with pytest.raises(UnusableSample, match="mine, row 1: expected one of"):
        rows[1]


@pytest.fixture
def entry(tmp_path):
    path = write(tmp_path / "a.jsonl", [KINDS["text"]] * 3)
    return {"root": "r", "annotation": str(path), "data_augment": True, "repeat_time": 0.5}


def meta(tmp_path, content):
    path = tmp_path / "meta.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_meta(tmp_path, entry):
    more = {**entry, "repeat_time": 2, "data_augment": False, "max_dynamic_patch": 6, "length": 3}
    one, two = read_meta(meta(tmp_path, {"one": entry, "two": more}))
    assert (one.name, one.repeat, one.augment, one.max_patches, len(one.rows)) == ("one", 0.5, True, None, 3)
    assert (two.repeat, two.augment, two.max_patches) == (2.0, False, 6)


def test_length_is_only_said(tmp_path, entry, caplog):
    import logging

    logger = logging.getLogger("transformers_internvl.training.data.records")
    logger.addHandler(caplog.handler)
    assert len(read_meta(meta(tmp_path, {"one": {**entry, "length": 5}}))[0].rows) == 3
    logger.removeHandler(caplog.handler)
    assert "says 5 samples, the file has 3" in caplog.text


@pytest.mark.parametrize(
    "change, message",
    [
        ({"repeat_time": 0}, r"repeat factor should be in \(0, 4\]"),
        ({"repeat_time": 4.5}, "repeat factor"),
        ({"repeat_time": True}, "`repeat_time` should be of type float"),
        ({"data_augment": "yes"}, "`data_augment` should be of type bool"),
        ({"max_dynamic_patch": 0}, "at least one tile"),
        ({"annotation": "a.json"}, "should be a .jsonl file"),
        ({"roots": 1}, "unknown keys"),
    ],
)
def test_bad_meta(tmp_path, entry, change, message):
    with pytest.raises(ValueError, match=message):
        read_meta(meta(tmp_path, {"one": {**entry, **change}}))


def test_worse_meta(tmp_path, entry):
    del entry["root"]
    for content, message in (
        ({"one": entry}, "set 'one': `root` is missing"),
        ({"one": 3}, "expected an object"),
        ([], "expected an object of sets"),
        ("{,}", "not JSON"),
    ):
        with pytest.raises(ValueError, match=message):
            read_meta(meta(tmp_path, content))
    empty = write(tmp_path / "empty.jsonl", [b"\n"])
    with pytest.raises(ValueError, match="has no lines"):
        read_meta(meta(tmp_path, {"one": {**entry, "root": "", "annotation": str(empty)}}))
    with pytest.raises(FileNotFoundError):
        read_meta(meta(tmp_path, {"one": {**entry, "root": "", "annotation": "missing.jsonl"}}))


def test_skip_policy():
    first, second, third = (UnusableSample(f"a, line {number}", "bad") for number in (1, 2, 3))
    with pytest.raises(UnusableSample, match="a, line 1: bad"):
        SkipPolicy()(first)
    policy = SkipPolicy(limit=2)
    policy(first)
    policy(second)
    assert policy.report() == "a, line 1: bad\na, line 2: bad"
    with pytest.raises(ValueError, match="2 unusable samples were left out already; now a, line 3: bad"):
        policy(third)


def test_sets_are_checked():
    with pytest.raises(ValueError, match="'x': the repeat factor"):
        DataSet("x", TableRows("x", []), repeat=5)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_not_waited_for(kind, tmp_path):
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda path: os.symlink("/dev/zero", path)}[kind]
    for read, name in (
        (JsonlRows, "rows.jsonl"),
        (read_meta, "meta.json"),
        (read_options, "r.yaml"),
        (read_pairs, "a.jsonl"),
    ):
        make(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} is a folder, a pipe or a device"):
            read(tmp_path / name)


def refuses(data, reason, **options):
    with pytest.raises(UnusableSample, match=reason):
        parse_row(data, "here", **options)


def test_what_a_kind_needs():
    box = "<box>[[1, 2, 3, 4]]</box>"
    assert parse_row({"conversations": turns("Q", box)}, "").kind == "text"  # no image that it lies in
    assert parse_row({"conversations": turns("<image>Q", box), "image": "a"}, "").kind == "grounding"
    three = {"conversations": turns("<image>" * 3), "image": ["a", "b", "c"]}
    assert parse_row(three, "").kind == "multi-image"
    late = [{"from": "system", "value": "S"}, {"from": "pretrain", "value": "x"}]
    assert parse_row({"conversations": late}, "").kind == "pretraining"


def test_clips_and_videos_at_their_bounds():
    video = {"conversations": turns("<video>"), "video": "a.mp4"}
    assert parse_row({**video, "clip": [0, 1]}, "").clip == (0, 1)
    for clip in ([1, 1], [-1, 2], [0, 1, 2], [0], ["0", 1]):
        refuses({**video, "clip": clip}, "`clip` should be")
    two = {"conversations": turns("<video><video>"), "videos": ["a", "b"]}
    assert parse_row(two, "").videos == ("a", "b")
    refuses({**two, "clip": [0, 1]}, "`clip` needs one video")
    refuses({**two, "video": "c"}, "`video` and `videos` exclude each other")


def test_sizes_of_every_image():
    two = {"conversations": turns("<image><image>"), "image": ["a", "b"]}
    assert parse_row({**two, "width_list": [1, 2], "height_list": [3, 1]}, "").sizes == ((1, 3), (2, 1))
    for widths, heights in (([1, 0], [1, 1]), ([1, 1], [1, 0]), ([1, 1], [0, 1]), ([1, 1], [1, 1.5])):
        refuses({**two, "width_list": widths, "height_list": heights}, "whole numbers above 0")
    refuses({**two, "width_list": [1, 1], "height_list": [1, 1, 1]}, "2 images with 2 widths, 3 heights")
    refuses({**two, "images": ["a", "b"], "image": None, "width_list": [1], "height_list": [1]}, "1 widths, 1 heights")


@pytest.mark.parametrize(
    "root, path, found",
    [
        ("data", "a.jpg", "data/a.jpg"),
        ("data", "/b/a.jpg", "/b/a.jpg"),
        ("data", "data:image/png;base64,AA", "data:image/png;base64,AA"),
        ("data", "s3://b/a.jpg", "s3://b/a.jpg"),
        ("", "a.jpg", "a.jpg"),
        ("s3://bucket/", "a.jpg", "s3://bucket/a.jpg"),
        ("s3://bucket/part-", "a.jpg", "s3://bucket/part-a.jpg"),  # the original code joins the two as they are
        ("https://bucket/part", "a.jpg", "https://bucket/part/a.jpg"),
    ],
)
def test_paths_below_a_root(root, path, found):
    both = {"conversations": turns("<image><image>"), "images": ["x.jpg", path]}
    assert parse_row(both, "", root).images[1] == found


def test_files_of_messages_are_below_the_root(tmp_path):
    root = str(tmp_path)
    for name in ("a.png", "b.mp4", "c.png"):
        (tmp_path / name).touch()
    items = [
        {"type": "image", "image": "a.png"},
        {"type": "video", "video": "b.mp4"},
        {"type": "image", "path": "c.png"},
        {"type": "image", "image": "none.png"},
        {"type": "text", "text": "a.png"},
    ]
    system = {"role": "system", "content": "S"}
    row = parse_row({"messages": [system, {"role": "user", "content": items}]}, "", root)
    assert row.messages[0] == system and row.messages[1]["content"] == [
        {"type": "image", "image": f"{root}/a.png"},
        {"type": "video", "video": f"{root}/b.mp4"},
        {"type": "image", "path": f"{root}/c.png"},
        *items[3:],
    ]


@pytest.mark.parametrize("key", ["image", "path", "url", "base64"])
def test_messages_are_counted_from_one_and_every_key_is_looked_at(key):
    good = {"role": "user", "content": "Q"}
    refuses(
        {"messages": [good, {"role": "user", "content": [{"type": "image", key: 7}]}]}, "here: message 2 should hold"
    )
    refuses({"messages": [{"role": 7, "content": "Q"}, good]}, "the role of message 1 should")


@pytest.mark.parametrize(
    "box, right",
    [
        ("[[0, 0, 1000, 1000]]", True),
        ("[[0, 1000]]", True),
        ("[[0, 0, 1, 1], [0, 0, 1, 1]]", True),
        ("[[0, 0, 1000, 1000.5]]", False),
        ("[[-0.5, 0, 1, 1]]", False),
        ("[[0, 0, 1]]", False),
        ("[[1]]", False),
        ("[[0, 0, 1, 1], [0, 0, 1, 1001]]", False),
        ("[[0, 0, 1, 1], [0, 0, 1]]", False),
        ("[0, 0, 1, 1]", False),
        ("{}", False),
    ],
)
def test_boxes_at_their_bounds(box, right):
    data = {"conversations": turns("Q", f"<box>[[1, 2, 3, 4]]</box> <box>{box}</box>")}
    if right:
        parse_row(data, "")
    else:
        refuses(data, "a <box> should hold")


@pytest.mark.parametrize("format_of_boxes", ["", " ", "[[x1, y1, x2, y2]]", "{}", "[[…]]", "[[...]]", "[[_, _]]"])
@pytest.mark.parametrize("role", ["human", "system", "tool"])
def test_questions_may_say_how_boxes_are_written_and_answers_may_not(format_of_boxes, role):
    said = {"from": role, "value": f"Write <box>{format_of_boxes}</box>"}
    assert parse_row({"conversations": [said, *turns()]}, "").turns[0] == said
    refuses({"conversations": turns("Q", said["value"])}, "a <box> should hold")


def test_only_questions_have_places_of_media():
    system = {"from": "system", "value": "Pictures stand for <image>."}
    tool = {"from": "function", "value": "<image>"}
    assert parse_row({"conversations": [system, *turns(), tool, *turns()]}, "").images == ()
    refuses({"conversations": [system, *turns("<image>"), *turns("<image>")], "image": ["a"]}, "1 images, but 2 times")
    texts = [{"from": "pretrain", "value": "<image> and "}, {"from": "pretrain", "value": "<image>"}]
    assert len(parse_row({"conversations": texts, "image": ["a", "b"]}, "").images) == 2


@pytest.mark.parametrize("name", ["question", "chosen", "rejected", "system_prompt"])
def test_every_text_of_a_preference_is_looked_at(name):
    pair = {"question": "Q", "chosen": "A", "rejected": "B", "system_prompt": "S"}
    refuses({**pair, name: "\ud800"}, f"`{name}` should be Unicode text")
    refuses({**pair, name: 7}, f"`{name}` should be a str")
    if name in ("chosen", "rejected"):
        refuses({**pair, name: None}, f"a preference needs `{name}`")


def test_a_rejected_answer_may_be_malformed_and_a_chosen_one_may_not():
    broken = "<box>[[1, 2, 3]]</box>"
    assert parse_row({"question": "Q", "chosen": "A", "rejected": broken}, "").rejected == broken
    refuses({"question": "Q", "chosen": broken, "rejected": "B"}, "a <box> should hold")


def test_factors_and_tile_limits_at_their_bounds():
    rows = TableRows("x", [])
    assert DataSet("x", rows, repeat=4.0, max_patches=1).repeat == 4.0
    assert DataSet("x", rows, repeat=0.001).max_patches is None
    for wrong in ({"repeat": 4.001}, {"repeat": 0.0}, {"repeat": float("nan")}, {"max_patches": 0}):
        with pytest.raises(ValueError, match="repeat factor|at least one tile"):
            DataSet("x", rows, **wrong)


@pytest.mark.parametrize(
    "text, said",
    [
        ('[{"a": 1}]\n', True),
        ('[{"a": 1},\n{"a": 2}]\n', True),
        ("[]\n", True),
        ('\ufeff{\n"a": 1\n}\n', True),
        ('\ufeff[{"a": 1}]', True),
        ('\n\n{"a":\n1}', True),
        ('{"a": 1} and more\n{"a": 2}\n', False),
        ('{"a": \n{"a": 2}\n', False),
        ('\ufeff{"a": 1}\n{"a": 2}\n', False),
        ("{bad}\n[1]\n", False),
    ],
)
def test_one_json_text_over_lines_is_no_jsonl(text, said, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="utf-8")
    if said:
        with pytest.raises(ValueError, match="holds JSON over several lines, or one list"):
            JsonlRows(path)
    else:
        assert len(JsonlRows(path)) == 2


@pytest.mark.parametrize("text", ['[{"a": 1},\n{"a": 2}]', '{\n"a": 1}', '[\n{"a": 1}]'])
def test_a_list_that_is_longer_than_what_is_looked_at(text, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_LOOK", 8)
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="holds JSON over several lines, or one list"):
        JsonlRows(path)


@pytest.mark.parametrize("length, said", [(2, True), (3, False), (4, True)])
def test_a_length_that_is_another_one_is_said(tmp_path, entry, length, said, monkeypatch):
    warnings = []
    monkeypatch.setattr(records.logger, "warning", warnings.append)
    read_meta(meta(tmp_path, {"one": {**entry, "length": length}}))
    assert [f"`length` says {length} samples" in text for text in warnings] == [True] * said


def test_every_set_of_a_meta_file_has_a_root_and_limits_of_its_own(tmp_path, entry):
    picture = write(tmp_path / "b.jsonl", [KINDS["image"]])
    second = {**entry, "root": "s", "annotation": str(picture), "max_dynamic_patch": 7, "repeat_time": 4}
    one, two = read_meta(meta(tmp_path, {"one": entry, "two": second}))
    assert (one.rows.root, two.rows.root, two.rows[0].images) == ("r", "s", ("s/a.jpg",))
    assert (one.max_patches, two.max_patches, two.repeat) == (None, 7, 4.0)
    for key, value, kind in (("max_dynamic_patch", 2.5, "int"), ("length", "3", "int"), ("root", 3, "str")):
        with pytest.raises(ValueError, match=f"set 'two': `{key}` should be of type {kind}"):
            read_meta(meta(tmp_path, {"one": entry, "two": {**second, key: value}}))


def test_a_sample_is_left_out_once_for_each_reason():
    policy = SkipPolicy(limit=2)
    for where, reason in (("a", "bad"), ("a", "bad"), ("a", "worse"), ("a", "worse"), ("a", "bad")):
        policy(UnusableSample(where, reason))
    assert policy.skipped == [("a", "bad"), ("a", "worse")]
    with pytest.raises(ValueError, match="2 unusable samples were left out already; now b: bad"):
        policy(UnusableSample("b", "bad"))
