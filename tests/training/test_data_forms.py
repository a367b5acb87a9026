# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Training data as they come: cells of tables, folders of frames, empty fields, quoted formats, files of editors."""

import json
import os

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from tests.clips import clip_bytes
from tests.parity.golden import golden_root
from tests.training.drawn import short, write_data
from tests.training.drawn import trainer_arguments as arguments
from tests.training.kills import QWEN2
from transformers_internvl.cli import main
from transformers_internvl.evaluation.data import read_pairs
from transformers_internvl.internvl_chat import InternVLChatModel
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.videos.frame_sampling import frame_indices
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor
from transformers_internvl.training.data.dataset import ChatDataset, PackedDataset
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy, TableRows, read_meta
from transformers_internvl.training.data.rows import UnusableSample, parse_row
from transformers_internvl.training.data.samples import SampleEncoder
from transformers_internvl.training.run.data import PairRows, read_sets
from transformers_internvl.training.run.options import read_options
from transformers_internvl.training.trainers.trainer import InternVLTrainer

LORA = "internvl2.5-1b-lora"


def turns(question="Q", answer="A"):
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture(scope="module")
def encoder():
    processor = InternVLProcessor.from_pretrained(golden_root() / "chat_qwen2")
    processor.chat_template = get_chat_template("internvl2_5", system_message="S")
    return SampleEncoder(processor)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with a.png, b.png and broken.png."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed, name in enumerate(("a", "b")):
        levels = np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    return folder


def encoded(encoder, rows, **options):
    data = ChatDataset([DataSet("t", rows)], encoder, **options)
    return [data.encode(0, index, 0, 0) for index in range(len(rows))]


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- empty fields and cells ---


@pytest.mark.parametrize("name", ["image", "video"])
def test_an_empty_path_is_none(encoder, name):
    row = {"conversations": turns()}
    same(*encoded(encoder, TableRows("t", [row, {**row, name: ""}])))
    assert parse_row({**row, name: ""}, "").kind == "text"
    mark = f"<{name}>"
    with pytest.raises(UnusableSample, match=f"`{name}` is empty, but the questions have 1 {mark}"):
        parse_row({"conversations": turns(mark), name: ""}, "here")
    with pytest.raises(UnusableSample, match=f"`{name}` is empty"):
        parse_row({"conversations": turns(mark), f"{name}s": [""]}, "here")


@pytest.mark.parametrize(
    "cell",
    [
        lambda path: {"bytes": path.read_bytes(), "path": None},
        lambda path: {"bytes": path.read_bytes(), "path": "gone.png"},
        lambda path: {"bytes": None, "path": path.name},
        lambda path: {"path": path.name},
        lambda path: path.read_bytes(),
        lambda path: Image.open(path),
        lambda path: np.asarray(Image.open(path)),
    ],
    ids=["bytes", "both", "path", "path alone", "bare bytes", "picture", "array"],
)
def test_cells(encoder, pictures, cell):
    given = cell(pictures / "a.png")
    texts = {"conversations": turns("<image>\nWhat?")}
    messages = [
        {"role": "user", "content": [{"type": "image", "image": given}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
    ]
    without = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}, messages[1]]
    rows = [
        {**texts, "image": "a.png"},
        {**texts, "image": given},
        {**texts, "image": [given]},
        {**texts, "images": [given]},
        {"messages": messages},
        {"messages": without, "images": [given]},
    ]
    expected, *others = encoded(encoder, TableRows("t", rows, str(pictures)))
    for other in others[:3]:
        same(other, expected)
    for other in others[3:]:
        assert torch.equal(other["pixel_values"], expected["pixel_values"])


def test_video_cells(encoder, pictures):
    file, row = clip_bytes(range(0, 240, 10)), {"conversations": turns("<video>\nWhat?")}
    (pictures / "clip.mp4").write_bytes(file)
    frames = [{"bytes": (pictures / f"{name}.png").read_bytes(), "path": None} for name in "abab"]
    rows = [
        {**row, "video": "clip.mp4"},
        {**row, "video": {"bytes": file, "path": None}},
        {**row, "videos": [frames]},
        {**row, "videos": [["a.png", "b.png", "a.png", "b.png"]]},
    ]
    data = ChatDataset([DataSet("t", TableRows("t", rows, str(pictures)))], encoder, num_frames=(8, 8))
    of_path, of_bytes, of_cells, of_paths = (data.encode(0, index, 0, 0) for index in range(4))
    assert len(of_path["pixel_values"]) == len(of_bytes["pixel_values"]) == 8
    same(of_cells, of_paths)
    assert len(of_cells["pixel_values"]) == 4


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"bytes": None, "path": None}, "neither `bytes` nor a `path`"),
        ({"bytes": b"", "path": ""}, "neither `bytes` nor a `path`"),
        ({"url": "a.png"}, "should be a path, an image or its bytes"),
        (5, "should be a path, an image or its bytes, got 5"),
        ([[1, 2, 3]], "should be a path, an image or its bytes, got 1"),
    ],
)
def test_what_is_no_cell(cell, reason):
    with pytest.raises(UnusableSample, match=f"here: .*{reason}"):
        parse_row({"conversations": turns("<image>"), "images": [cell]}, "here")
    item = {"type": "image", "image": cell}
    if isinstance(cell, dict):
        with pytest.raises(UnusableSample, match=f"here: .*{reason}"):
            parse_row({"messages": [{"role": "user", "content": [item]}]}, "here")


def image_table(pictures, names, decode):
    rows = {
        "image": [{"bytes": (pictures / f"{name}.png").read_bytes(), "path": None} for name in names],
        "conversations": [turns("<image>\nWhat?", "a b c")] * len(names),
        "caption": [f"{name} {number}" for number, name in enumerate(names)],
    }
    return datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image(decode=decode))


@pytest.mark.parametrize("decode", [True, False])
def test_image_columns(encoder, pictures, decode, tmp_path):
    table = image_table(pictures, ["a", "b"], decode)
    rows = [{"image": f"{name}.png", "conversations": turns("<image>\nWhat?", "a b c")} for name in "ab"]
    expected = encoded(encoder, TableRows("t", rows, str(pictures)))
    table.save_to_disk(tmp_path / "saved")
    table.to_parquet(tmp_path / "table.parquet")
    for source in (
        TableRows("t", table),
        *(read_sets(tmp_path / name)[0].rows for name in ("saved", "table.parquet")),
    ):
        for sample, other in zip(encoded(encoder, source), expected, strict=True):
            same(sample, other)


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("nested", [False, True])
def test_a_corrupt_cell_in_training(encoder, pictures, decode, nested, tmp_path):
    table = image_table(pictures, ["a", "broken", "b"], decode)
    if nested:
        cells = [[cell] for cell in table.cast_column("image", datasets.Image(decode=False))["image"]]
        table = table.remove_columns("image").add_column("images", cells)
        table = table.cast_column("images", datasets.List(datasets.Image(decode=decode)))
    table.save_to_disk(tmp_path / "saved")
    for rows in (TableRows("t", table), read_sets(tmp_path / "saved")[0].rows):
        with pytest.raises(UnusableSample, match="row 1: "):
            encoded(encoder, rows)
        policy = SkipPolicy(1)
        data = ChatDataset([DataSet("t", rows)], encoder, policy=policy)
        for epoch in range(3):  # the same sample counts once, however often it comes
            data.set_epoch(epoch)
            assert sum(data[index] is None for index in range(3)) == 1
        assert len(policy.skipped) == 1 and "row 1" in policy.report()
        packs = PackedDataset(ChatDataset([DataSet("t", rows)], encoder, policy=SkipPolicy(1)), 500, 50)
        assert sum(len(pack) for pack in packs) == 2


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_a_corrupt_cell_in_evaluation(encoder, pictures, decode, packed, tmp_path):
    """The loss is that of the samples that are left, also where a batch has no others, again and again."""

    def data(names, policy=None):
        rows = TableRows("t", image_table(pictures, names, decode))
        return ChatDataset([DataSet("t", rows)], encoder, policy=policy)

    def wrapped(samples):
        return PackedDataset(samples, 500, 50) if packed else samples

    model = InternVLChatModel.from_pretrained(QWEN2)
    options = arguments(tmp_path, per_device_eval_batch_size=1)
    clean = InternVLTrainer(model, options, eval_dataset=wrapped(data(["a", "b"])))
    policy = SkipPolicy(1)
    trainer = InternVLTrainer(model, options, eval_dataset=wrapped(data(["a", "broken", "b"], policy)))
    expected = clean.evaluate()["eval_loss"]
    for _ in range(3):
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)
    assert len(policy.skipped) == 1
    with pytest.raises(ValueError, match="row 1"):
        InternVLTrainer(model, options, eval_dataset=wrapped(data(["a", "broken"]))).evaluate()
    if not packed:
        with pytest.raises(ValueError, match="All 1 samples to evaluate were left out: t, row 0"):
            InternVLTrainer(model, options, eval_dataset=data(["broken"], SkipPolicy(1))).evaluate()


@pytest.mark.parametrize("decode", [True, False])
def test_cells_of_pairs(pictures, decode, tmp_path):
    table = image_table(pictures, ["a", "broken", "b"], decode)
    table.save_to_disk(tmp_path / "saved")
    policy = SkipPolicy(1)
    pairs = PairRows(read_sets(tmp_path / "saved"), policy)
    found = [pairs[index] for index in range(len(pairs)) for _ in range(2)]
    assert [item and item["caption"] for item in found[::2]] == ["a 0", None, "b 2"]
    assert np.array_equal(np.asarray(found[4]["image"]), np.asarray(Image.open(pictures / "b.png")))
    assert len(policy.skipped) == 1
    with pytest.raises(UnusableSample, match="row 0: expected `image` and `caption`"):
        PairRows([DataSet("t", TableRows("t", [{"image": "", "caption": "x"}]))], SkipPolicy())


# --- folders of frames ---


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """12 frames of shades 0, 20, 40, ..., whose names are not in alphabetical order, and files beside them."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(12):
        Image.new("RGB", (40, 30), (20 * number,) * 3).save(folder / f"scene_{number}.png")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "about.txt").write_text("frames")
    return folder


def shades(tiles):
    return [round(float(tile.float().mean()) / 20) for tile in tiles]


def test_a_folder_is_a_video(frames):
    processor = InternVLVideoProcessor(size=28, do_rescale=False, do_normalize=False)
    for given in (frames, f"{frames}{os.sep}", [str(frames)]):
        tiles = processor(given, num_frames=4)["pixel_values_videos"][0]
        assert shades(tiles) == [1, 4, 7, 9]  # as of an encoded video of 12 frames
    assert shades(processor(frames)["pixel_values_videos"][0]) == frame_indices(12, num_frames=8)
    assert shades(processor(frames, do_sample_frames=False)["pixel_values_videos"][0]) == list(range(12))
    assert shades(processor(frames, num_frames=40)["pixel_values_videos"][0]) == list(range(12))
    levels, about = processor.fetch_videos(str(frames))
    assert levels.shape == (12, 30, 40, 3) and about.total_num_frames == 12
    with pytest.raises(ValueError, match="frame rate, which is not known"):
        processor(frames, fps=1)
    with_rate = processor(frames, fps=1, video_metadata=[{"fps": 4, "total_num_frames": 12}])
    assert shades(with_rate["pixel_values_videos"][0]) == [2, 6, 10]


def test_a_folder_in_a_row(encoder, frames):
    row = {"conversations": turns("<video>\nWhat?"), "video": f"{frames.name}/"}
    data = ChatDataset([DataSet("t", TableRows("t", [row], str(frames.parent)))], encoder, num_frames=(5, 5))
    assert len(data.encode(0, 0, 0, 0)["pixel_values"]) == 5
    data.num_frames = (20, 20)  # as the original code does, frames are not repeated to make up for it
    assert len(data.encode(0, 0, 0, 0)["pixel_values"]) == 12


def test_a_folder_without_frames_and_one_with_a_broken_frame(encoder, frames, tmp_path):
    row = {"conversations": turns("<video>\nWhat?"), "video": "empty/"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableSample, match="the folder .*empty.* holds no images"):
        encoded(encoder, TableRows("t", [row], str(tmp_path)))
    (tmp_path / "empty" / "frame_1.jpg").write_bytes(b"no picture")
    with pytest.raises(UnusableSample, match="frame_1.jpg: Cannot open the image"):
        encoded(encoder, TableRows("t", [row], str(tmp_path)))


# --- boxes ---


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Where? Answer as <box>[[x1, y1, x2, y2]]</box>.", "<box>[[1, 2, 3, 4]]</box>"),
        ("Write <box>...</box>.", "<box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>"),
        ("Write <box></box>, <box>[[{x}, {y}]]</box> or <box>[[…]]</box>.", "<box>[[500, 20]]</box>"),
        ("Click <box>[[10, 20]]</box>?", "<box>[[10, 20], [30, 40.5]]</box>"),
    ],
)
def test_points_and_quoted_formats(question, answer):
    row = parse_row({"conversations": turns(f"<image>\n{question}", answer), "image": "a.png"}, "")
    assert row.kind == "grounding"


@pytest.mark.parametrize("answer", ["[[x1, y1, x2, y2]]", "", "[[1, 2, 3]]", "[[1, 2], [3]]", "[[1, 2000]]", "[1, 2]"])
def test_answers_hold_boxes(answer):
    with pytest.raises(UnusableSample, match="a <box> should hold .* or points"):
        parse_row({"conversations": turns("<image>\nWhere?", f"<box>{answer}</box>"), "image": "a.png"}, "")


# --- files as editors write them ---


def test_byte_order_marks(tmp_path):
    row = {"conversations": turns("ä")}
    for number, encoding in enumerate(("utf-8-sig", "utf-16", "utf-8")):
        jsonl = tmp_path / f"{number}.jsonl"
        jsonl.write_text(json.dumps(row) + "\n" + json.dumps(row), encoding="utf-8-sig")
        entry = {"root": "", "annotation": str(jsonl), "data_augment": False, "repeat_time": 1}
        (tmp_path / "meta.json").write_text(json.dumps({"a": entry}), encoding=encoding)
        (part,) = read_meta(tmp_path / "meta.json")
        assert [turn.turns[0]["value"] for turn in (part.rows[0], part.rows[1])] == ["ä", "ä"]
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "pairs.jsonl").write_text('{"image": "a.png", "caption": "x"}', encoding="utf-8-sig")
    assert read_pairs(tmp_path / "pairs.jsonl")[0].texts == ("x",)


ROWS = [{"image": "a.png", "conversations": turns("<image>")}, {"conversations": turns()}]
NOT_LINES = {
    "pretty rows": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "pretty list": json.dumps(ROWS, indent=2),
    "list": json.dumps(ROWS),
    "list by lines": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]",
    "list from the first line on": "[" + ",\n".join(map(json.dumps, ROWS)) + "]",
    "with a mark": "\ufeff" + json.dumps(ROWS, indent=1),
    "large": json.dumps([{"conversations": turns("Q" * 5_000_000)}], indent=2),
}


@pytest.mark.parametrize("form", NOT_LINES)
def test_json_over_several_lines_is_found_before_the_model_is_loaded(tmp_path, form, capsys, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text(NOT_LINES[form], encoding="utf-8")
    for read in (JsonlRows, read_sets):
        with pytest.raises(ValueError, match="JSON over several lines, or one list: a .jsonl file has one object a"):
            read(path)
    monkeypatch.setattr(InternVLChatModel, "from_pretrained", lambda *args, **kwargs: pytest.fail("loaded"))
    words = ["train", LORA, "--model", str(QWEN2), "--data", str(path), "--output"]
    assert main([*words, str(tmp_path / "out")]) == 2
    assert "has one object a line" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("first", ["{bad", '{"a": 1', "[1, 2", "x", '{"conversations": [}'])
def test_one_bad_line_is_one_bad_sample(tmp_path, first):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{first}\n" + "\n".join(map(json.dumps, ROWS)))
    rows = JsonlRows(path)
    assert len(rows) == 3 and rows[2].kind == "text"
    with pytest.raises(UnusableSample, match="line 1: not a JSON object"):
        rows[0]


# --- a root ---


def test_a_root_of_a_plain_file(tmp_path):
    folder = write_data(tmp_path / "data")
    (folder / "lists").mkdir()
    elsewhere = folder / "lists" / "chat.jsonl"
    elsewhere.write_bytes((folder / "chat.jsonl").read_bytes())
    assert JsonlRows(elsewhere, str(folder))[0].images[0] == str(folder / "pictures" / "0.png")
    assert read_sets(elsewhere, root=folder)[0].rows[0].images[0] == str(folder / "pictures" / "0.png")
    pairs = folder / "lists" / "pairs.jsonl"
    pairs.write_bytes((folder / "pairs.jsonl").read_bytes())
    assert PairRows(read_sets(pairs, root=folder), SkipPolicy())[0]["image"].size == (64, 64)


def test_a_root_on_the_command_line_and_in_yaml(tmp_path, capsys):
    folder = write_data(tmp_path / "data")
    (folder / "lists").mkdir()
    (folder / "lists" / "chat.jsonl").write_bytes((folder / "chat.jsonl").read_bytes())
    fields = short(folder, "lists/chat.jsonl", max_steps=1)
    words = [word for name, value in fields.items() for word in (f"--{name.replace('_', '-')}", str(value).lower())]
    assert main(["train", LORA, *words]) == 2
    assert "Neither a file" in capsys.readouterr().err
    words[words.index("--output") + 1] = str(folder / "other")
    assert main(["train", LORA, *words, "--data-root", str(folder)]) == 0, capsys.readouterr().err
    assert read_options(folder / "other" / "run.yaml").data_root == str(folder)
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"recipe": LORA, **fields, "output": str(folder / "third"), "data_root": str(folder)}))
    assert main(["train", str(file), "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "root", "message"),
    [("chat.jsonl", "nowhere", "`data_root` should be the folder"), ("meta.json", "", "have a `root` each")],
)
def test_roots_that_make_no_sense(tmp_path, data, root, message):
    folder = write_data(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        read_sets(folder / data, root=folder / root)


def test_the_root_of_what_is_evaluated(tmp_path):
    """Plain data of either kind have the root that is given; a meta file beside them has its own."""
    folder = write_data(tmp_path / "data")
    (folder / "lists").mkdir()
    for name in ("chat", "eval"):
        (folder / "lists" / f"{name}.jsonl").write_bytes((folder / "chat.jsonl").read_bytes())
    plain, other, meta = (str(folder / path) for path in ("lists/chat.jsonl", "lists/eval.jsonl", "meta.json"))
    for data, evaluated, roots in ((plain, other, "RR"), (plain, meta, "R-"), (meta, other, "-R"), (meta, meta, "RR")):
        options = read_options(LORA, {**short(folder), "data": data, "eval_data": evaluated, "data_root": "R"})
        assert [options.root_of(path) or "-" for path in (data, evaluated)] == list(roots)
