# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Grids, tiles and pixels are the original ones: every record of the reference data, through the public class."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.parity.golden import golden_cases
from transformers_internvl.processing.images.image_processing import NORMALIZE_TYPES, InternVLImageProcessor
from transformers_internvl.processing.images.tiling import count_tiles, select_grid

CASES = golden_cases("preprocessing")
RECORDS = [(case, record) for case in CASES for record in json.loads((case / "images.json").read_text())]
GRID_TABLES = [(case, table) for case in CASES for table in json.loads((case / "grids.json").read_text())["tables"]]


def name_of(value) -> str:
    if not isinstance(value, dict):
        return value.name
    if "combos" in value:
        return f"side{value['image_size']}"
    params = value["params"]
    flags = [params["normalize"]] + ["pad2square"] * params["pad2square"]
    return f"{value['file']}-{params['input_size']}-{params['min_num']}-{params['max_num']}-" + "-".join(flags)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def arguments(params: dict) -> dict:
    common = {
        "size": {"height": params["input_size"], "width": params["input_size"]},
        "normalize_type": params["normalize"],
        "pad2square": params["pad2square"],
        "return_grid": True,
        "return_tensors": "pt",
    }
    if params["max_num"] is None:
        return {**common, "crop_to_patches": False}
    tiling = {"min_patches": params["min_num"], "max_patches": params["max_num"]}
    return {**common, **tiling, "use_thumbnail": params["use_thumbnail"]}


@pytest.mark.parametrize(("case", "table"), GRID_TABLES, ids=name_of)
def test_grids(case, table):
    sizes = json.loads((case / "grids.json").read_text())["sizes"][: table.get("first_sizes") or None]
    assert len(table["results"]) == len(sizes)
    wrong = []
    for (width, height), results in zip(sizes, table["results"], strict=True):
        for combo, (columns, rows, tiles) in zip(table["combos"], results, strict=True):
            limits = {
                "tile_size": table["image_size"],
                "min_tiles": combo["min_num"],
                "max_tiles": combo["max_num"],
            }
            grid = select_grid(width, height, **limits)
            count = count_tiles(width, height, **limits, use_thumbnail=combo["use_thumbnail"])
            if (*grid, count) != (columns, rows, tiles):
                wrong.append((width, height, combo, grid, count, (columns, rows, tiles)))
    assert not wrong


@pytest.mark.parametrize(("case", "record"), RECORDS, ids=name_of)
def test_images(case, record):
    path, params = case / "images" / record["file"], record["params"]
    with Image.open(path) as image:
        assert list(image.size) == record["source_size"]
        rgb = np.asarray(image.convert("RGB"))
    decoded_alike = sha256(rgb) == record["rgb_sha256"]
    # Only the decoder of lossy JPEGs may differ; then there are no reference tiles for what it made.
    if not decoded_alike:
        assert path.suffix == ".jpg", f"{path.name} was decoded to other pixels, though it is lossless"
        pytest.fail(f"{path.name}: this Pillow decodes JPEG to other pixels than the reference; install Pillow 13.0")

    options = arguments(params)
    levels = InternVLImageProcessor()(path, do_rescale=False, do_normalize=False, **options)
    assert levels["grids"] == [tuple(record["grid"] or (1, 1))]
    assert levels["num_patches"].tolist() == [record["num_tiles"]]
    assert levels["pixel_values"].dtype == torch.uint8
    hashes = [sha256(tile.permute(1, 2, 0).numpy()) for tile in levels["pixel_values"]]
    assert hashes == record["tile_uint8_sha256"]

    pixels = InternVLImageProcessor(**options)(path, return_tensors="pt")["pixel_values"]
    assert pixels.dtype == torch.float32
    assert list(pixels.shape) == record["pixel_values_shape"]
    for *place, value in record["samples"]:
        assert abs(pixels[tuple(place)].item() - value) <= 1e-6
    assert abs(pixels.double().mean().item() - record["pixel_values_mean"]) <= 1e-6
    assert abs(pixels.double().std().item() - record["pixel_values_std"]) <= 1e-5

    mean, std = (torch.tensor(value).view(3, 1, 1) for value in NORMALIZE_TYPES[params["normalize"]])
    expected = (levels["pixel_values"].float() / 255 - mean) / std
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("case", "record"), RECORDS, ids=name_of)
def test_torch_backend_is_within_two_levels(case, record):
    path, options = case / "images" / record["file"], arguments(record["params"])
    processor = InternVLImageProcessor(do_rescale=False, do_normalize=False)
    exact, fast = (processor(path, backend=backend, **options)["pixel_values"] for backend in ("pil", "torch"))
    assert exact.shape == fast.shape
    assert (exact.int() - fast.int()).abs().max() <= 2


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_example_tiles(case):
    paths = sorted((case / "example_tiles").glob("tile_*.png"))
    assert paths
    tiles = InternVLImageProcessor(size=112, max_patches=2, do_rescale=False, do_normalize=False)(
        case / "images" / "01_RGB_200x480.png", return_tensors="np"
    )["pixel_values"]
    expected = np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths])
    np.testing.assert_array_equal(tiles, expected)


@pytest.mark.parametrize("case", [case for case in CASES if (case / "example_56.safetensors").exists()], ids=name_of)
def test_example_tensor(case):
    expected = load_file(case / "example_56.safetensors")["pixel_values"]
    image = Image.open(case / "images" / "01_RGB_200x480.png")
    pixels = InternVLImageProcessor(size=56, max_patches=2)(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-6)
