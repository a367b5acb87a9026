# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""InternVL-14B from folders: transformers' pipeline as it stands, every form in which the weights are released."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForZeroShotImageClassification, AutoProcessor, pipeline
from transformers.pipelines import base as pipeline_base

from tests.closeness import assert_same_results
from tests.parity.golden import golden_root
from transformers_internvl import (
    InternVLDualEncoderModel,
    InternVLDualEncoderTextModel,
    InternVLDualEncoderVisionModel,
)

FOLDER = golden_root() / "internvl_14b"
LABELS = ["red dog", "boat on the river", "一只猫", "cloud"]  # of different lengths
TASK = "zero-shot-image-classification"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Model and processor as we save them."""
    folder = tmp_path_factory.mktemp("saved")
    AutoModel.from_pretrained(FOLDER).save_pretrained(folder)
    AutoProcessor.from_pretrained(FOLDER).save_pretrained(folder)
    return folder


@pytest.fixture(params=["authors", "saved"])
def folder(request, saved) -> Path:
    return FOLDER if request.param == "authors" else saved


@pytest.fixture
def complaints(monkeypatch) -> list[str]:
    """What transformers' pipelines say about a model that they do not know."""
    found: list[str] = []
    monkeypatch.setattr(pipeline_base.logger, "error", found.append)
    return found


def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    sizes = [(90, 60), (42, 42), (31, 77)]
    return [Image.fromarray(random.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]


@torch.no_grad()
def by_hand(image: Image.Image, texts: list[str]) -> list[float]:
    """Probabilities from the parts: every text encoded alone, hence without padding."""
    model, processor = AutoModel.from_pretrained(FOLDER).eval(), AutoProcessor.from_pretrained(FOLDER)
    pixels = processor(images=image, return_tensors="pt")["pixel_values"]
    encoded = [processor(text=[text], return_tensors="pt") for text in texts]
    vectors = torch.cat([model.get_text_features(**one).pooler_output for one in encoded])
    cosines = torch.nn.functional.cosine_similarity(model.get_image_features(pixels).pooler_output, vectors)
    return (model.logit_scale.exp() * cosines).softmax(dim=0).tolist()


# --- pipeline --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 2])
def test_the_pipeline_is_right_as_it_stands(folder, batch_size, complaints):
    classify = pipeline(TASK, model=str(folder))
    results = classify(pictures(), candidate_labels=LABELS, batch_size=batch_size)
    assert type(classify.model) is InternVLDualEncoderModel and complaints == []
    assert len(results) == 3
    for image, result in zip(pictures(), results, strict=True):
        expected = by_hand(image, [f"This is a photo of {label}." for label in LABELS])
        scores = {entry["label"]: entry["score"] for entry in result}
        assert [scores[label] for label in LABELS] == pytest.approx(expected, abs=2e-5)
        assert [entry["score"] for entry in result] == sorted(scores.values(), reverse=True)


def test_the_pipeline_with_a_template_and_files(folder, tmp_path):
    classify = pipeline(TASK, model=str(folder))
    image = pictures()[0]
    image.save(tmp_path / "a.png")
    template = "an image of {}"
    expected = by_hand(image, [template.format(label) for label in LABELS])
    for given in (image, str(tmp_path / "a.png"), image.convert("RGBA")):
        result = classify(given, candidate_labels=LABELS, hypothesis_template=template)
        scores = {entry["label"]: entry["score"] for entry in result}
        assert [scores[label] for label in LABELS] == pytest.approx(expected, abs=2e-5)


def test_the_pipeline_refuses_long_labels(saved):
    classify = pipeline(TASK, model=str(saved))
    with pytest.raises(ValueError, match="Text 1 has .* at most 80"):
        classify(pictures()[0], candidate_labels=["dog", "picture " * 80])


# --- weights ---------------------------------------------------------------------------------------------------------


def bare(target: Path, **changes) -> Path:
    """A folder with the original config.json alone."""
    config = json.loads((FOLDER / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return target


def write_shards(weights: dict[str, torch.Tensor], target: Path, kind: str, count: int) -> Path:
    """Weights in so many files and an index, as they were released."""
    names, stem, index = sorted(weights), *{"bin": ("pytorch_model", {}), "safetensors": ("model", {})}[kind]
    for number in range(count):
        part = {name: weights[name] for name in names[number::count]}
        file = f"{stem}-{number + 1:05}-of-{count:05}.{kind}" if count > 1 else f"{stem}.{kind}"
        index |= dict.fromkeys(part, file)
        if kind == "bin":
            torch.save(part, target / file)
        else:
            save_file(part, target / file, metadata={"format": "pt"})
    if count > 1:
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        text = json.dumps({"metadata": {"total_size": size}, "weight_map": index})
        (target / f"{stem}.{kind}.index.json").write_text(text)
    return target


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_every_form_of_the_weights(tmp_path, kind, count):
    weights = load_file(FOLDER / "model.safetensors")
    folder = write_shards(weights, bare(tmp_path), kind, count)
    whole, expected = (
        AutoModelForZeroShotImageClassification.from_pretrained(folder),
        AutoModel.from_pretrained(FOLDER),
    )
    assert whole.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(whole.state_dict()[name], tensor), name
    for half_class in (InternVLDualEncoderVisionModel, InternVLDualEncoderTextModel):
        half = half_class.from_pretrained(folder).state_dict()
        assert half
        for name, tensor in half.items():
            assert torch.equal(tensor, expected.state_dict()[name]), name

    whole.save_pretrained(tmp_path / "saved", max_shard_size="100KB")
    again: dict[str, torch.Tensor] = {}
    for file in (tmp_path / "saved").glob("*.safetensors"):
        again.update(load_file(file))
    assert again.keys() == weights.keys()
    assert all(
        torch.equal(again[name], tensor) and again[name].dtype == tensor.dtype for name, tensor in weights.items()
    )


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_code_within_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = load_file(FOLDER / "model.safetensors")
    torch.save({**weights, "payload": Payload()}, bare(tmp_path) / "pytorch_model.bin")
    with pytest.raises((pickle.UnpicklingError, ValueError, OSError)):
        AutoModel.from_pretrained(tmp_path)
    assert not Path("ran").exists()


@pytest.mark.parametrize("options", [{"device_map": "cpu"}, {"device_map": "auto"}, {"device_map": {"": "cpu"}}, {}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, "auto"])
@torch.no_grad()
def test_dtypes_and_device_maps(folder, options, dtype):
    model = AutoModel.from_pretrained(folder, dtype=dtype, **options).eval()
    expected = torch.float32 if dtype == "auto" else dtype
    assert {parameter.dtype for parameter in model.parameters()} == {expected}
    assert {buffer.dtype for buffer in model.buffers()} <= {torch.float32}  # rotary frequencies stay exact
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(images=pictures(), text=LABELS, return_tensors="pt").to(model.device, expected)
    logits = model(**inputs, mode="InternVL-G").logits_per_image
    reference = AutoModel.from_pretrained(FOLDER).eval()
    exact = reference(**processor(images=pictures(), text=LABELS, return_tensors="pt"), mode="InternVL-G")
    tolerance = {"rtol": 0.1, "atol": 0.6} if expected == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(logits.float(), exact.logits_per_image, **tolerance)
    captions = processor(images=pictures(), task="caption", return_tensors="pt").to(model.device, expected)
    assert model.generate(**captions, max_new_tokens=2, do_sample=False).shape == (3, 2)


@pytest.mark.parametrize("by", ["force_image_size", "image_size"])
@torch.no_grad()
def test_fine_tunes_at_another_size(tmp_path, by):
    """Their position table is larger: 26 x 26 at 364 px, 5 x 5 here. One field or the other of config.json says so."""
    side, name = 70, "vision_model.embeddings.position_embedding"
    weights = load_file(FOLDER / "model.safetensors")
    weights[name] = torch.randn(1, 26, weights[name].shape[-1], generator=torch.Generator().manual_seed(0))
    vision = json.loads((FOLDER / "config.json").read_text())["vision_config"]
    changes = {"force_image_size": side} if by == "force_image_size" else {"vision_config": {**vision, by: side}}
    folder = write_shards(weights, bare(tmp_path, **changes), "safetensors", 1)
    for file in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(FOLDER / file, folder / file)
    processor, model = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    inputs = processor(images=pictures(), text=LABELS, return_tensors="pt")
    assert inputs["pixel_values"].shape == (3, 3, side, side)
    expected = model(**inputs).logits_per_image
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(load_file(tmp_path / "saved" / "model.safetensors")[name], weights[name])
    assert_same_results(AutoModel.from_pretrained(tmp_path / "saved")(**inputs).logits_per_image, expected)
    # The table is used as it is stored: other positions, other logits.
    model.vision_model.embeddings.position_embeddings.zero_()
    assert not torch.allclose(model(**inputs).logits_per_image, expected)


def test_captions_end_with_the_end_token(folder, tmp_path):
    """The original folders have no generation_config.json; their config.json names the ids for QLLaMA."""
    model = AutoModel.from_pretrained(folder)
    settings = model.generation_config
    assert (settings.bos_token_id, settings.eos_token_id, settings.pad_token_id) == (1, 2, 0)
    inputs = AutoProcessor.from_pretrained(folder)(images=pictures()[0], task="caption", return_tensors="pt")
    first = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert first.shape == (1, 6)
    settings.eos_token_id = first[0, 2].item()
    end = first[0].tolist().index(settings.eos_token_id)
    assert torch.equal(model.generate(**inputs, max_new_tokens=6, do_sample=False), first[:, : end + 1])
    model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).generation_config.eos_token_id == settings.eos_token_id


def test_the_snippet_of_the_page(folder, tmp_path, capsys):
    pictures()[0].save(tmp_path / "image.jpg")
    page = (Path(__file__).parent.parent / "docs" / "features-and-retrieval.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "InternVL-14B" in block]
    code = code.replace("OpenGVLab/InternVL-14B-224px", str(folder))
    exec(code.replace("image.jpg", str(tmp_path / "image.jpg")), {})  # noqa: S102
    probabilities, caption = capsys.readouterr().out.strip().split("\n", 1)
    assert probabilities.startswith("[[") and caption.startswith("['")


# --- halves ----------------------------------------------------------------------------------------------------------


def test_a_vision_only_folder_asked_for_text(tmp_path):
    vision = InternVLDualEncoderVisionModel.from_pretrained(FOLDER)
    vision.save_pretrained(tmp_path)
    shutil.copy(FOLDER / "preprocessor_config.json", tmp_path)
    inputs = AutoProcessor.from_pretrained(FOLDER)(images=pictures(), text=LABELS, return_tensors="pt")
    with pytest.raises(ValueError, match="no text encoder.*InternVLDualEncoderTextModel"):
        InternVLDualEncoderVisionModel.from_pretrained(tmp_path).get_text_features(inputs["input_ids"])
    with pytest.raises(ValueError, match="no text half: load InternVLDualEncoderVisionModel"):
        pipeline(TASK, model=str(tmp_path))
    with pytest.raises(OSError, match="no tokenizer"):
        AutoProcessor.from_pretrained(tmp_path)


@torch.no_grad()
def test_halves_are_called_with_what_the_processor_gives():
    processor, whole = AutoProcessor.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER).eval()
    inputs = processor(images=pictures(), text=LABELS, return_tensors="pt")
    outputs = whole(**inputs)
    image = InternVLDualEncoderVisionModel.from_pretrained(FOLDER).eval()(
        **processor(images=pictures(), return_tensors="pt")
    )
    text = InternVLDualEncoderTextModel.from_pretrained(FOLDER).eval()(**processor(text=LABELS, return_tensors="pt"))
    assert_same_results(image.pooler_output, outputs.vision_model_output.pooler_output)
    assert_same_results(text.pooler_output, outputs.text_model_output.pooler_output)


def test_images_that_do_not_fit_the_patches():
    processor, model = AutoProcessor.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER)
    inputs = processor(images=pictures(), text=LABELS, crop_size={"height": 40, "width": 42}, return_tensors="pt")
    with pytest.raises(ValueError, match="multiples of the patch size .*40 x 42"):
        model(**inputs)
    with pytest.raises(ValueError, match="`mode` must be one of InternVL-C, InternVL-G, got 'InternVL-X'"):
        model(**processor(images=pictures(), text=LABELS, return_tensors="pt"), mode="InternVL-X")
