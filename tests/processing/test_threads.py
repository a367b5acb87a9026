# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from tests.forked import TRANSFORMERS
from transformers_internvl.processing.images.image_processing import BACKENDS, InternVLImageProcessor
from transformers_internvl.processing.threads import run_all, thread_count


@pytest.fixture
def threads():
    """Sets the number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def picture(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


SIZES = [(28, 28), (90, 60), (61, 300), (500, 31), (400, 700)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_number_of_threads_does_not_show(backend, threads):
    process = InternVLImageProcessor(size=28, backend=backend)
    pictures = [picture(*size) for size in SIZES]
    threads(1)
    expected = process(pictures, return_tensors="pt")["pixel_values"]
    for count in (2, 3, 5):
        threads(count)
        assert torch.equal(process(pictures, return_tensors="pt")["pixel_values"], expected)
        assert torch.get_num_threads() == count


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_processor_serves_eight_threads(backend, threads):
    threads(2)
    process = InternVLImageProcessor(size=28, backend=backend)
    pictures = [picture(*size) for size in SIZES] * 4
    expected = [process(one, return_tensors="pt")["pixel_values"] for one in pictures]
    with ThreadPoolExecutor(8) as users:
        found = list(users.map(lambda one: process(one, return_tensors="pt")["pixel_values"], pictures))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_inference_mode(backend, threads):
    threads(2)
    process = InternVLImageProcessor(size=28, backend=backend)
    with torch.inference_mode():
        pixels = process(picture(90, 60), return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels, process(picture(90, 60), return_tensors="pt")["pixel_values"])


def test_the_first_error_is_raised_after_all_have_run(threads):
    threads(2)
    ran = []

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_all([fail, lambda: ran.append(1), lambda: ran.append(2)])
    assert sorted(ran) == [1, 2]


def test_torch_stays_on_one_thread_within_and_keeps_its_number_elsewhere(threads):
    threads(3)
    assert thread_count() == 3
    within = []
    run_all([lambda: within.append(torch.get_num_threads())] * 6)
    assert within == [1] * 6
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_starts_its_own():
    """As with workers of a DataLoader: those of the parent do not exist there."""
    code = """
import os, torch
from transformers_internvl.processing.threads import run_all
torch.set_num_threads(2)
run_all([lambda: None] * 4)
child = os.fork()
if child == 0:
    ran = []
    run_all([lambda: ran.append(1)] * 4)
    os._exit(0 if len(ran) == 4 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    TRANSFORMERS.run(code)
