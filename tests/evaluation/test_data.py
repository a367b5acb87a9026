# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Reading what to evaluate on, and errors that say where something was named."""

import json

import pytest

from tests.evaluation.dual_encoder import COLORS, draw_classes, drawing, write_pairs
from transformers_internvl.evaluation.data import ItemImages, read_class_folder, read_images, read_pairs


def test_class_folders(tmp_path):
    draw_classes(tmp_path)
    (tmp_path / "red_dog" / "more").mkdir()
    drawing("red", 7).save(tmp_path / "red_dog" / "more" / "7.png")
    (tmp_path / "red_dog" / ".hidden").write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    classes, items = read_class_folder(tmp_path)
    assert classes == ["blue_dog", "green_dog", "red_dog"]
    assert [item.label for item in items] == [0, 0, 1, 1, 2, 2, 2]
    assert [item.path.name for item in items if item.label == 2] == ["0.png", "1.png", "7.png"]
    assert ItemImages(items)[6].size == drawing("red", 7).size


def test_pairs(tmp_path):
    path = write_pairs(tmp_path)
    items = read_pairs(path)
    assert len(items) == len(COLORS) * 2
    assert items[2].texts == ("the green dog in the house", "0 green boat on the river")
    assert items[2].where == f"{path}, line 3"
    assert ItemImages(items)[1].tobytes() == drawing("red", 1).tobytes()


def test_a_list_in_one_json(tmp_path):
    drawing("red", 0).save(tmp_path / "a.png")
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{"image": "a.png", "caption": "red"}, {"image": str(tmp_path / "a.png")}]))
    with pytest.raises(ValueError, match=r"pairs\.json, item 2: there is neither"):
        read_pairs(path)
    assert [item.texts for item in read_pairs(path, needs_text=False)] == [("red",), ()]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_a_caption_may_hold_what_other_tools_take_for_an_end_of_line(tmp_path, separator):
    drawing("red", 0).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "caption": f"red{separator}dog"}, {"image": "a.png", "caption": "blue"}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8", newline="")
    items = read_pairs(path)
    assert [item.texts for item in items] == [(f"red{separator}dog",), ("blue",)]
    assert items[1].where == f"{path}, line 2"


def test_videos(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    path = tmp_path / "clips.jsonl"
    path.write_text('{"video": "a.mp4", "caption": "b"}\n\n')
    (item,) = read_pairs(path, "video")
    assert (item.path, item.texts) == (tmp_path / "a.mp4", ("b",))
    (tmp_path / "frames").mkdir()
    path.write_text('{"video": "frames/", "caption": "b"}')
    assert read_pairs(path, "video")[0].path == tmp_path / "frames"
    path.write_text('{"image": "frames/", "caption": "b"}')
    with pytest.raises(ValueError, match="does not exist"):
        read_pairs(path)


def test_images_of_files_and_folders(tmp_path):
    draw_classes(tmp_path / "folder")
    drawing("red", 0).save(tmp_path / "a.png")
    items = read_images([tmp_path / "a.png", str(tmp_path / "folder")])
    assert len(items) == 7 and items[0].path.name == "a.png" and items[1].path.parent.name == "blue_dog"


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{", r"pairs\.jsonl, line 2: no JSON"),
        ("[1]", r'line 2: expected an object with "image", the path of the file, got \[1\]'),
        ('{"picture": "a.png", "caption": "b"}', 'expected an object with "image"'),
        ('{"image": 1, "caption": "b"}', 'expected an object with "image"'),
        ('{"image": "a.png", "caption": 3}', '"caption" must be a text'),
        ('{"image": "a.png", "captions": ["b", " "]}', '"captions" a list of texts'),
        ('{"image": "a.png", "captions": []}', 'neither "caption" nor "captions"'),
        ('{"image": "b.png", "caption": "b"}', r"line 2: the image .*b\.png does not exist"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, reason):
    drawing("red", 0).save(tmp_path / "a.png")
    path = tmp_path / "pairs.jsonl"
    path.write_text(f'{{"image": "a.png", "caption": "b"}}\n{line}\n')
    with pytest.raises(ValueError, match=reason):
        read_pairs(path)


@pytest.mark.parametrize(
    "name, content, reason",
    [
        ("a.jsonl", None, "Cannot read .*a.jsonl"),
        ("a.jsonl", b"\xff\xfe", "Cannot read .*a.jsonl"),
        ("a.jsonl", b"\n", "holds nothing"),
        ("a.json", b"[]", "holds nothing"),
        ("a.json", b'{"image": "x"}', "must hold a list"),
        ("a.json", b"[", r"a\.json: no JSON"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_pairs(tmp_path / name)


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere is no folder"):
        read_class_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no folders"):
        read_class_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match="cat holds no files"):
        read_class_folder(tmp_path)
    with pytest.raises(ValueError, match="cat holds no files"):
        read_images([tmp_path / "cat"])
    with pytest.raises(ValueError, match="dog does not exist"):
        read_images([tmp_path / "dog"])


@pytest.mark.parametrize("content", [b"no picture", b"", "cut"])
def test_an_image_that_cannot_be_read_is_named(tmp_path, content):
    path = write_pairs(tmp_path)
    broken = tmp_path / "pictures" / "green_dog" / "0.png"
    broken.write_bytes(broken.read_bytes()[:100] if content == "cut" else content)
    pictures = ItemImages(read_pairs(path))
    with pytest.raises(ValueError, match=r"pairs\.jsonl, line 3: cannot read the image .*green_dog/0\.png"):
        pictures[2]


def test_both_keys_bytes_in_front_and_blank_lines(tmp_path):
    drawing("red", 0).save(tmp_path / "a.png")
    path = tmp_path / "pairs.jsonl"
    rows = [
        '{"image": "a.png", "caption": "one", "captions": ["many", "more"]}',
        "  \t",
        '{"image": "a.png", "caption": "x"}',
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(rows).encode())
    items = read_pairs(path)
    assert [item.texts for item in items] == [("many", "more"), ("x",)]
    assert [item.where for item in items] == [f"{path}, line 1", f"{path}, line 3"]
    assert [item.label for item in items] == [0, 0] and items[0].path == tmp_path / "a.png"


def test_what_named_an_image_and_what_is_hidden_deep_inside(tmp_path):
    folder = tmp_path / "folder"
    (folder / ".cache" / "inner").mkdir(parents=True)
    drawing("red", 0).save(folder / ".cache" / "inner" / "0.png")
    (folder / "deep" / "er").mkdir(parents=True)
    drawing("red", 0).save(folder / "deep" / "er" / "1.png")
    drawing("red", 0).save(tmp_path / "a.png")
    items = read_images([tmp_path / "a.png", folder])
    assert [(item.path, item.where) for item in items] == [
        (tmp_path / "a.png", "arguments"),
        (folder / "deep" / "er" / "1.png", f"folder {folder}"),
    ]
    (tmp_path / "classes" / "z" / ".git").mkdir(parents=True)
    (tmp_path / "classes" / "a").mkdir()
    for name in ("z/.git/0.png", "z/1.png", "a/2.png"):
        drawing("red", 0).save(tmp_path / "classes" / name)
    classes, items = read_class_folder(tmp_path / "classes")
    assert classes == ["a", "z"] and [(item.path.name, item.label) for item in items] == [("2.png", 0), ("1.png", 1)]
    assert [item.where for item in items] == ["class a", "class z"]
