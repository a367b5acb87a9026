# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl evaluate` for InternVL-C, InternVL-G and InternViT: the scores, and how a run resumes."""

import json
import shutil
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
)

from internvl_cli import main
from tests.evaluation.dual_encoder import COLORS, MODEL, draw_classes, drawing, model_and_processor
from tests.parity.golden import golden_root
from transformers_internvl.evaluation import probe
from transformers_internvl.evaluation.benchmarks import BENCHMARKS
from transformers_internvl.evaluation.caption_files import former_caption, read_captions
from transformers_internvl.evaluation.captioning import caption_images
from transformers_internvl.evaluation.data import ItemImages, read_class_folder
from transformers_internvl.evaluation.encoders import EncoderTask, Setup, evaluate_encoder, measure_items, segments
from transformers_internvl.evaluation.encoders.classification import accuracy, in_turns
from transformers_internvl.evaluation.encoders.probing import classes_of
from transformers_internvl.evaluation.encoders.segments import SETS
from transformers_internvl.evaluation.metrics import score_answers
from transformers_internvl.evaluation.probe import ProbeSettings, head_logits, train_probe
from transformers_internvl.evaluation.retrieval import retrieve
from transformers_internvl.evaluation.run import Ranks
from transformers_internvl.evaluation.zero_shot import classify_images, top_k_accuracy, zero_shot_classifier
from transformers_internvl.evaluation.zero_shot_prompts import (
    imagenet_ids,
    names_of_folders,
    published_templates,
    template_sets,
)

TOWER = golden_root() / "intern_vit_300m"
CLASSES = 6  # of the drawn maps, where ADE20K has 150


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Classes, images with captions in the published forms, and maps of classes."""
    folder = tmp_path_factory.mktemp("data")
    draw_classes(folder / "dtd" / "test", per_class=3)
    _draw_flickr(folder / "flickr30k")
    for part in ("train", "val"):
        draw_classes(folder / "imagenet1k" / part, per_class=4)
    _draw_maps(folder / "ade20k")
    return folder


def _draw_flickr(folder):
    (folder / "Images").mkdir(parents=True)
    lines = ["image,caption"]
    for number, color in enumerate(COLORS):
        drawing(color, number).save(folder / "Images" / f"{number}.jpg")
        lines += [f"{number}.jpg,The {color} dog, (it) runs!", f"{number}.jpg,{number} boats on a {color} river."]
    (folder / "flickr30k_test_karpathy.txt").write_text("\n".join(lines) + "\n")


def _draw_maps(folder):
    generator = np.random.default_rng(0)
    for kind in ("images", "annotations"):
        (folder / kind / "validation").mkdir(parents=True)
    for number, size in enumerate(((50, 60), (70, 40))):
        Image.fromarray(generator.integers(0, 255, (*size, 3), dtype=np.uint8)).save(
            folder / "images" / "validation" / f"{number}.jpg"
        )
        Image.fromarray(generator.integers(0, CLASSES + 1, size, dtype=np.uint8)).save(
            folder / "annotations" / "validation" / f"{number}.png"
        )


def setup_of(task, data, folder, mode=None, **more):
    row = BENCHMARKS[task]
    return Setup(row, mode or row.modes[0], data, folder, *model_and_processor(), **{"batch_size": 4, **more})


def run(task, data, folder, **more):
    tasks = [EncoderTask.of(setup_of(task, data, folder / task, **more), "tiny")]
    (result,) = evaluate_encoder(tasks, folder, model="InternVL-14B-224px", quiet=True, plot=False)
    return result


# --- the scores are those of the functions ---------------------------------------------------------------------------


def test_zero_shot_classification(data, tmp_path):
    result = run("dtd_zero_shot", data, tmp_path)
    folders, items = read_class_folder(data / "dtd" / "test")
    names = [folder.replace("_", " ") for folder in folders]
    classifier = zero_shot_classifier(*model_and_processor(), names, published_templates("dtd"))
    scores = classify_images(*model_and_processor(), ItemImages(items), classifier)
    expected = top_k_accuracy(scores, [item.label for item in items], (1, 5))
    assert result.table["top1"] == pytest.approx(100 * expected["top1"])
    assert result.table["top5"] == pytest.approx(100 * expected["top5"])
    assert result.score == result.table["top1"]
    assert result.difference == pytest.approx(result.score - 70.7)
    lines = [json.loads(line) for line in (tmp_path / "dtd_zero_shot" / "predictions.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines[:4]] == [
        "blue_dog/0.png", "green_dog/0.png", "red_dog/0.png", "blue_dog/1.png",
    ]  # fmt: skip
    found = {line["index"]: line["prediction"] for line in lines}
    for item, best in zip(items, scores.argmax(dim=1).tolist(), strict=True):
        assert found[item.path.relative_to(data / "dtd" / "test").as_posix()] == folders[best]


@pytest.mark.parametrize("mode", ["InternVL-C", "InternVL-G"])
def test_retrieval(data, tmp_path, mode):
    result = run("flickr30k_retrieval", data, tmp_path, mode=mode)
    items = read_captions(data / "flickr30k" / "flickr30k_test_karpathy.txt")
    texts = [former_caption(text) for item in items for text in item.texts]
    assert texts[:2] == ["the red dog, it runs", "0 boats on a red river"]
    expected = retrieve(*model_and_processor(), ItemImages(items), texts, [0, 0, 1, 1, 2, 2], mode=mode)
    assert result.table == pytest.approx({name: 100 * value for name, value in expected.items()})
    assert result.score == result.table["mean_recall"]
    assert [entry.value for entry in result.published][0] == {"InternVL-C": 95.0167, "InternVL-G": 95.9833}[mode]
    lines = [
        json.loads(line) for line in (tmp_path / "flickr30k_retrieval" / "predictions.jsonl").read_text().splitlines()
    ]
    assert [line["index"] for line in lines[2:5]] == ["image 2: 2.jpg", "text 0.0: 0.jpg", "text 0.1: 0.jpg"]
    shares = [sum(line["score"] for line in part) / len(part) for part in (lines[:3], lines[3:])]
    assert 100 * shares[0] == pytest.approx(result.table["image_to_text_recall@1"])
    assert 100 * shares[1] == pytest.approx(result.table["text_to_image_recall@1"])


def test_captions(data, tmp_path):
    result = run("flickr30k_caption", data, tmp_path, limit=2)
    items = read_captions(data / "flickr30k" / "flickr30k_test_karpathy.txt")[:2]
    captions = caption_images(*model_and_processor(), ItemImages(items))
    rows = [{"answer": list(item.texts), "prediction": text} for item, text in zip(items, captions, strict=True)]
    assert result.score == score_answers("caption", rows).overall
    assert (result.questions, result.published[0].value) == (2, 79.2)


# --- resuming and ranks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["dtd_zero_shot", "flickr30k_retrieval"])
def test_a_run_that_is_cut_and_shared_gives_the_same(data, tmp_path, task):
    whole = run(task, data, tmp_path / "whole")
    folder = tmp_path / "cut" / task
    for rank in (0, 1):
        setup = setup_of(task, data, folder, ranks=Ranks(rank, 2))
        assert measure_items(EncoderTask.of(setup, "tiny"), quiet=True) > 0
    path = folder / "answers.rank1.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 4  # every second batch
    path.write_text("".join(lines[:2]) + lines[2][:20])
    assert measure_items(EncoderTask.of(setup, "tiny"), quiet=True) == 2
    assert measure_items(EncoderTask.of(setup, "tiny"), quiet=True) == 0
    assert run(task, data, tmp_path / "cut").as_dict() == whole.as_dict()
    names = (f"{task}/predictions.jsonl", "scores.json", "report.md")
    assert all((tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text() for name in names)


def test_a_limit_is_a_beginning(data, tmp_path):
    setup = setup_of("dtd_zero_shot", data, tmp_path, limit=3)
    task = EncoderTask.of(setup, "tiny")
    assert task.measure.indexes == ["blue_dog/0.png", "green_dog/0.png", "red_dog/0.png"]
    assert measure_items(task, quiet=True) == 3
    assert measure_items(EncoderTask.of(setup_of("dtd_zero_shot", data, tmp_path), "tiny"), quiet=True) == 6
    with pytest.raises(ValueError, match="other settings: mode was 'InternVL-C' and is 'InternVL-G'"):
        measure_items(EncoderTask.of(setup_of("dtd_zero_shot", data, tmp_path, mode="InternVL-G"), "tiny"))


# --- names and sentences ---------------------------------------------------------------------------------------------


def test_published_names_and_sentences():
    ids = imagenet_ids()
    assert len(ids) == 1000 and ids[0] == "n01440764" and list(ids) == sorted(ids)
    for language, sentences in (("en", 80), ("zh", 80), ("ja", 37), ("ar", 55), ("it", 49)):
        templates = published_templates("imagenet1k", language)
        assert len(templates) == sentences and all("{}" in text for text in templates)
        names = names_of_folders(ids, "imagenet1k", language)
        assert len(names) == 1000 and all(name.strip() for name in names)
        assert names_of_folders([ids[7], ids[2]], "imagenet1k", language) == [names[7], names[2]]  # ImageNet-A, -R
    english = names_of_folders(ids, "imagenet1k")
    assert english[:3] == ["tench", "goldfish", "great white shark"]
    numbers = sorted(map(str, range(1000)))  # ImageNet-V2
    assert names_of_folders(numbers, "imagenet1k")[:3] == [english[0], english[1], english[10]]
    assert names_of_folders(["1", "0"] + list("23456789"), "mnist") == list("1023456789")
    assert names_of_folders(["apple_pie", "sushi"], "food101") == ["apple pie", "sushi"]
    assert published_templates("food101") == ("a photo of {}, a type of food.",)
    assert published_templates("unheard of") == published_templates("imagenet1k")
    rows = [row.prompt_set for row in BENCHMARKS.values() if row.ability == "classify"]
    assert set(rows) - {"kinetics"} <= set(template_sets())


def test_folders_that_are_no_classes():
    with pytest.raises(ValueError, match="n00000001 is no class of ImageNet-1K"):
        names_of_folders(["n00000001"], "imagenet1k")
    with pytest.raises(ValueError, match="mnist has 10 classes, but there are 2 folders"):
        names_of_folders(["0", "1"], "mnist")
    with pytest.raises(ValueError, match="no sentences in the language 'de'"):
        published_templates("imagenet1k", "de")


def test_classes_of_a_head():
    ids = imagenet_ids()
    assert classes_of(["10", "2"], 1000) == [10, 2]
    assert classes_of(["a", "b"], 2) == [0, 1]
    assert classes_of([ids[5], ids[1]], 1000) == [5, 1]
    with pytest.raises(ValueError, match="2 folders for the 3 classes"):
        classes_of(["a", "b"], 3)
    with pytest.raises(ValueError, match="2 folders for the 1000 classes"):
        classes_of([ids[5], "b"], 1000)


def test_items_of_classes_take_turns(data):
    _, items = read_class_folder(data / "dtd" / "test")
    assert [item.label for item in in_turns(items[1:])] == [0, 1, 2, 0, 1, 2, 1, 2]


def test_accuracy_by_hand():
    lines = [
        {"index": str(n), "prediction": "?", "answer": name, "rank": rank}
        for n, (name, rank) in enumerate((("a", 0), ("a", 4), ("a", 5), ("b", 0)))
    ]
    measured = accuracy(lines, "mean_of_top1_and_top5")
    assert measured.table == pytest.approx(
        {"top1": 50, "top5": 75, "mean_of_top1_and_top5": 62.5, "mean_per_class": 200 / 3}
    )
    assert measured.figure == 62.5
    assert [line["score"] for line in measured.predictions] == [1, 0, 0, 1]


# --- files of captions -----------------------------------------------------------------------------------------------


def test_files_of_captions(tmp_path):
    for folder, name in (("val2014", "a.jpg"), ("", "b.jpg")):
        (tmp_path / folder).mkdir(exist_ok=True)
        drawing("red", 0).save(tmp_path / folder / name)
    coco = {
        "images": [{"id": n, "file_name": f"{name}.jpg"} for n, name in ((2, "a"), (3, "no"), (1, "b"))],
        "annotations": [
            {"image_id": 1, "caption": "one"},
            {"image_id": 2, "caption": "two"},
            {"image_id": 1, "caption": "three"},
        ],
    }
    forms = {
        "coco.json": (coco, [("two",), ("one", "three")]),
        "xtd.json": (
            {"image_paths": ["val2014/a.jpg", "b.jpg"], "annotations": ["eins", "zwei"]},
            [("eins",), ("zwei",)],
        ),
        "own.json": ([{"image": "b.jpg", "caption": "own"}], [("own",)]),
    }
    for name, (content, expected) in forms.items():
        (tmp_path / name).write_text(json.dumps(content))
        assert [item.texts for item in read_captions(tmp_path / name)] == expected
    (tmp_path / "lines.txt").write_text("image,caption\nb.jpg,one, two\n\nb.jpg,three\n")
    assert [item.texts for item in read_captions(tmp_path / "lines.txt")] == [("one, two", "three")]
    wrong = {
        "missing.txt": ("image,caption\nz.jpg,one\n", "the image z.jpg is in none of"),
        "comma.txt": ("image,caption\nb.png,one\n", "expected `NAME.jpg,CAPTION`"),
        "empty.txt": ("image,caption\n", "holds no captions"),
        "other.json": ('{"a": 1}', "no file of captions of a known form"),
        "broken.json": ("{", "Cannot read"),
    }
    for name, (text, message) in wrong.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_captions(tmp_path / name)


def test_former_captions_end_after_fifty_words():
    assert former_caption('  Two "dogs"; one~cat:\n ') == "two dogs one cat"
    assert former_caption(" ".join(map(str, range(60)))) == " ".join(map(str, range(50)))


# --- InternViT -------------------------------------------------------------------------------------------------------


@cache
def image_processor():
    return AutoImageProcessor.from_pretrained(TOWER, backend="pil")


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A folder with a segmentation head of random weights."""
    torch.manual_seed(0)
    model = AutoModelForSemanticSegmentation.from_pretrained(TOWER, num_labels=CLASSES)
    model.classifier.weight.data.normal_(std=1.0)
    folder = tmp_path_factory.mktemp("segmenter")
    model.save_pretrained(folder)
    shutil.copy(TOWER / "preprocessor_config.json", folder)
    return folder


def test_segmentation_by_the_command(data, segmenter, tmp_path, capsys, monkeypatch):
    line = f"evaluate --model {segmenter} --task ade20k --data {data} --output {tmp_path} --no-plot --device cpu"
    assert main(line.split()) == 2
    assert "ADE20K has 150 classes, but the model has 6" in capsys.readouterr().err
    monkeypatch.setitem(SETS, "ade20k", replace(SETS["ade20k"], classes=CLASSES))
    assert main([*line.split(), "--published", "InternViT-6B-224px"]) == 0
    (result,) = json.loads((tmp_path / "scores.json").read_text())["tasks"]
    assert "| ADE20K, val | linear |" in capsys.readouterr().out
    assert result["difference"] == pytest.approx(result["score"] - 47.2)
    assert result["score"] == pytest.approx(100 * _iou_by_hand(data, segmenter), rel=1e-6)
    assert main([*line.split(), "--mode", "linear,none"]) == 2
    assert "has the modes linear, head, full, not 'none'" in capsys.readouterr().err


def _iou_by_hand(data, folder):
    """One window after another, as slide inference reads, and pixels counted over the set."""
    model = AutoModelForSemanticSegmentation.from_pretrained(folder).eval()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    right, either = np.zeros(CLASSES), np.zeros(CLASSES)
    for path in sorted((data / "ade20k" / "images" / "validation").iterdir()):
        levels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float()
        truth = (
            np.array(Image.open(data / "ade20k" / "annotations" / "validation" / f"{path.stem}.png")).astype(int) - 1
        )
        height, width = truth.shape
        size = {(50, 60): (504, 605), (70, 40): (882, 504)}[height, width]
        levels = torch.nn.functional.interpolate(levels, size=size, mode="bilinear").round()
        size = {605: (504, 616), 504: (882, 504)}[size[1]]
        levels = torch.nn.functional.interpolate(levels, size=size, mode="bilinear").round()
        pixels = ((levels[0].permute(1, 2, 0) / 255 - mean) / deviation).permute(2, 0, 1)[None]
        starts = {(504, 616): [(0, 0), (0, 112)], (882, 504): [(0, 0), (322, 0), (378, 0)]}[size]
        total, count = torch.zeros(CLASSES, *size), torch.zeros(size)
        for top, left in starts:
            with torch.no_grad():
                logits = model(pixels[..., top : top + 504, left : left + 504]).logits[0]
            total[:, top : top + 504, left : left + 504] += logits
            count[top : top + 504, left : left + 504] += 1
        scores = torch.nn.functional.interpolate((total / count)[None], size=(height, width), mode="bilinear")[0]
        found = scores.argmax(dim=0).numpy()
        for label in range(CLASSES):
            right[label] += ((found == label) & (truth == label)).sum()
            either[label] += (((found == label) & (truth >= 0)) | (truth == label)).sum()
    return (right[either > 0] / either[either > 0]).mean()


def test_a_probe_is_trained_and_measured_by_the_command(data, tmp_path, capsys):
    line = f"evaluate --model {TOWER} --task linear_probe --data {data} --output {tmp_path} --no-plot --device cpu"
    assert main([*line.split(), "--mode", "linear,attention_pooling"]) == 0
    linear, pooled = json.loads((tmp_path / "scores.json").read_text())["tasks"]
    assert (linear["mode"], pooled["mode"], linear["questions"]) == ("linear", "attention_pooling", 12)
    assert all((tmp_path / f"probe.{mode}.safetensors").exists() for mode in ("linear", "attention_pooling"))
    shutil.rmtree(tmp_path / "linear_probe")
    assert main([*line.split(), "--limit", "5"]) == 0  # with the probe that is there
    (again,) = json.loads((tmp_path / "scores.json").read_text())["tasks"]
    assert again["questions"] == 5
    assert main([*line.split(), "--seed", "1", "--limit", "5"]) == 2
    assert "seed was 0 and is 1" in capsys.readouterr().err


def probe_model(pooling="cls_patch_concat"):
    torch.manual_seed(1)
    return AutoModelForImageClassification.from_pretrained(TOWER, num_labels=3, classifier_pooling=pooling)


def normalized(images):
    options = {"do_resize": False, "do_center_crop": False, "return_tensors": "pt"}
    return image_processor()(images=images, **options)["pixel_values"]


def probe_of(data, path, settings, model=None):
    model = model or probe_model()
    _, items = read_class_folder(data / "imagenet1k" / "train")
    labels = [item.label for item in items]
    train_probe(model, ItemImages(items), labels, normalized, 56, path, settings, quiet=True)
    return model


def test_a_probe_learns(data, tmp_path):
    settings = ProbeSettings(epochs=12, batch_size=6, base_lr=5.0, mixup=0, cutmix=0, smoothing=0)
    model = probe_of(data, tmp_path / "probe", settings)
    _, items = read_class_folder(data / "imagenet1k" / "val")
    pixels = image_processor()(images=list(ItemImages(items)), return_tensors="pt")["pixel_values"]
    found = head_logits(model, pixels).argmax(dim=1).tolist()
    assert sum(label == item.label for label, item in zip(found, items, strict=True)) >= 10


class Killed(Exception):
    pass


def test_a_probe_that_is_killed_goes_on(data, tmp_path, monkeypatch):
    from transformers_internvl.evaluation import probe

    settings = ProbeSettings(epochs=3, batch_size=4)
    whole = probe_of(data, tmp_path / "whole", settings)
    write, written = probe._write, []

    def kill(model, path, described, optimizer):
        write(model, path, described, optimizer)
        written.append(path)
        if len(written) == 2:
            raise Killed

    monkeypatch.setattr(probe, "_write", kill)
    with pytest.raises(Killed):
        probe_of(data, tmp_path / "cut", settings)
    resumed = probe_of(
        data, tmp_path / "cut", settings, model=AutoModelForImageClassification.from_pretrained(TOWER, num_labels=3)
    )
    for name in whole.new_head:
        for one, other in zip(
            getattr(whole, name).state_dict().values(), getattr(resumed, name).state_dict().values(), strict=True
        ):
            torch.testing.assert_close(one, other)
    with pytest.raises(ValueError, match="trained otherwise: epochs was 3 and is 4"):
        probe_of(data, tmp_path / "cut", ProbeSettings(epochs=4, batch_size=4))
    (tmp_path / "none").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no probe"):
        probe_of(data, tmp_path / "none", settings)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command(data, tmp_path, capsys):
    line = f"evaluate --model {MODEL} --data {data} --output {tmp_path} --device cpu --no-plot".split()
    assert main([*line, "--task", "dtd_zero_shot,flickr30k_retrieval", "--published", "InternVL-14B-224px"]) == 0
    page = capsys.readouterr().out
    assert "| DTD, zero-shot | InternVL-C |" in page and "| Flickr30K, retrieval | InternVL-G |" in page
    assert "| 70.70 |" in page and "| 95.98 |" in page
    refusals = {
        "dtd_zero_shot,docvqa_val": "run them apart",
        "dtd_zero_shot --max-tiles 3": "--max-tiles belongs to chat models",
        "coco_retrieval": "coco_test_karpathy.json, which does not exist",
        "dtd_zero_shot --mode cot": "has the modes InternVL-C, InternVL-G, not 'cot'",
        "linear_probe --model " + str(golden_root() / "chat_qwen2"): "cannot load the model",
        "ade20k --model " + str(TOWER): "it has no segmentation head",
    }
    for more, message in refusals.items():
        assert main([*line, "--task", *more.split()]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", "--list"]) == 0
    assert "linear, attention_pooling" in capsys.readouterr().out


def test_every_row_has_its_data_and_modes():
    rows = [row for row in BENCHMARKS.values() if row.ability != "chat"]
    assert len(rows) > 50
    for row in rows:
        assert row.folder and row.modes and row.metric, row.task
        assert all(model.rpartition(", ")[2] in row.modes for model in row.published), row.task
    assert not any(row.modes or row.folder for row in BENCHMARKS.values() if row.ability == "chat")


def test_a_probe_of_a_checkpoint_is_measured_as_it_is(data, tmp_path, capsys):
    model = probe_model()
    assert AutoConfig.from_pretrained(TOWER).architectures == ["InternVisionModel"]
    model.save_pretrained(tmp_path / "model")
    shutil.copy(TOWER / "preprocessor_config.json", tmp_path / "model")
    line = (
        f"evaluate --model {tmp_path / 'model'} --task linear_probe --data {data} --output {tmp_path / 'out'}".split()
    )
    assert main([*line, "--no-plot", "--device", "cpu"]) == 0
    (result,) = json.loads((tmp_path / "out" / "scores.json").read_text())["tasks"]
    assert not (tmp_path / "out" / "probe.linear.safetensors").exists()
    _, items = read_class_folder(data / "imagenet1k" / "val")
    pixels = image_processor()(images=list(ItemImages(items)), return_tensors="pt")["pixel_values"]
    found = model.eval()(pixels).logits.argmax(dim=1).tolist()
    right = sum(label == item.label for label, item in zip(found, items, strict=True))
    assert result["score"] == pytest.approx(100 * right / len(items))
    assert main([*line, "--no-plot", "--mode", "attention_pooling"]) == 2
    assert "needs attention_pooling" in capsys.readouterr().err


def test_classes_of_coco_stuff_begin_at_0(tmp_path, monkeypatch):
    """Where ADE20K's 0 is nothing, 0 is a class here; 255 is nothing, and the files have names of their own."""
    row = BENCHMARKS["coco_stuff164k"]
    images, maps = (tmp_path / str(row.folder) / part / "val2017" for part in ("images", "annotations"))
    images.mkdir(parents=True)
    maps.mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(images / "7.jpg")
    truth = np.full((20, 30), 255, dtype=np.uint8)
    truth[:2], truth[2:5, :10] = 0, 170
    Image.fromarray(truth).save(maps / "7_labelTrainIds.png")
    monkeypatch.setattr(segments, "segment_image", lambda model, pixels, size: torch.zeros(size, dtype=torch.long))
    names = {number: str(number) for number in range(171)}
    model = SimpleNamespace(config=SimpleNamespace(num_labels=171, id2label=names))
    measured = segments.Segments(Setup(row, row.modes[0], tmp_path, tmp_path / "out", model, image_processor()))
    (line,) = measured.lines([0])
    assert line["cells"] == [[0, 0, 60], [170, 0, 30]]
    assert measured.score([{"index": "7", **line}]).figure == pytest.approx(100 * (60 / 90 + 0) / 2)
    for wrong, message in (
        (truth[:, :-1], "but its classes"),
        (np.zeros((20, 30, 3), np.uint8), "one number a pixel"),
    ):
        Image.fromarray(wrong).save(maps / "7_labelTrainIds.png")
        with pytest.raises(ValueError, match=message):
            measured.lines([0])


def test_crops_have_the_published_areas_and_sides():
    """8 to 100 % of the area, 3:4 to 4:3, anywhere; half of them mirrored; else the largest in the middle."""
    size = (640, 480)
    boxes = [probe._drawn_box(size, np.random.default_rng(seed)) for seed in range(300)]
    boxes = [box for box in boxes if box is not None]
    assert len(boxes) > 290
    assert all(left + wide <= 640 and top + high <= 480 for left, top, wide, high in boxes)
    ratios = [wide / high for *_, wide, high in boxes]
    areas = [wide * high / (640 * 480) for *_, wide, high in boxes]
    assert 0.74 < min(ratios) < 0.8 and 1.25 < max(ratios) < 1.35
    assert 0.079 < min(areas) < 0.12 and 0.9 < max(areas) <= 1
    assert min(left for left, *_ in boxes) < 10 and max(left + wide for left, _, wide, _ in boxes) > 630
    assert probe._middle_box((100, 10)) == (43, 0, 13, 10) and probe._middle_box((10, 100)) == (0, 43, 10, 13)
    slope = Image.linear_gradient("L").rotate(90).convert("RGB")  # brighter from one side to the other
    crops = [np.array(probe.random_crop(slope, 8, np.random.default_rng(seed)))[:, :, 0] for seed in range(100)]
    rising = sum(crop[0, 0] < crop[0, -1] for crop in crops)
    assert 30 < rising < 70 and all(crop.shape == (8, 8) for crop in crops)
