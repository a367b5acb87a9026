# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl classify`, `retrieve` and `caption` on the tiny InternVL-14B."""

import json

import pytest

from tests.clips import write_clip
from tests.evaluation.dual_encoder import MODEL, draw_classes, model_and_processor, write_pairs
from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.evaluation.captioning import caption_images
from transformers_internvl.evaluation.data import ItemImages, read_class_folder, read_pairs
from transformers_internvl.evaluation.metrics.captions import bleu, cider
from transformers_internvl.evaluation.retrieval import retrieve
from transformers_internvl.evaluation.zero_shot import (
    TEMPLATES,
    classify_images,
    ranks_of_right,
    top_k_accuracy,
    zero_shot_classifier,
)


def run(capsys, verb, *arguments, model=MODEL):
    code = main([verb, "--model", str(model), *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path)


@pytest.fixture
def classes(tmp_path):
    return draw_classes(tmp_path / "classes", per_class=3)


@pytest.fixture
def clips(tmp_path):
    """Two clips of one shade each, with their captions."""
    lines = []
    for name, shade in (("dark", 30), ("bright", 220)):
        path = tmp_path / "clips" / name / "clip.mp4"
        path.parent.mkdir(parents=True)
        write_clip(path, [shade] * 4, size=(64, 64))
        lines.append({"video": f"clips/{name}/clip.mp4", "caption": f"a {name} dog"})
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


# --- classify --------------------------------------------------------------------------------------------------------


def accuracy_of(folder, names, templates, mode):
    encoder = model_and_processor()
    _, items = read_class_folder(folder)
    classifier = zero_shot_classifier(*encoder, names, templates)
    scores = classify_images(*encoder, ItemImages(items), classifier, mode=mode)
    return scores, [item.label for item in items]


@pytest.mark.parametrize("mode", ["InternVL-C", "InternVL-G"])
def test_classify(classes, mode, capsys):
    code, out, err = run(capsys, "classify", classes, "--mode", mode, "--per-class", "--batch-size", 4)
    assert (code, err) == (0, "")
    scores, labels = accuracy_of(classes, ["blue dog", "green dog", "red dog"], TEMPLATES["photo"], mode)
    top1 = 100 * top_k_accuracy(scores, labels, [1])["top1"]
    hits = [(ranks_of_right(scores, labels)[start : start + 3] == 0).sum() * 100 / 3 for start in (0, 3, 6)]
    assert out.splitlines()[0] == f"{mode}, zero-shot: 9 images, 3 classes, templates: 18"
    rows = [line.split() for line in out.splitlines()]
    assert [f"{share:.1f}" for share in hits] == [row[2] for row in rows if row and row[0].endswith("_dog")]
    assert rows[-1] == ["top-1", f"{top1:.1f}"]


def test_classify_with_names_and_templates_of_any_language(classes, tmp_path, capsys):
    names = {"blue_dog": ["蓝色的狗", "blue"], "green_dog": "绿色的狗", "red_dog": "红色的狗", "unused": "x"}
    (tmp_path / "names.json").write_text(json.dumps(names), encoding="utf-8")
    (tmp_path / "zh.txt").write_text("一张{}的照片\n\n{}\n", encoding="utf-8")
    arguments = ["--class-names", tmp_path / "names.json", "--templates", tmp_path / "zh.txt", "--json"]
    code, out, _ = run(capsys, "classify", classes, *arguments)
    scores, labels = accuracy_of(classes, list(names.values())[:3], ["一张{}的照片", "{}"], "InternVL-C")
    report = json.loads(out)
    assert code == 0 and report["top1"] == top_k_accuracy(scores, labels, [1])["top1"]
    assert [row["folder"] for row in report["classes"]] == ["blue_dog", "green_dog", "red_dog"]
    assert sum(row["top1"] * row["items"] for row in report["classes"]) == pytest.approx(report["top1"] * 9)


def test_top_5_is_told_where_it_says_something(tmp_path, capsys):
    folder = draw_classes(tmp_path / "classes", per_class=1)
    for name in "uvw":
        (folder / name).mkdir()
        (folder / name / "0.png").write_bytes((folder / "red_dog" / "0.png").read_bytes())
    code, out, _ = run(capsys, "classify", folder, "--templates", "name")
    assert code == 0 and [line.split()[0] for line in out.splitlines()[-2:]] == ["top-1", "top-5"]


def test_classify_videos(clips, capsys):
    code, out, err = run(capsys, "classify", clips / "clips", "--video", "--num-frames", 1)
    assert (code, err) == (0, "")
    assert out.startswith("InternVL-C, zero-shot: 2 videos, 2 classes, templates: 6")


# --- retrieve --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["InternVL-C", "InternVL-G"])
def test_retrieve(pairs, mode, capsys):
    items = read_pairs(pairs)
    texts = [text for item in items for text in item.texts]
    owners = [index for index in range(len(items)) for _ in range(2)]
    expected = retrieve(*model_and_processor(), ItemImages(items), texts, owners, mode=mode)
    code, out, err = run(capsys, "retrieve", pairs, "--mode", mode)
    assert (code, err) == (0, "")
    head, _, names, _, images, sentences, _, mean = out.splitlines()
    assert head == f"{mode}, retrieval: 6 images, 12 texts"
    assert names.split()[-3:] == ["R@1", "R@5", "R@10"]
    for line, direction in ((images, "image_to_text"), (sentences, "text_to_image")):
        assert line.split()[-3:] == [f"{100 * expected[f'{direction}_recall@{k}']:.1f}" for k in (1, 5, 10)]
    assert mean == f"mean recall {100 * expected['mean_recall']:.1f} %"
    code, out, _ = run(capsys, "retrieve", pairs, "--mode", mode, "--json")
    assert code == 0 and json.loads(out) == {"mode": mode, "items": 6, "texts": 12, **expected}


def test_long_texts_are_cut_on_request(pairs, capsys):
    pairs.write_text(pairs.read_text().replace("1 blue boat", "boat " * 90))
    code, out, _ = run(capsys, "retrieve", pairs, "--truncate")
    assert code == 0 and "6 images, 12 texts" in out


def test_retrieve_videos(clips, capsys):
    code, out, err = run(capsys, "retrieve", clips / "clips.jsonl", "--video")
    assert (code, err) == (0, "")
    assert "2 videos, 2 texts" in out and "video to text" in out and "text to video" in out


# --- caption ---------------------------------------------------------------------------------------------------------

SHORT = ("--min-new-tokens", 2, "--max-new-tokens", 5, "--num-beams", 2)


def captions_of(items, **options):
    lengths = {"min_new_tokens": 2, "max_new_tokens": 5, "num_beams": 2}
    return caption_images(*model_and_processor(), ItemImages(items), **lengths, **options)


def test_caption_with_references(pairs, capsys):
    items = read_pairs(pairs)
    captions, references = captions_of(items), [item.texts for item in items]
    code, out, err = run(capsys, "caption", pairs, *SHORT)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:6] == [f"{item.path}\t{text}" for item, text in zip(items, captions, strict=True)]
    assert lines[-2].split() == ["BLEU-4", f"{100 * bleu(captions, references):.1f}"]
    assert lines[-1].split() == ["CIDEr", f"{100 * cider(captions, references):.1f}"]


def test_caption_without_references(classes, capsys):
    folder = classes / "red_dog"
    paths = [folder / "2.png", folder]
    code, out, err = run(capsys, "caption", *paths, "--prompt", "the dog", "--json", *SHORT)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert list(report) == ["captions"]
    assert [line["image"] for line in report["captions"]] == [
        str(folder / name) for name in ("2.png", "0.png", "1.png", "2.png")
    ]
    assert report["captions"][0]["caption"] == report["captions"][3]["caption"]


def test_one_image_has_no_cider(pairs, tmp_path, capsys):
    (tmp_path / "one.jsonl").write_text(pairs.read_text().splitlines()[0])
    code, out, _ = run(capsys, "caption", tmp_path / "one.jsonl", *SHORT)
    assert code == 0 and "BLEU-4" in out and "CIDEr" not in out


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb, arguments, reason",
    [
        ("classify", ["nowhere"], "nowhere is no folder"),
        ("classify", ["classes", "--num-frames", "3"], "--num-frames needs --video"),
        ("classify", ["classes", "--templates", "poem"], "resisc45 nor a file"),
        ("classify", ["classes", "--templates", "empty.txt"], "--templates empty.txt holds no sentence"),
        ("classify", ["classes", "--templates", "plain.txt"], "'a photo' has no {}"),
        ("classify", ["classes", "--class-names", "empty.txt"], "--class-names empty.txt cannot be read"),
        ("classify", ["classes", "--class-names", "few.json"], "no entry for the folder 'blue_dog'"),
        ("classify", ["clips", "--video"], "videos 0, clips/dog/broken.mp4: cannot be read as a video"),
        ("retrieve", ["nowhere.jsonl"], "Cannot read nowhere.jsonl"),
        ("retrieve", ["pairs.jsonl", "--video"], 'line 1: expected an object with "video"'),
        ("retrieve", ["broken.jsonl"], "broken.jsonl, line 2: cannot read the image broken.png"),
        ("retrieve", ["long.jsonl"], "texts 0 to 11"),
        ("caption", ["broken.png"], "cannot read the image broken.png"),
        ("caption", ["pairs.jsonl", "broken.png"], "give either the one list pairs.jsonl or images"),
        ("caption", ["mixed.jsonl"], "mixed.jsonl, line 2: no captions, although others have some"),
        ("caption", ["pairs.jsonl", "--min-new-tokens", "50"], "between 0 and `max_new_tokens`"),
        ("retrieve", ["pairs.jsonl", "--device", "nonsense"], "--device nonsense cannot be used here"),
    ],
)
def test_mistakes_are_one_line(verb, arguments, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_classes(tmp_path / "classes")
    (tmp_path / "clips" / "dog").mkdir(parents=True)
    lines = write_pairs(tmp_path).read_text().splitlines()
    for name, content in {
        "broken.png": "no picture",
        "clips/dog/broken.mp4": "no video",
        "empty.txt": "",
        "plain.txt": "a photo",
        "few.json": '{"red_dog": "x"}',
        "broken.jsonl": lines[0] + '\n{"image": "broken.png", "caption": "x"}',
        "long.jsonl": "\n".join(lines).replace("1 blue boat", "boat " * 90),
        "mixed.jsonl": lines[0] + '\n{"image": "pictures/red_dog/0.png"}',
    }.items():
        (tmp_path / name).write_text(content)
    code, out, err = run(capsys, verb, *arguments)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith(f"internvl {verb}: ") and reason in err, err


def test_a_chat_model_is_refused(pairs, capsys):
    code, _, err = run(capsys, "retrieve", pairs, model=golden_root() / "chat_qwen2")
    assert code == 2 and "chat_qwen2 is no dual encoder but InternVLChatModel" in err


@pytest.mark.parametrize(
    "arguments", [["retrieve", "x.jsonl"], ["classify", "x", "--model", "y", "--mode", "InternVL"]]
)
def test_wrong_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    captured = capsys.readouterr()
    assert error.value.code == 2 and captured.out == "" and captured.err.count("\n") == 1
