# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""One processor and one model, used by eight threads at once, give what eight of them give, one for each thread."""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoProcessor, pipeline

from tests.parity.golden import golden_root
from tests.tiny import tiny_batch, tiny_model
from transformers_internvl import InternVLChatModel
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.images.image_processing_llava import InternVLLlavaImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.processor_llava import InternVLLlavaProcessor
from transformers_internvl.processing.tokenizers.dual_encoder import InternVLDualEncoderTokenizer
from transformers_internvl.processing.tokenizers.loading import load_tokenizer
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor

THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches():
    """Threads take turns as often as they can, so that a race shows."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def compare(make: Callable[[], Any], work: Callable[[Any, int], Any], count: int) -> None:
    """Each of `count` pieces of work, done by one object in eight threads, and by eight, each made for one thread.

    Args:
        make: makes the object from its files or its configuration.
        work: does a piece, given the object and the number of the piece.
        count: of pieces; thread `n` does every eighth from `n` on.
    """
    alone: dict[int, Any] = {}
    for thread in range(THREADS):
        own = make()
        alone |= {number: work(own, number) for number in range(thread, count, THREADS)}
    shared, together, start = make(), {}, Barrier(THREADS)

    def share(thread: int) -> None:
        start.wait()
        for number in range(thread, count, THREADS):
            together[number] = work(shared, number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(share, range(THREADS)))
    for number in range(count):
        assert alone[number] == together[number], f"piece {number}"


def test_dual_encoder_tokenizer():
    """Texts end with the end token, prompts do not, and each call pads and cuts as it was asked to."""
    calls = [
        {"add_eos_token": True},
        {"add_eos_token": False},
        {"padding": "max_length", "max_length": 40, "add_eos_token": False},
        {"truncation": True, "max_length": 6},
    ]

    def work(tokenizer: Any, number: int) -> Any:
        return tokenizer(["a red panda " * (1 + number % 3), "two"], **calls[number % len(calls)])["input_ids"]

    compare(lambda: InternVLDualEncoderTokenizer.from_pretrained(golden_root() / "internvl_14b"), work, 240)


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_internlm2", "chat_phi3"])
def test_processor(name):
    def make() -> InternVLProcessor:
        return InternVLProcessor.from_pretrained(golden_root() / name, size={"height": 28, "width": 28})

    def work(processor: Any, number: int) -> Any:
        picture = Image.new("RGB", (30 * (1 + number % 4), 40), (number, 0, 0))
        text = ["plain", "ends <|im_end|> here", "[UNUSED_TOKEN_146]"][number % 3] * (1 + number % 5)
        item = {"type": "image", "image": picture, "max_patches": 1 + number % 3}
        chat = [{"role": "user", "content": [item, {"type": "text", "text": text}]}]
        chats = [chat, [{"role": "user", "content": "short"}]]
        options = {"padding": number % 2 == 0, "return_tensors": None}
        inputs = processor.apply_chat_template(chats, tokenize=True, return_dict=True, processor_kwargs=options)
        pixels = np.stack([np.asarray(tile) for tile in inputs["pixel_values"]])
        return inputs["input_ids"], inputs["attention_mask"], pixels.tobytes()

    compare(make, work, 32)


def test_dual_encoder_processor():
    """Both tasks at once: texts to compare are padded on the right and end with the end token, prompts are not."""

    def work(processor: Any, number: int) -> Any:
        picture = Image.new("RGB", (30 + number % 5, 40), (number, 0, 0))
        task = ["compare", "caption"][number % 2]
        text = "a red panda" if task == "caption" else ["a " * (1 + number % 4), "two"]
        inputs = processor(images=picture, text=text, task=task)
        return inputs["input_ids"], inputs["attention_mask"], np.asarray(inputs["pixel_values"]).tobytes()

    compare(lambda: AutoProcessor.from_pretrained(golden_root() / "internvl_14b"), work, 64)


def test_llava_processor():
    def make() -> InternVLLlavaProcessor:
        return InternVLLlavaProcessor(
            InternVLLlavaImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
            load_tokenizer(golden_root() / "labels/tokenizers/llama"),
            image_seq_length=4,
            chat_template=get_chat_template("vicuna_v1"),
        )

    def work(processor: Any, number: int) -> Any:
        item = {"type": "image", "image": Image.new("RGB", (30 + number % 7, 40), (number, 0, 0))}
        text = ["plain", "</s> here", "ASSISTANT: no"][number % 3] * (1 + number % 5)
        chat = [{"role": "user", "content": [item, {"type": "text", "text": text}]}]
        inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True)
        return inputs["input_ids"], np.asarray(inputs["pixel_values"]).tobytes()

    compare(make, work, 32)


def test_video_processor():
    frames = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)

    def work(process: Any, number: int) -> Any:
        pixels = process(frames[: 10 + number], num_frames=1 + number % 8, return_tensors="np")["pixel_values_videos"]
        return pixels.tobytes()

    compare(lambda: InternVLVideoProcessor(size={"height": 8, "width": 8}), work, 48)


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
    """Logits, and generation without sampling, each second time on a static cache."""

    def work(model: Any, number: int) -> list:
        batch = tiny_batch([1 + number % 2], seed=number)
        cache = {"cache_implementation": "static"} if number % 4 > 1 else {}
        with torch.no_grad():
            ids = model.generate(**batch, **cache, max_new_tokens=3 + number % 3, do_sample=False)
            return [ids.tolist(), model(**batch).logits.sum().item()]

    compare(tiny_model, work, 16)


class SlowPositions(torch.Tensor):
    """Positions that let other threads in between the choice of a rotary table and its use."""

    def __getitem__(self, index: Any) -> torch.Tensor:
        sleep(0.001)
        return self.as_subclass(torch.Tensor)[index]


def rotations(model: Any, number: int) -> list[list]:
    """Of eight positions, or of more than Phi-3's short factors and InternLM2's base are for."""
    positions = torch.arange(300 if number % 2 else 8)[None].as_subclass(SlowPositions)
    with torch.no_grad():
        return [table.tolist() for table in model.language_model.rotary_emb(torch.zeros(1), positions)]


@pytest.mark.parametrize("name", ["chat_phi3_long", "chat_internlm2_dynamic_rope"])
def test_rotary_positions_of_long_and_short_texts(name):
    """Thread by thread the lengths alternate, so that a table that threads share would be the other one."""
    config = AutoConfig.from_pretrained(golden_root() / name)
    compare(lambda: InternVLChatModel(config).model.eval(), rotations, 16)


def test_chat():
    folder = golden_root() / "chat_qwen2"
    tokenizer = load_tokenizer(folder)

    def work(model: Any, number: int) -> Any:
        side = model.config.vision_config.image_size[0]
        pixels = torch.full((1 + number % 2, 3, side, side), number / 24)
        history = [("Hello", "Hi")] if number % 3 else None
        question = "<image>\n" + f"What is {number}? " * (1 + number % 4)
        options = {"max_new_tokens": 2 + number % 3, "do_sample": False}
        return model.chat(tokenizer, pixels, question, options, history, True)

    compare(lambda: InternVLChatModel.from_pretrained(folder), work, 24)


def test_pipeline():
    def work(pipe: Any, number: int) -> Any:
        picture = Image.new("RGB", (30 * (1 + number % 4), 40), (number, 0, 0))
        content = [{"type": "image", "image": picture}, {"type": "text", "text": "What? " * (1 + number % 4)}]
        chat = [{"role": "user", "content": content}]
        return pipe(text=chat, max_new_tokens=2 + number % 3, do_sample=False, return_full_text=False)

    compare(lambda: pipeline("image-text-to-text", model=str(golden_root() / "chat_qwen2")), work, 8)
