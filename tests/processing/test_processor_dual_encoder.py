# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The processor of InternVL-14B: the original pixels, inputs to compare and to caption, both layouts, errors."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, CLIPImageProcessorPil

from tests.parity.golden import golden_root
from transformers_internvl import InternVLDualEncoderProcessor, InternVLDualEncoderTokenizer

FOLDER = golden_root() / "internvl_14b"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def processor() -> InternVLDualEncoderProcessor:
    return AutoProcessor.from_pretrained(FOLDER)


def picture(width: int = 90, height: int = 60, mode: str = "RGB", seed: int = 0) -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)
    if mode == "P":
        return Image.fromarray(levels[..., 0]).convert("P")
    return Image.fromarray(levels.squeeze(-1) if bands == 1 else levels, mode)


def original_pixels(image: Image.Image, side: int) -> np.ndarray:
    """The shorter side to `side`, bicubic; the square in the middle; ImageNet's statistics. Pillow and arithmetic."""
    image = image.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    other = int(side * long / short)
    image = image.resize((side, other) if width <= height else (other, side), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    levels = np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.float64)
    return ((levels / 255 - MEAN) / STD).transpose(2, 0, 1)


# --- pixels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(90, 60), (20, 31), (42, 42), (7, 300)])
def test_pixels_are_the_original_ones(processor, mode, size):
    image = picture(*size, mode=mode)
    got = processor(images=image, return_tensors="np")["pixel_values"]
    assert got.shape == (1, 3, 42, 42) and got.dtype == np.float32
    np.testing.assert_allclose(got[0], original_pixels(image, 42), rtol=0, atol=1e-6)


def test_images_for_retrieval_are_squeezed(processor):
    """`build_transform("retrieval")` of the original benchmark: `Resize((side, side))`, no crop."""
    image = picture(90, 60)
    size = {"height": 42, "width": 42}
    got = processor(images=image, size=size, do_center_crop=False, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(
        got[0], original_pixels(image.resize((42, 42), Image.Resampling.BICUBIC), 42), rtol=0, atol=1e-6
    )


def test_transparent_pixels_keep_their_color(processor):
    """As `convert("RGB")` has it in the original code; transformers 5 would put them on white."""
    image = Image.new("RGBA", (50, 50), (10, 20, 30, 0))
    opaque = Image.new("RGB", (50, 50), (10, 20, 30))
    both = processor(images=[image, opaque, np.asarray(image)], return_tensors="pt")["pixel_values"]
    assert torch.equal(both[0], both[1]) and torch.equal(both[2], both[1])


def test_every_form_of_an_image_is_the_same_image(processor, tmp_path):
    image = picture()
    image.save(tmp_path / "a.png")
    levels = np.asarray(image)
    forms = [
        image,
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        levels,
        levels.transpose(2, 0, 1),
        torch.from_numpy(levels.transpose(2, 0, 1).copy()),
        levels / 255.0,
    ]
    pixels = processor(images=forms, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (7, 3, 42, 42)
    for one in pixels[1:]:
        assert torch.equal(one, pixels[0])
    stacked = torch.from_numpy(np.stack([levels, levels]).transpose(0, 3, 1, 2).copy())
    assert torch.equal(processor(images=stacked, return_tensors="pt")["pixel_values"], pixels[:2])


def test_values_and_layout_may_be_named(processor):
    levels = np.random.default_rng(0).integers(0, 256, (42, 42, 3), dtype=np.uint8)
    expected = processor(images=levels, return_tensors="pt")["pixel_values"]
    fractions = processor(images=levels / 255, do_rescale=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(fractions, expected, rtol=0, atol=1e-6)
    strip = np.random.default_rng(0).integers(0, 256, (3, 42, 3), dtype=np.uint8)  # rows and channels look alike
    by_rows, by_channels = (
        processor(images=strip, input_data_format=layout, return_tensors="pt")["pixel_values"]
        for layout in ("channels_last", "channels_first")
    )
    assert torch.equal(by_rows, processor(images=Image.fromarray(strip), return_tensors="pt")["pixel_values"])
    assert not torch.equal(by_rows, by_channels)


def test_orientation_marks_of_a_file_are_not_applied(processor, tmp_path):
    image, turned = picture(), Image.Exif()
    turned[0x0112] = 6
    image.save(tmp_path / "a.png", exif=turned)
    assert torch.equal(
        processor(images=tmp_path / "a.png", return_tensors="pt")["pixel_values"],
        processor(images=image, return_tensors="pt")["pixel_values"],
    )


def test_the_upstream_class_agrees(processor):
    """What `AutoImageProcessor` gives for the folder, and with it the pipelines, gives the same pixels."""
    stock = AutoImageProcessor.from_pretrained(FOLDER, backend="pil")
    assert type(stock) is CLIPImageProcessorPil
    images = [picture(90, 60), picture(31, 77)]
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(stock(images, return_tensors="pt")["pixel_values"], expected)


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_inputs_to_compare(processor):
    texts = ["a dog", "the red cat is here", "一只猫"]
    inputs = processor(images=[picture(), picture(seed=1)], text=texts, return_tensors="pt")
    assert sorted(inputs) == sorted(processor.model_input_names) == ["attention_mask", "input_ids", "pixel_values"]
    assert inputs["pixel_values"].shape == (2, 3, 42, 42) and inputs["pixel_values"].dtype == torch.float32
    expected = processor.tokenizer(texts, padding=True, return_tensors="pt")
    assert torch.equal(inputs["input_ids"], expected["input_ids"]) and inputs["input_ids"][0, -1] == 0
    assert torch.equal(inputs["attention_mask"], expected["attention_mask"])
    assert processor(text="a dog")["input_ids"] == processor.tokenizer("a dog")["input_ids"]
    assert list(processor(images=picture(), return_tensors="pt")) == ["pixel_values"]


def test_options_reach_their_part(processor):
    inputs = processor(
        images=picture(),
        text=["a"],
        padding="max_length",
        prefix="",
        add_eos_token=False,
        crop_size={"height": 28, "width": 14},
        return_tensors="pt",
    )
    assert inputs["pixel_values"].shape == (1, 3, 28, 14) and inputs["input_ids"].shape == (1, 80)
    assert inputs["input_ids"][0, :2].tolist() == processor.tokenizer("a", prefix="")["input_ids"][:2]
    assert 2 not in inputs["input_ids"]
    by_part = processor(text=["a"], text_kwargs={"prefix": ""}, return_tensors="pt")
    assert by_part["input_ids"].tolist() == [processor.tokenizer("a", prefix="")["input_ids"]]


def test_inputs_to_caption(processor):
    images = [picture(), picture(seed=1)]
    prompt = processor.tokenizer("English caption:", add_eos_token=False)["input_ids"]
    inputs = processor(images=images, task="caption", return_tensors="pt")
    assert inputs["input_ids"].tolist() == [prompt, prompt] and inputs["attention_mask"].all()
    assert inputs["pixel_values"].shape == (2, 3, 42, 42)
    one = processor(images=images, text="Chinese caption:", task="caption", return_tensors="pt")
    assert processor.batch_decode(one["input_ids"], skip_special_tokens=True) == ["Chinese caption:"] * 2
    own = processor(images=images, text=["English caption:", "a"], task="caption", return_tensors="pt")
    assert own["attention_mask"][:, -1].all() and not own["attention_mask"][1, 0]
    assert processor.batch_decode(own["input_ids"], skip_special_tokens=True) == ["English caption:", "a"]


# --- folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trust_remote_code", [None, False, True])
def test_both_layouts_give_the_classes(processor, tmp_path, trust_remote_code):
    options = {} if trust_remote_code is None else {"trust_remote_code": trust_remote_code}
    processor.save_pretrained(tmp_path / "alone")
    shutil.copytree(tmp_path / "alone", tmp_path / "whole")
    shutil.copy(FOLDER / "config.json", tmp_path / "whole")
    for folder in (FOLDER, tmp_path / "alone", tmp_path / "whole"):
        loaded = AutoProcessor.from_pretrained(folder, **options)
        assert type(loaded) is InternVLDualEncoderProcessor
        assert type(loaded.image_processor) is CLIPImageProcessorPil
        assert type(loaded.tokenizer) is type(AutoTokenizer.from_pretrained(folder, **options))
        assert type(loaded.tokenizer) is InternVLDualEncoderTokenizer
        mine = AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
        assert mine.to_dict() == loaded.image_processor.to_dict() == processor.image_processor.to_dict()


def test_what_is_saved_is_loaded_again(processor, tmp_path):
    processor.save_pretrained(tmp_path / "first")
    AutoProcessor.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    again = AutoProcessor.from_pretrained(tmp_path / "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == ["processor_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    call = {"images": picture(), "text": ["a dog </s>", "b"], "return_tensors": "pt"}
    for name, expected in processor(**call).items():
        assert torch.equal(again(**call)[name], expected)


def at_size(side: int, target, *, by: str):
    """The folder of a fine-tune at another size, which one file or the other knows."""
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(FOLDER / name, target / name)
    config = json.loads((FOLDER / "config.json").read_text())
    if by == "preprocessor_config":
        fields = json.loads((FOLDER / "preprocessor_config.json").read_text())
        (target / "preprocessor_config.json").write_text(json.dumps({**fields, "size": side, "crop_size": side}))
    elif by == "force_image_size":
        config["force_image_size"] = side
    else:
        config["vision_config"]["image_size"] = side
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("by", ["preprocessor_config", "force_image_size", "image_size"])
def test_the_size_of_fine_tunes(tmp_path, by):
    processor = AutoProcessor.from_pretrained(at_size(364, tmp_path, by=by))
    image = picture(500, 400)
    pixels = processor(images=image, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 3, 364, 364)
    np.testing.assert_allclose(pixels[0], original_pixels(image, 364), rtol=0, atol=1e-6)
    processor.save_pretrained(tmp_path / "saved")
    again = AutoProcessor.from_pretrained(tmp_path / "saved")
    assert np.array_equal(again(images=image, return_tensors="np")["pixel_values"], pixels)


def test_sizes_may_be_chosen_at_loading():
    processor = AutoProcessor.from_pretrained(
        FOLDER, size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    assert processor(images=picture(), return_tensors="np")["pixel_values"].shape == (1, 3, 28, 28)


def test_the_backend_is_pillow():
    processor = AutoProcessor.from_pretrained(FOLDER, backend="pil")
    assert processor.tokenizer.init_kwargs["backend"] == "tokenizers"
    with pytest.raises(ValueError, match="pixels are Pillow's"):
        AutoProcessor.from_pretrained(FOLDER, backend="torchvision")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        ({}, "Give `images`, `text`, or both"),
        ({"images": [], "text": "a"}, "at least one image"),
        ({"images": 5}, "flat list of images"),
        ({"images": [np.zeros((5, 5, 2), np.uint8)]}, "Image 0: .*channel"),
        ({"images": np.full((4, 4, 3), np.nan)}, "Image 0: .*not finite"),
        ({"images": picture(), "task": "answer"}, "`task` must be one of 'compare', 'caption', got 'answer'"),
        ({"text": []}, "at least one text"),
        ({"text": ["a", 5]}, "text 1 is of type int"),
        ({"text": ["a", "picture " * 80]}, "Text 1 has .* at most 80"),
        ({"text": "English caption:", "task": "caption"}, "needs `images`"),
        ({"images": [picture()] * 2, "text": ["a"], "task": "caption"}, "got 1 prompts for 2 images"),
        ({"images": picture(), "text": ["a", "b"], "task": "caption"}, "got 2 prompts for 1 images"),
        ({"images": picture(), "text": [], "task": "caption"}, "got 0 prompts for 1 images"),
        ({"images": picture(), "text": 5, "task": "caption"}, "got int"),
    ],
)
def test_what_does_not_fit(processor, call, message):
    with pytest.raises(ValueError, match=message):
        processor(**call)


def test_files_that_are_no_images(processor, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="Image 1: Cannot open the image"):
        processor(images=[picture(), tmp_path / "a.png"])
    picture().save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "b.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match="Image 1 cannot be decoded"):
        processor(images=[picture(), tmp_path / "c.png"])
    with pytest.raises(ValueError, match="Image 0: .*nowhere.png"):
        processor(images=tmp_path / "nowhere.png")


def test_a_folder_without_text_files(tmp_path):
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(FOLDER / name, tmp_path)
    with pytest.raises(OSError, match="no tokenizer"):
        AutoProcessor.from_pretrained(tmp_path)


def test_a_folder_that_names_no_size(tmp_path):
    folder = at_size(42, tmp_path, by="image_size")
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]["image_size"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="names no image size"):
        AutoProcessor.from_pretrained(folder)
