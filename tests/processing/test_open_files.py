# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images given as paths: hundreds of them in one call hold no files open."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.llava import write_folder
from tests.parity.golden import golden_root
from transformers_internvl.evaluation.data import Item, ItemImages
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.sources import load_image, open_image
from transformers_internvl.training.data.samples import SampleEncoder

COUNT = 200


@contextmanager
def few_files_at_once():
    """At most 15 files more than are open now."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    highest = max(numbers)
    gaps = [os.dup(min(numbers)) for _ in range(highest + 1 - len(numbers))]  # a limit is one of numbers, not of files
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        for number in gaps:
            os.close(number)


def write(folder, ending, count=COUNT):
    """Small images of many values; those with several frames keep their file open in Pillow."""
    paths = []
    for index in range(count):
        picture = Image.fromarray(np.full((12, 12, 3), index, np.uint8))
        paths.append(str(folder / f"{index}.{ending}"))
        several = {"save_all": True, "append_images": [picture.rotate(90), Image.new("RGB", (12, 12), "red")]}
        picture.save(paths[-1], **(several if ending in ("gif", "tiff") else {}))
    return paths


@pytest.fixture(params=["png", "jpeg", "gif", "tiff"])
def paths(request, tmp_path):
    return write(tmp_path, request.param)


@pytest.mark.parametrize("kind", ["nano", "llava", "internvl_14b"])
def test_a_call_with_hundreds_of_paths(kind, paths, tmp_path):
    if kind == "llava":
        write_folder(tmp_path / "llava")
    folder = {"nano": nano_path(), "llava": tmp_path / "llava", "internvl_14b": golden_root() / kind}[kind]
    processor = AutoProcessor.from_pretrained(folder)
    options = {"return_tensors": "pt"}
    count = COUNT if kind != "llava" else 20
    expected = processor.image_processor([load_image(path).copy() for path in paths[:count]], **options)
    with few_files_at_once():
        if kind == "internvl_14b":
            found = processor(images=paths, **options)
            found = processor(images=paths, **options)
        else:
            found = processor.image_processor(paths[:count], **options)
            opened = [open_image(path) for path in paths]
            again = processor.image_processor(opened[:count], **options)
            assert torch.equal(again["pixel_values"], found["pixel_values"])
    if kind != "internvl_14b":  # whose processor drops alpha itself, and so on
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
    assert len(found["pixel_values"]) == count


def test_conversations_training_and_frames(tmp_path):
    paths = write(tmp_path, "png", 40)
    processor = AutoProcessor.from_pretrained(nano_path())
    messages = [
        {"role": "user", "content": [{"type": "image", "path": path} for path in paths]},
        {"role": "assistant", "content": "A"},
    ]
    with few_files_at_once():
        inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        sample = SampleEncoder(processor).messages(messages)
        clip = processor.video_processor([[paths]], return_tensors="pt")
    assert len(inputs["pixel_values"]) == len(sample["pixel_values"]) == len(clip["pixel_values_videos"][0]) == 40


def test_images_of_an_evaluation(paths):
    pictures = ItemImages([Item(path, None, "here") for path in paths])
    with few_files_at_once():
        held = [pictures[index] for index in range(COUNT)]
    assert all(np.asarray(picture.convert("RGB")).shape == (12, 12, 3) for picture in held)


def test_further_frames_can_still_be_read(tmp_path):
    (path,) = write(tmp_path, "tiff", 1)
    picture = load_image(path)
    picture.seek(2)
    assert picture.convert("RGB").getpixel((3, 3)) == (255, 0, 0)


def test_a_file_that_is_gone_or_broken_is_said(tmp_path):
    (path,) = write(tmp_path, "png", 1)
    processor = AutoProcessor.from_pretrained(nano_path()).image_processor
    picture = open_image(path)
    os.remove(path)
    with pytest.raises(FileNotFoundError, match="No such file"):
        processor(picture)
    Path(path).write_bytes(b"no picture")
    with pytest.raises(ValueError, match="Cannot open the image"):
        processor(path)
