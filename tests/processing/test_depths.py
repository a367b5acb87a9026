# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Fractions, masks and 16 bits show the image that its levels show, by every way in; other values are refused."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.llava import write_folder
from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor
from transformers_internvl.training.data.augmentation import RandomJpeg
from transformers_internvl.training.data.dataset import ChatDataset
from transformers_internvl.training.data.records import DataSet, TableRows
from transformers_internvl.training.data.samples import SampleEncoder

SIDE = 28
LEVELS = np.random.default_rng(0).integers(0, 256, (50, 75), dtype=np.uint8)
COLORED = np.random.default_rng(1).integers(0, 256, (50, 75, 3), dtype=np.uint8)
DEEP = LEVELS.astype(np.uint16) * 257  # 255 becomes 65535


def png(pixels: np.ndarray) -> Image.Image:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return Image.open(BytesIO(file.getvalue()))


def tiff(pixels: np.ndarray) -> Image.Image:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "TIFF")
    return Image.open(BytesIO(file.getvalue()))


def big_endian(pixels: np.ndarray) -> Image.Image:
    return Image.frombytes("I;16B", pixels.shape[::-1], pixels.astype(">u2").tobytes())


MASK = LEVELS > 127
GRAY = Image.fromarray(LEVELS).convert("RGB")
# What is given, and the image of 8 bits that it shows.
SAME = {
    "float32": ((COLORED / 255).astype(np.float32), COLORED),
    "float64": (COLORED / 255, COLORED),
    "float16": ((COLORED / 255).astype(np.float16), COLORED),
    "float levels": (COLORED.astype(np.float32), COLORED),
    "tensor": (torch.from_numpy(COLORED.copy()).permute(2, 0, 1) / 255, COLORED),
    "bfloat16": ((torch.from_numpy(COLORED // 2 * 2).permute(2, 0, 1) / 2).bfloat16() / 128, None),
    "whole fractions": (MASK[..., None].repeat(3, axis=2).astype(np.float32), MASK[..., None].repeat(3, 2) * 255),
    "mask": (MASK[..., None].repeat(3, axis=2), MASK[..., None].repeat(3, 2) * 255),
    "uint16": (DEEP[..., None].repeat(3, axis=2), GRAY),
    "uint16 levels": (COLORED.astype(np.uint16), COLORED),
    "uint16 tensor": (torch.from_numpy(DEEP[None].repeat(3, axis=0)), GRAY),
    "array of a PNG": (np.asarray(png(DEEP)).astype("uint16")[..., None], GRAY),
    "I;16 levels": (Image.fromarray(LEVELS.astype(np.uint16)), GRAY),
    "I levels": (Image.fromarray(LEVELS.astype(np.int32)), GRAY),
    "F": (Image.fromarray((LEVELS / 255).astype(np.float32)), GRAY),
    "F levels": (Image.fromarray(LEVELS.astype(np.float32)), GRAY),
}
SAME["bfloat16"] = (
    SAME["bfloat16"][0],
    np.rint(SAME["bfloat16"][0].float().numpy() * 255).astype(np.uint8).transpose(1, 2, 0),
)
CASES = [pytest.param(given, shown, id=name) for name, (given, shown) in SAME.items()]


def shown_as(picture) -> Image.Image:
    return picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture, np.uint8))


def same_levels(one, other):
    """Equal but for rounding: float16 keeps 11 bits."""
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(other), rtol=0, atol=1.01 / 255 / 0.224)


@pytest.mark.parametrize(("given", "shown"), CASES)
@pytest.mark.parametrize(
    "options", [{}, {"backend": "torch"}, {"crop_to_patches": False, "pad2square": True}], ids=str
)
def test_images(given, shown, options):
    processor = InternVLImageProcessor(size=SIDE, **options)
    expected = processor(shown_as(shown), return_tensors="pt")["pixel_values"]
    same_levels(processor(given, return_tensors="pt")["pixel_values"], expected)


@pytest.mark.parametrize(("given", "shown"), CASES)
def test_images_as_they_are(given, shown):
    """Without resizing fractions keep their digits."""
    processor = InternVLImageProcessor(do_resize=False, crop_to_patches=False, pad2square=True)
    expected = processor(shown_as(shown), return_tensors="pt")["pixel_values"]
    same_levels(processor(given, return_tensors="pt")["pixel_values"], expected)


def test_fractions_are_not_rescaled_twice_and_not_rounded_without_need():
    fractions = np.random.default_rng(0).random((3, 20, 30), dtype=np.float32)
    processor = InternVLImageProcessor(do_resize=False, crop_to_patches=False, do_normalize=False)
    for do_rescale in (True, False):
        values = processor(fractions, do_rescale=do_rescale, return_tensors="np")["pixel_values"][0]
        np.testing.assert_array_equal(values, fractions)


@pytest.mark.parametrize(("given", "shown"), CASES)
def test_frames(given, shown):
    processor = InternVLVideoProcessor(size=SIDE)
    expected = processor([shown_as(shown)] * 2, return_tensors="pt")["pixel_values_videos"]
    same_levels(processor([given] * 2, return_tensors="pt")["pixel_values_videos"], expected)


@pytest.mark.parametrize("dtype", ["float32 fractions", "float32 levels", "uint16", "uint16 levels"])
def test_dark_frames_belong_to_their_video(dtype):
    """A frame of a fade-in says nothing about what is white; its video does."""
    levels = np.stack([np.zeros_like(COLORED), COLORED % 2, COLORED])
    scale, kind = {
        "float32 fractions": (1 / 255, np.float32),
        "float32 levels": (1, np.float32),
        "uint16": (257, np.uint16),
        "uint16 levels": (1, np.uint16),
    }[dtype]
    video = (levels * np.float64(scale)).astype(kind)
    processor = InternVLVideoProcessor(size=SIDE)
    expected = processor(levels, return_tensors="pt")["pixel_values_videos"]
    for given in (video, list(video), torch.from_numpy(video)):
        got = processor(given, return_tensors="pt")["pixel_values_videos"]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def dual_encoder():
    return AutoProcessor.from_pretrained(golden_root() / "internvl_14b")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava")
    write_folder(folder)
    return AutoProcessor.from_pretrained(folder)


@pytest.mark.parametrize(("given", "shown"), CASES)
@pytest.mark.parametrize("kind", ["dual_encoder", "llava", "llava without padding"])
def test_other_processors(given, shown, kind, dual_encoder, llava):
    options = {"do_pad": False} if kind == "llava without padding" else {}
    process = llava.image_processor if kind.startswith("llava") else lambda images, **o: dual_encoder(images, **o)
    together = process([given, shown_as(shown)], return_tensors="pt", **options)["pixel_values"]
    same_levels(together[0], together[1])
    fractions = process([given], return_tensors="pt", do_normalize=False, **options)["pixel_values"]
    assert fractions.min() >= 0 and 0.5 < fractions.max() <= 1


def test_fractions_without_rescaling_stay_fractions_in_other_processors(dual_encoder, llava):
    given = (COLORED / 255).astype(np.float32)
    for process in (llava.image_processor, lambda images, **options: dual_encoder(images, **options)):
        expected = process([COLORED], return_tensors="pt")["pixel_values"]
        got = process([given], do_rescale=False, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("augment", [False, True])
def test_training_rows(augment):
    processor = InternVLProcessor.from_pretrained(golden_root() / "chat_qwen2")
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "Yes"}]

    def pixels(picture):
        rows = TableRows("t", [{"image": picture, "conversations": turns}])
        data = ChatDataset([DataSet("t", rows, augment=augment)], SampleEncoder(processor))
        return data[0]["pixel_values"]

    expected = pixels(GRAY)
    for name in ("uint16", "F"):
        same_levels(pixels(SAME[name][0]), expected)
    same_levels(pixels((np.asarray(GRAY) / 255).astype(np.float32)), expected)


def test_random_jpeg_takes_fractions():
    plain = InternVLImageProcessor(size=56)
    expected = RandomJpeg(plain, 0)([COLORED])["pixel_values"]
    torch.testing.assert_close(RandomJpeg(plain, 0)([COLORED / 255])["pixel_values"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "picture",
    [Image.fromarray(DEEP), png(DEEP), tiff(DEEP), big_endian(DEEP), Image.fromarray(DEEP.astype(np.int32) - 300)],
    ids=["memory", "PNG", "TIFF", "I;16B", "I"],
)
def test_sixteen_bits_of_pillow_are_cut_off_as_the_original_code_does_but_not_in_silence(picture, dual_encoder, llava):
    """The reference data has such an image: `convert("RGB")` makes it white."""
    as_the_original = picture.convert("RGB")
    for process in (
        InternVLImageProcessor(size=SIDE),
        InternVLVideoProcessor(size=SIDE),
        llava.image_processor,
        lambda images, **options: dual_encoder(images, **options),
    ):
        expected = next(iter(process([as_the_original], return_tensors="pt").values()))
        with pytest.warns(UserWarning, match="has values from .* those above 255 become white"):
            got = next(iter(process([picture], return_tensors="pt").values()))
        assert torch.equal(got, expected)


def test_the_drawing_of_inspect_warns_too(tmp_path, capsys):
    Image.fromarray(DEEP).save(tmp_path / "a.png")
    words = ["inspect", str(tmp_path / "a.png"), "--model", str(golden_root() / "chat_qwen2")]
    with pytest.warns(UserWarning, match="those above 255 become white"):
        assert main([*words, "--output", str(tmp_path / "cut.png")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (DEEP.astype(np.int32), r"values from 0 to 65535 \(int32\).*16 bits as uint16"),
        (DEEP.astype(np.float32), r"values from 0.0 to 65535.0 \(float32\)"),
        (Image.fromarray(np.full((20, 30), np.nan, np.float32)), "values that are not finite"),
        (COLORED / 255 * 2 - 1, r"values from -1"),
        (COLORED * (1 + 0j), "values of type complex128; expected numbers"),
    ],
    ids=["int32", "float32", "F", "around 0", "complex"],
)
def test_other_values_are_refused(bad, message, dual_encoder, llava):
    if not isinstance(bad, Image.Image) and bad.ndim == 2:
        bad = bad[..., None].repeat(3, axis=2)
    with pytest.raises(ValueError, match=f"Image 0: has {message}"):
        InternVLImageProcessor(size=SIDE)(bad)
    with pytest.raises(ValueError, match=f"Video 0: frame 0: has {message}"):
        InternVLVideoProcessor(size=SIDE)([bad])
    with pytest.raises(ValueError, match=f"Image 0: has {message}"):
        dual_encoder(bad)
    with pytest.raises(ValueError, match=f"Image 0: has {message}"):
        llava.image_processor(bad)
