# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoProcessor, PreTrainedConfig
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from tests.parity.golden import golden_root
from transformers_internvl.processing.images import resampling
from transformers_internvl.processing.images.image_processing import NORMALIZE_TYPES, InternVLImageProcessor
from transformers_internvl.processing.images.pixels import Unit, scale_and_shift
from transformers_internvl.processing.images.resampling import Target, resize_by_torch, resize_like_pillow
from transformers_internvl.processing.images.tiling import select_grid, tile_boxes

SIDE = 28


def picture(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels).convert(mode)


@pytest.fixture
def processor() -> InternVLImageProcessor:
    return InternVLImageProcessor(size=SIDE)


@pytest.fixture
def to_levels() -> InternVLImageProcessor:
    return InternVLImageProcessor(size=SIDE, do_rescale=False, do_normalize=False)


# --- resampling ---


@pytest.fixture(params=[1, 3])
def threads(request):
    """As many threads of torch, among which the passes are split."""
    usual = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(usual)


@pytest.mark.parametrize("resample", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
def test_resizing_is_pillows_to_the_bit(resample, threads):
    """Over sizes up and down, one way and both ways, noise and hard edges; torch within two levels."""
    generator = np.random.default_rng(7)
    for trial in range(60):
        width, height = (int(side) for side in np.exp(generator.uniform(0, np.log(300), 2)))
        columns, rows = (int(count) for count in generator.integers(1, 4, 2))
        side = int(generator.integers(8, 40))
        levels = generator.integers(0, 256, (3, height, width), dtype=np.uint8)
        if trial % 3 == 0:
            levels = np.where(levels > 127, 255, 0).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
        canvas = np.asarray(image.resize((columns * side, rows * side), resample))
        expected = canvas.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3)

        exact = Target(torch.zeros(expected.shape, dtype=torch.uint8))
        resize_like_pillow(levels, [exact], None, resample)
        np.testing.assert_array_equal(exact.tiles.numpy(), expected)
        if resample != Image.Resampling.LANCZOS:
            fast = Target(torch.zeros(expected.shape, dtype=torch.uint8))
            resize_by_torch(torch.from_numpy(levels), [fast], None, resample)
            assert np.abs(fast.tiles.numpy().astype(int) - expected).max() <= 2


def test_values_are_pillows_levels_scaled_and_shifted_to_the_bit(threads, monkeypatch):
    """Random sizes, odd ones too, in strips of a few lines: the bits of whole canvases, cut and then normalized."""
    monkeypatch.setattr(resampling, "_STRIP", 5_000)
    processor = InternVLImageProcessor(size=SIDE)
    generator = np.random.default_rng(11)
    steps = scale_and_shift(3, Unit(), True, 1 / 255, True, processor.image_mean, processor.image_std)
    scale, shift = (torch.tensor(values)[:, None, None] for values in steps)
    sizes = [tuple(int(side) for side in np.exp(generator.uniform(1, np.log(400), 2))) for _ in range(40)]
    for width, height in [*sizes, (SIDE, SIDE), (3 * SIDE, 2 * SIDE)]:
        image = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        columns, rows = select_grid(width, height, tile_size=SIDE)
        canvas = image.resize((columns * SIDE, rows * SIDE))
        cut = [canvas.crop(box) for box in tile_boxes(columns, rows, SIDE)]
        cut += [image.resize((SIDE, SIDE))] if len(cut) > 1 else []
        levels = torch.from_numpy(np.stack([np.asarray(tile) for tile in cut])).permute(0, 3, 1, 2)
        expected = levels.float() * scale + shift
        assert torch.equal(processor(image, return_tensors="pt")["pixel_values"], expected), (width, height)


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channels_are_resized_one_by_one(channels, threads):
    """None of them is alpha, by which Pillow would weigh the others."""
    levels = np.random.default_rng(channels).integers(0, 256, (channels, 30, 50), dtype=np.uint8)
    target = Target(torch.zeros(1, 2, channels, 16, 16))
    resize_like_pillow(levels, [target], ([2.0] * channels, list(range(channels))))
    for index, channel in enumerate(levels):
        canvas = np.asarray(Image.fromarray(channel).resize((32, 16), Image.Resampling.BICUBIC))
        expected = 2.0 * canvas.reshape(16, 2, 16).transpose(1, 0, 2) + index
        np.testing.assert_array_equal(target.tiles[0, :, index].numpy(), expected)


def test_images_and_their_arrays_become_the_same_tiles(threads):
    image = picture(150, 90)
    processor = InternVLImageProcessor(size=SIDE)
    for options in ({}, {"crop_to_patches": False}, {"do_rescale": False, "do_normalize": False}):
        tiles = processor(image, return_tensors="pt", **options)["pixel_values"]
        again = processor(np.asarray(image), return_tensors="pt", **options)["pixel_values"]
        assert tiles.dtype == again.dtype and torch.equal(tiles, again)


@pytest.mark.parametrize("name", NORMALIZE_TYPES)
def test_one_scale_and_shift_equals_the_three_steps(name):
    """Every level of every channel: (x / 255 - mean) / std within 1e-6."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, None], 3, axis=0).reshape(3, 16, 16)
    processor = InternVLImageProcessor(size=16, crop_to_patches=False, normalize_type=name)
    pixels = processor(levels, input_data_format="channels_first", return_tensors="pt")["pixel_values"][0]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in NORMALIZE_TYPES[name])
    torch.testing.assert_close(pixels, (torch.from_numpy(levels).float() / 255 - mean) / std, rtol=0, atol=1e-6)


# --- tiles, thumbnails, budgets ---


def test_tiles_are_the_cut_canvas_and_the_thumbnail_is_last(to_levels):
    image = picture(90, 60)
    tiles = to_levels(image, return_tensors="np")["pixel_values"]
    canvas = np.asarray(image.resize((3 * SIDE, 2 * SIDE))).transpose(2, 0, 1)
    assert tiles.shape == (7, 3, SIDE, SIDE)
    np.testing.assert_array_equal(tiles[4], canvas[:, SIDE:, SIDE : 2 * SIDE])
    np.testing.assert_array_equal(tiles[6], np.asarray(image.resize((SIDE, SIDE))).transpose(2, 0, 1))


def test_agrees_with_upstream_where_upstream_is_exact():
    image = picture(150, 61)
    options = {"size": {"height": SIDE, "width": SIDE}, "crop_to_patches": True, "max_patches": 6}
    stock = GotOcr2ImageProcessorPil(**options, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.1])
    ours = InternVLImageProcessor(**options, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.1])
    theirs, mine = (each([image, image.rotate(90, expand=True)], return_tensors="pt") for each in (stock, ours))
    assert set(mine) == set(theirs)
    assert mine["num_patches"].tolist() == theirs["num_patches"].tolist()
    torch.testing.assert_close(mine["pixel_values"], theirs["pixel_values"], rtol=0, atol=2e-6)
    for height, width in ((61, 150), (10, 900), (500, 500)):
        assert ours.get_number_of_image_patches(height, width) == stock.get_number_of_image_patches(height, width)


def test_budget_is_shared_within_a_sample():
    images = [picture(120, 30, seed) for seed in range(3)]
    shared = InternVLImageProcessor(size=SIDE, max_patches=12, share_tile_budget=True)
    assert shared([images, images[:1]])["num_patches"] == [5, 5, 5, 5]
    shared.max_patches = 6
    assert shared([images, images[:1]])["num_patches"] == [3, 3, 3, 5]
    assert shared(images)["num_patches"] == [3, 3, 3]  # a flat list is one sample
    assert shared.get_number_of_image_patches(30, 120, {"n_images": 3}) == 3
    assert shared.get_number_of_image_patches(30, 120) == 5
    assert InternVLImageProcessor(size=SIDE, max_patches=6)([images, images[:1]])["num_patches"] == [5] * 4


def test_count_without_pixels_is_the_count_with(processor):
    for options in ({}, {"max_patches": 4}, {"use_thumbnail": False}, {"min_patches": 3}, {"crop_to_patches": False}):
        for width, height in ((90, 60), (28, 28), (5, 200)):
            counted = processor.get_number_of_image_patches(height, width, options)
            assert processor(picture(width, height), **options)["num_patches"] == [counted]


def test_pad2square_centres_on_the_mean_color(to_levels):
    white = Image.new("RGB", (40, 20), "white")
    tile = to_levels(white, crop_to_patches=False, pad2square=True, size=40, return_tensors="np")["pixel_values"][0]
    assert tile[:, 0, 0].tolist() == [int(255 * mean) for mean in NORMALIZE_TYPES["imagenet"][0]]
    assert (tile[:, 10:30] == 255).all()
    tiled = to_levels(white, pad2square=True, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(tiled, to_levels(white, return_tensors="np")["pixel_values"])


def test_grids_only_when_asked(processor):
    images = [picture(90, 60), picture(28, 28)]
    assert "grids" not in processor(images)
    assert processor(images, return_grid=True, return_tensors="pt")["grids"] == [(3, 2), (1, 1)]


def test_outputs_without_resizing(to_levels):
    tiles = to_levels([picture(9, 7), picture(5, 6)], do_resize=False, crop_to_patches=False)["pixel_values"]
    assert [tuple(tile.shape) for tile in tiles] == [(3, 7, 9), (3, 6, 5)]
    np.testing.assert_array_equal(tiles[0].numpy(), np.asarray(picture(9, 7)).transpose(2, 0, 1))
    with pytest.raises(ValueError, match="different shapes"):
        to_levels([picture(9, 7), picture(5, 6)], do_resize=False, crop_to_patches=False, return_tensors="pt")


# --- kinds of input ---


def test_all_kinds_of_input_are_alike(processor, tmp_path):
    image = picture(75, 50)
    image.save(tmp_path / "a.png")
    encoded = base64.b64encode((tmp_path / "a.png").read_bytes()).decode()
    array = np.asarray(image)
    kinds = {
        "path": tmp_path / "a.png",
        "text path": str(tmp_path / "a.png"),
        "base64": encoded,
        "data uri": f"data:image/png;base64,{encoded}",
        "last": array,
        "first": array.transpose(2, 0, 1),
        "tensor": torch.from_numpy(array.copy()).permute(2, 0, 1),
        "integers": array.astype(np.int64),
    }
    expected = processor(image, return_tensors="pt")["pixel_values"]
    for kind, given in kinds.items():
        assert torch.equal(processor(given, return_tensors="pt")["pixel_values"], expected), kind
    fractions = processor((array / 255).astype(np.float32), do_rescale=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(fractions, expected, rtol=0, atol=1e-6)
    assert processor([[image], [], [image, image]])["num_patches"] == [7, 7, 7]


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_modes_become_rgb_as_pillow_converts(to_levels, mode):
    image = picture(SIDE, SIDE, mode="L").convert("I;16") if mode == "I;16" else picture(SIDE, SIDE, mode=mode)
    tile = to_levels(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(tile, np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def test_orientation_tags_and_alpha_are_ignored(to_levels, tmp_path):
    image = picture(56, 28)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    grids = to_levels(tmp_path / "turned.png", return_grid=True)["grids"]
    assert grids == [(2, 1)]
    seen_through = picture(SIDE, SIDE)
    seen_through.putalpha(0)
    tile = to_levels(seen_through, return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(tile, np.asarray(picture(SIDE, SIDE)).transpose(2, 0, 1))


def test_more_channels_without_conversion(processor):
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    options = {"do_convert_rgb": False, "image_mean": [0.0] * 4, "image_std": [1.0] * 4, "return_tensors": "pt"}
    assert processor(levels, **options)["pixel_values"].shape[1] == 4
    with pytest.raises(ValueError, match="Image 0: has 4 channels, but `image_mean`"):
        processor(levels, do_convert_rgb=False)


# --- state ---


def test_defaults_are_internvls():
    defaults = InternVLImageProcessor().to_dict()
    assert defaults["image_processor_type"] == "InternVLImageProcessor"
    assert defaults["size"] == {"height": 448, "width": 448}
    assert tuple(defaults["image_mean"]) == (0.485, 0.456, 0.406)
    assert (defaults["crop_to_patches"], defaults["use_thumbnail"], defaults["backend"]) == (True, True, "pil")
    assert (defaults["min_patches"], defaults["max_patches"]) == (1, 12)


def test_backend_is_state_and_argument(processor, tmp_path):
    image = picture(90, 60)
    fast = InternVLImageProcessor(size=SIDE, backend="torch", normalize_type="siglip")
    fast.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["backend"] == "torch"
    again = InternVLImageProcessor.from_pretrained(tmp_path)
    assert again.to_dict() == fast.to_dict()
    assert InternVLImageProcessor.from_pretrained(tmp_path, backend="pil").backend == "pil"
    one, other = (each(image, return_tensors="pt")["pixel_values"] for each in (fast, again))
    assert torch.equal(one, other)
    per_call = again(image, backend="pil", return_tensors="pt")["pixel_values"]
    exact = processor(image, normalize_type="siglip", return_tensors="pt")["pixel_values"]
    assert torch.equal(per_call, exact)
    assert not torch.equal(one, exact)
    assert again.backend == "torch"
    with pytest.raises(ValueError, match="backend"):
        InternVLImageProcessor(backend="numpy")


def test_auto_class_finds_it(tmp_path):
    class SomeConfig(PreTrainedConfig):
        model_type = "some_internvl_for_images"

    AutoImageProcessor.register(
        SomeConfig, image_processor_classes={"pil": InternVLImageProcessor, "torchvision": InternVLImageProcessor}
    )
    InternVLImageProcessor(size=SIDE, max_patches=5, backend="torch").save_pretrained(tmp_path)
    for options in ({}, {"backend": "pil"}, {"backend": "torchvision"}):
        loaded = AutoImageProcessor.from_pretrained(tmp_path, **options)
        assert type(loaded) is InternVLImageProcessor
        assert (loaded.max_patches, loaded.backend) == (5, "torch")


# --- errors ---


def broken_png() -> Image.Image:
    file = io.BytesIO()
    picture(64, 64).save(file, "PNG")
    return Image.open(io.BytesIO(file.getvalue()[:3000]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Image.new("RGB", (0, 5)), "has no pixels"),
        (np.zeros((0, 5, 3), dtype=np.uint8), "has no pixels"),
        (np.full((8, 8, 3), np.nan, dtype=np.float32), "not finite"),
        (np.full((8, 8, 3), np.inf), "not finite"),
        (np.full((8, 8, 3), 0.5) * 3, "expected whole levels"),
        (np.full((8, 8, 3), -1), "expected whole levels"),
        (np.zeros((8, 8, 5), dtype=np.uint8), "channel"),
        (broken_png(), "cannot be decoded"),
    ],
    ids=["empty", "empty array", "nan", "inf", "floats above 1", "negative", "channels", "cut off"],
)
def test_bad_images_are_named(processor, bad, message):
    with pytest.raises(ValueError, match=f"(?s)Image 1.*{message}"):
        processor([picture(20, 20), bad] if isinstance(bad, Image.Image) else [np.asarray(picture(20, 20)), bad])


def test_giant_images_are_refused_before_they_are_decoded(processor, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="Image 0: has 20 x 30 pixels, more than the 599 allowed"):
        processor(picture(20, 30), max_image_pixels=599)
    picture(20, 30).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="Cannot open the image.*decompression bomb"):
        processor(tmp_path / "bomb.png")


def test_bad_sources(processor, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match="Cannot open the image"):
        processor(tmp_path / "text.png")
    with pytest.raises(ValueError, match="Neither a file"):
        processor(str(tmp_path / "missing.png"))
    with pytest.raises(TypeError, match="Expected an image"):
        processor({"image": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_patches": 10_001}, "more than the 10000"),
        ({"min_patches": 7, "max_patches": 6}, "larger than"),
        ({"min_patches": 0}, "at least 1"),
        ({"normalize_type": "imagenet21k"}, "normalize_type"),
        ({"backend": "numpy"}, "backend"),
        ({"size": {"height": 28, "width": 56}}, "square"),
        ({"size": {"shortest_edge": 28}}, "height"),
        ({"data_format": "channels_last"}, "data_format"),
        ({"do_pad": True}, "do_pad"),
        ({"backend": "torch", "resample": Image.Resampling.LANCZOS}, "torch backend"),
    ],
)
def test_bad_options(processor, options, message):
    with pytest.raises(ValueError, match=message):
        processor(picture(30, 20), **options)


def test_cells_of_tables_and_bytes(processor, tmp_path):
    """An image column of `datasets` that is not decoded; also where a message carries the cell."""
    image = picture(75, 50)
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    expected = processor(image, return_tensors="pt")["pixel_values"]
    cells = [{"bytes": data, "path": None}, {"bytes": None, "path": str(tmp_path / "a.png")}, data]
    for given in (*cells, cells, [[cell] for cell in cells]):
        tiles = processor(given, return_tensors="pt")["pixel_values"]
        assert torch.equal(tiles[: len(expected)], expected)
    for bad in ({"bytes": None, "path": None}, [{"bytes": b"", "path": ""}]):
        with pytest.raises(ValueError, match="holds neither `bytes` nor a `path`"):
            processor(bad)
    with pytest.raises(ValueError, match="Cannot open the image"):
        processor({"bytes": b"no picture", "path": None})
    chats, dual = (AutoProcessor.from_pretrained(golden_root() / name) for name in ("chat_qwen2", "internvl_14b"))
    tiles = [
        chats.apply_chat_template(
            [{"role": "user", "content": [{"type": "image", "image": given}, {"type": "text", "text": "?"}]}],
            tokenize=True,
            return_dict=True,
        )["pixel_values"]
        for given in (image, *cells)
    ]
    pixels = [dual(images=given, return_tensors="pt")["pixel_values"] for given in (image, *cells, [cells[0]])]
    for found in (tiles, pixels):
        assert all(np.array_equal(np.asarray(each), np.asarray(found[0])) for each in found)
