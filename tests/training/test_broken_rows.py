# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Broken rows of training data: each is left out with a reason, or ends the run with one."""

import json

import pytest
from transformers import AutoProcessor

from transformers_internvl.nano import nano_path
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy, read_meta
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.samples import SampleEncoder

GOOD = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]}
ASKED, ANSWER = {"from": "human", "value": "x"}, {"from": "gpt", "value": "Yo"}
SEEN = {"conversations": [{"from": "human", "value": "<image>\nHi"}, ANSWER]}
WATCHED = {"conversations": [{"from": "human", "value": "<video>\nHi"}, ANSWER]}


def asked(first):
    return {"conversations": [first, ANSWER]}


def said(content, role="user", answer="Yo"):
    return {"messages": [{"role": role, "content": content}, {"role": "assistant", "content": answer}]}


# Bytes are lines as they are, the rest is written as JSON.
ROWS = {
    "deep JSON": b"[" * 100_000,
    "a deep field": b'{"conversations": ' + b"[" * 100_000 + b"}",
    "no UTF-8": b"\xff\xfe",
    "a long number": b'{"conversations": ' + b"9" * 5000 + b"}",
    "NaN": b'{"conversations": NaN}',
    "a list": [],
    "a number": 7,
    "null": None,
    "image 7": {**SEEN, "image": 7},
    "images of 7": {**SEEN, "image": [7]},
    "image true": {**SEEN, "image": True},
    "image as an object": {**SEEN, "image": {"a": 1}},
    "image with a NUL": {**SEEN, "image": "a\0b"},
    "image with half a character": {**SEEN, "image": "\ud800.png"},
    "image of 5,000 letters": {**SEEN, "image": "a" * 5000},
    "image that is a folder": {**SEEN, "image": "."},
    "widths in letters": {**SEEN, "image": "x.png", "width": "a", "height": [1]},
    "video 7": {**WATCHED, "video": 7},
    "videos of 7": {**WATCHED, "video": [7]},
    "half a character": asked({"from": "human", "value": "\ud800"}),
    "half a character to learn": {"conversations": [ASKED, {"from": "gpt", "value": "\udfff"}]},
    "value 7": asked({"from": "human", "value": 7}),
    "value null": asked({"from": "human", "value": None}),
    "from 7": asked({"from": 7, "value": "a"}),
    "from a list": asked({"from": ["human"], "value": "a"}),
    "turn 7": asked(7),
    "deep boxes": asked({"from": "human", "value": "<box>" + "[" * 100_000 + "</box>"}),
    "boxes of long numbers": asked({"from": "human", "value": f"<box>[[{'9' * 5000}]]</box>"}),
    "conversations as an object": {"conversations": {"a": 1}},
    "messages 7": {"messages": 7},
    "a message in letters": {"messages": ["a"]},
    "content 7": said(7),
    "item 7": said([7]),
    "text 7": said([{"type": "text", "text": 7}]),
    "text null": said([{"type": "text", "text": None}]),
    "text of half a character": said([{"type": "text", "text": "\ud800"}]),
    "content of half a character": said("\ud800"),
    "type 7": said([{"type": 7}]),
    "type in a list": said([{"type": ["image"]}]),
    "item image 7": said([{"type": "image", "image": 7}]),
    "item image without one": said([{"type": "image"}]),
    "role 7": said("a", role=7),
    "role in a list": said("a", role=["user"]),
    "answer 7": said("a", answer=7),
    "question 7": {"question": 7, "chosen": "a", "rejected": "b"},
    "chosen 7": {"question": "q", "chosen": 7, "rejected": "b"},
    "rejected half a character": {"question": "q", "chosen": "a", "rejected": "\ud800"},
}


@pytest.fixture(scope="module")
def encoder():
    return SampleEncoder(AutoProcessor.from_pretrained(nano_path()))


def written(row):
    return row if isinstance(row, bytes) else json.dumps(row).encode()


def test_every_broken_row_is_left_out_with_a_reason(tmp_path, encoder):
    path, policy = tmp_path / "rows.jsonl", SkipPolicy(len(ROWS))
    lines = [json.dumps(GOOD).encode(), *map(written, ROWS.values())]
    path.write_bytes(b"\n".join(lines) + b"\n")
    data = ChatDataset([DataSet("rows", JsonlRows(path))], encoder, policy=policy)
    used = [data[index] is not None for index in range(len(data))]
    assert sum(used) == 1 and len(policy.skipped) == len(ROWS)
    assert {where.rpartition(" ")[2] for where, _ in policy.skipped} == {str(n) for n in range(2, len(lines) + 1)}
    assert all(reason for _, reason in policy.skipped)
    str(policy.report()).encode()  # a log can be written


@pytest.mark.parametrize("name", ["deep JSON", "half a character", "from a list", "role 7", "item image 7"])
def test_without_a_policy_the_first_one_is_raised(tmp_path, encoder, name):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + written(ROWS[name]) + b"\n")
    data = ChatDataset([DataSet("rows", JsonlRows(path))], encoder)
    with pytest.raises(UnusableSample, match="rows.jsonl, line 2: "):
        for index in range(2):
            data[index]


def test_a_file_of_deep_lines_and_a_deep_meta_file_are_typed(tmp_path, encoder):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS["deep JSON"])
    policy = SkipPolicy(1)
    assert ChatDataset([DataSet("rows", JsonlRows(path))], encoder, policy=policy)[0] is None and policy.skipped
    with pytest.raises(ValueError, match="not JSON"):
        read_meta(path)
