# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`pipeline(...)` on InternViT folders, original and ours, against preprocessing and forward by hand."""

import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
    pipeline,
)
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from tests.parity.golden import golden_cases

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SIZES = [(90, 61), (56, 56), (40, 100), (57, 203)]


@pytest.fixture(params=golden_cases("intern_vit_"), ids=lambda path: path.name)
def authors(request):
    return request.param


@pytest.fixture(params=["authors", "ours"])
def folder(request, authors, tmp_path):
    """The original folder, or the same model and processor saved again."""
    if request.param == "authors":
        return authors
    AutoModel.from_pretrained(authors).save_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(authors).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)) for wide, high in SIZES]


def pixels_by_hand(picture: Image.Image, side: int = 56) -> torch.Tensor:
    """The shorter side to `side` (bicubic, the longer one rounded down), the middle cut out, normalized."""
    wide, high = picture.size
    short = min(wide, high)
    picture = picture.resize((int(side * wide / short), int(side * high / short)), Image.Resampling.BICUBIC)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    levels = np.asarray(picture.crop((left, top, left + side, top + side)))
    return torch.from_numpy((levels / 255 - MEAN) / STD).permute(2, 0, 1)[None].float()


def test_the_processor_gives_the_original_pixels(folder, pictures):
    processor = AutoImageProcessor.from_pretrained(folder)
    for picture in [*pictures, pictures[0].convert("L"), pictures[1].convert("P")]:
        expected = pixels_by_hand(picture.convert("RGB"))
        torch.testing.assert_close(
            processor(picture, return_tensors="pt")["pixel_values"], expected, rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("pool", [False, True])
def test_feature_extraction(folder, pictures, pool, tmp_path):
    extract = pipeline("image-feature-extraction", model=str(folder), pool=pool)
    model = AutoModel.from_pretrained(folder).eval()
    for index, picture in enumerate(pictures):
        with torch.no_grad():
            output = model(pixels_by_hand(picture))
        expected = output.pooler_output if pool else output.last_hidden_state
        assert pool == (expected.ndim == 2)
        path = tmp_path / f"{index}.png"
        picture.save(path)
        for given in (picture, str(path)):
            torch.testing.assert_close(extract(given, return_tensors=True), expected, rtol=1e-4, atol=2e-5)
    together = extract(pictures, return_tensors=True)
    assert len(together) == len(pictures)
    torch.testing.assert_close(together[-1], expected, rtol=1e-4, atol=2e-5)
    assert torch.tensor(extract(pictures[0])).ndim == expected.ndim  # nested lists, by default


@pytest.mark.parametrize("pooling", ["cls_patch_concat", "attention_pooling"])
def test_classification(authors, pictures, pooling, tmp_path):
    labels = {0: "circle", 1: "square", 2: "triangle"}
    model = AutoModelForImageClassification.from_pretrained(authors, id2label=labels, classifier_pooling=pooling)
    torch.nn.init.normal_(model.classifier.weight)
    model.batch_norm.momentum = 1.0
    model.train()(torch.cat([pixels_by_hand(picture) for picture in pictures]))  # statistics, for classes to differ
    model.eval().save_pretrained(tmp_path)
    shutil.copy(authors / "preprocessor_config.json", tmp_path)
    classify = pipeline("image-classification", model=str(tmp_path))
    with torch.no_grad():
        shares = model(pixels_by_hand(pictures[0])).logits.softmax(-1)[0]
    answers = classify(pictures[0])
    assert [answer["label"] for answer in answers] == [
        labels[index] for index in shares.argsort(descending=True).tolist()
    ]
    for answer in answers:
        (index,) = (index for index, label in labels.items() if label == answer["label"])
        assert answer["score"] == pytest.approx(shares[index].item(), abs=1e-5)


def test_segmentation(authors, pictures, tmp_path, caplog, monkeypatch):
    """With an image processor beside the head that makes maps: the whole image, one mask for each class in it."""
    labels = {0: "wall", 1: "floor", 2: "sky"}
    torch.manual_seed(0)
    model = AutoModelForSemanticSegmentation.from_pretrained(authors, id2label=labels)
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path)
    SegformerImageProcessorPil(size={"height": 56, "width": 56}, resample=3).save_pretrained(tmp_path)
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    segment = pipeline("image-segmentation", model=str(tmp_path))
    assert "not supported" not in caplog.text
    found: set[str] = set()
    for picture in pictures:
        square = np.asarray(picture.resize((56, 56), Image.Resampling.BICUBIC))
        pixels = torch.from_numpy((square / 255 - MEAN) / STD).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            logits = segment.model(pixels).logits
        logits = torch.nn.functional.interpolate(logits, size=picture.size[::-1], mode="bilinear")
        expected = {labels[int(index)]: (logits.argmax(1)[0] == index).numpy() for index in logits.argmax(1).unique()}
        masks = {entry["label"]: np.asarray(entry["mask"]) > 0 for entry in segment(picture)}
        assert masks.keys() == expected.keys()
        found |= masks.keys()
        for label, mask in masks.items():
            assert np.mean(mask == expected[label]) > 0.999
    assert len(found) > 1
