# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One processor and one model, used by eight threads at once, give what they give one after the other."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.processor_llava import InternVLLlavaProcessor
from transformers_internvl.processing.tokenization import load_tokenizer
from transformers_internvl.processing.tokenization_dual_encoder import InternVLDualEncoderTokenizer
from transformers_internvl.processing.video_processing import InternVLVideoProcessor

THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads take turns as often as they can, so that a race shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def compare(work: Callable[[int], Any], count: int) -> None:
    """Each of `count` pieces of work, in eight threads and in one."""
    alone = [work(number) for number in range(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(work, range(count)))
    for number, (expected, found) in enumerate(zip(alone, together, strict=True)):
        assert expected == found, f"piece {number}"


def test_dual_encoder_tokenizer():
    """Texts end with the end token, prompts do not, and each call pads and cuts as it was asked to."""
    tokenizer = InternVLDualEncoderTokenizer.from_pretrained(golden_root() / "internvl_14b")
    calls = [
        {"add_eos_token": True},
        {"add_eos_token": False},
        {"padding": "max_length", "max_length": 40, "add_eos_token": False},
        {"truncation": True, "max_length": 6},
    ]

    def work(number: int) -> Any:
        return tokenizer(["a red panda " * (1 + number % 3), "two"], **calls[number % len(calls)])["input_ids"]

    compare(work, 400)


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_phi3"])
def test_processor(name):
    processor = InternVLProcessor.from_pretrained(golden_root() / name)
    processor.image_processor.size = {"height": 28, "width": 28}

    def work(number: int) -> Any:
        picture = Image.new("RGB", (30 * (1 + number % 4), 40), (number, 0, 0))
        text = ["plain", "ends <|im_end|> here", "[UNUSED_TOKEN_146]"][number % 3] * (1 + number % 5)
        item = {"type": "image", "image": picture, "max_patches": 1 + number % 3}
        chat = [{"role": "user", "content": [item, {"type": "text", "text": text}]}]
        chats = [chat, [{"role": "user", "content": "short"}]]
        options = {"padding": number % 2 == 0, "return_tensors": None}
        inputs = processor.apply_chat_template(chats, tokenize=True, return_dict=True, processor_kwargs=options)
        pixels = np.stack([np.asarray(tile) for tile in inputs["pixel_values"]])
        return inputs["input_ids"], inputs["attention_mask"], pixels.tobytes()

    compare(work, 48)


def test_dual_encoder_processor():
    """Both tasks at once: texts to compare are padded on the right and end with the end token, prompts are not."""
    processor = AutoProcessor.from_pretrained(golden_root() / "internvl_14b")

    def work(number: int) -> Any:
        picture = Image.new("RGB", (30 + number % 5, 40), (number, 0, 0))
        task = ["compare", "caption"][number % 2]
        text = "a red panda" if task == "caption" else ["a " * (1 + number % 4), "two"]
        inputs = processor(images=picture, text=text, task=task)
        return inputs["input_ids"], inputs["attention_mask"], np.asarray(inputs["pixel_values"]).tobytes()

    compare(work, 64)


def test_llava_processor():
    processor = InternVLLlavaProcessor(
        InternVLLlavaImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        load_tokenizer(golden_root() / "labels/tokenizers/llama"),
        image_seq_length=4,
        chat_template=get_chat_template("vicuna_v1"),
    )

    def work(number: int) -> Any:
        item = {"type": "image", "image": Image.new("RGB", (30 + number % 7, 40), (number, 0, 0))}
        text = ["plain", "</s> here", "ASSISTANT: no"][number % 3] * (1 + number % 5)
        chat = [{"role": "user", "content": [item, {"type": "text", "text": text}]}]
        inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True)
        return inputs["input_ids"], np.asarray(inputs["pixel_values"]).tobytes()

    compare(work, 48)


def test_video_processor():
    process = InternVLVideoProcessor(size={"height": 8, "width": 8})
    frames = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)

    def work(number: int) -> Any:
        pixels = process(frames[: 10 + number], num_frames=1 + number % 8, return_tensors="np")["pixel_values_videos"]
        return pixels.tobytes()

    compare(work, 48)


def test_random_frames_are_frames_of_their_parts():
    """Without a generator of its own, a processor draws from a fresh one a call: threads share no state."""
    process = InternVLVideoProcessor(size={"height": 8, "width": 8}, sampling="rand")
    frames = np.zeros((64, 8, 8, 3), np.uint8)

    def work(number: int) -> list[int]:
        return process(frames, num_frames=8, return_metadata=True)["video_metadata"][0].frames_indices

    with ThreadPoolExecutor(THREADS) as pool:
        drawn = list(pool.map(work, range(32)))
    assert all(at // 8 == part for indices in drawn for part, at in enumerate(indices))
    assert len({tuple(indices) for indices in drawn}) > 1
    assert process.rng is None


def test_model():
    model = tiny_model()

    def work(number: int) -> list:
        batch = tiny_batch([1 + number % 2], seed=number)
        with torch.no_grad():
            ids = model.generate(**batch, max_new_tokens=4 + number % 3, do_sample=False)
            return [ids.tolist(), model(**batch).logits.sum().item()]

    compare(work, 24)
