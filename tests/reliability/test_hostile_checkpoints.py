# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Small files of a checkpoint that say what no file should: each ends in a `ValueError` or in what is right.

Each case runs in a fork with bounds of memory and of time.
"""

import json
import os
import resource
import shutil
import struct
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from tests.parity.golden import golden_root
from transformers_internvl import InternVLForConditionalGeneration, InternVLProcessor
from transformers_internvl.cli.names import checkpoint
from transformers_internvl.conversion.layouts.convert import convert_checkpoint
from transformers_internvl.hub.checkpoint_files import LARGEST_TEMPLATE, check_files

IMAGE = Image.new("RGB", (60, 40), (10, 20, 30))
NAN = float("nan")
ABSENT = {"height": "a", "width": "b"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    target = tmp_path_factory.mktemp("hostile") / "whole"
    convert_checkpoint(golden_root() / "chat_qwen2", target, "hf")
    return target


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "case")


def change(folder, name, part=None, **fields):
    path = folder / name
    settings = json.loads(path.read_text())
    (settings if part is None else settings[part]).update(fields)
    path.write_text(json.dumps(settings))


def prepare(folder):
    processor = InternVLProcessor.from_pretrained(folder)
    content = [{"type": "image", "image": IMAGE}, {"type": "text", "text": "hi"}]
    chat = [{"role": "user", "content": content}]
    inputs = processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
    assert torch.isfinite(inputs["pixel_values"]).all()


def generate(folder):
    model = AutoModelForImageTextToText.from_pretrained(folder)
    model.generate(input_ids=torch.tensor([[5, 6, 7]]), max_new_tokens=2)


def end_of(action, *arguments):
    """How an action ends in a fork that has 20 seconds, and 4 GiB more than it begins with."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (4 << 30),) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
            torch.set_num_threads(1)
            try:
                action(*arguments)
                said = "fine"
            except (ValueError, OSError) as error:
                said = f"refused: {error}"
            os.write(writing, said.encode(errors="replace")[:4000])
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"it ended with status {status}, not with a ValueError"
    return said


@pytest.mark.parametrize("part", ["image_processor", "video_processor"])
@pytest.mark.parametrize(
    "fields",
    [
        {"size": ABSENT},
        {"size": {"height": [28], "width": 28}},
        {"size": {"height": 28.5, "width": 28}},
        {"size": {"height": True, "width": 28}},
        {"size": "448"},
        {"image_mean": [[1, 2, 3]]},
        {"image_mean": {}},
        {"image_mean": [0.5] * 10},
        {"image_std": ["a", "b", "c"]},
        {"image_std": [0.5, 0.5, NAN]},
        {"rescale_factor": [1]},
        {"rescale_factor": 10**400},
        {"rescale_factor": True},
        {"resample": [3]},
        {"resample": 3.0},
        {"max_image_pixels": "x"},
        {"max_image_pixels": False},
        {"device": 5},
        {"backend": [1]},
        {"do_resize": "no"},
        {"do_normalize": 0},
        {"normalize_type": []},
        {"preprocess": 5},
        {"__class__": 5},
        {"__dict__": {}},
        {"valid_kwargs": 5},
        {"to_dict": 5},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_settings_of_processors(folder, part, fields):
    change(folder, "processor_config.json", part, **fields)
    (name,) = fields
    with pytest.raises(ValueError, match=f"`{name}`"):
        InternVLProcessor.from_pretrained(folder)


def test_settings_that_are_right(folder):
    change(folder, "processor_config.json", "image_processor", rescale_factor=1 / 127, resample=2, device="cpu")
    change(folder, "processor_config.json", "video_processor", fps=1, num_frames=None, size=[28, 56])
    processor = InternVLProcessor.from_pretrained(folder)
    assert processor.image_processor.rescale_factor == 1 / 127 and processor.image_processor.resample == 2
    assert dict(processor.video_processor.size) == {"height": 28, "width": 56} and processor.video_processor.fps == 1


DEEP = b'{"a":' * 10**5
FILES = ("config.json", "generation_config.json", "processor_config.json", "tokenizer_config.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"null", b'"x"', b"\xff\xfe", DEEP], ids=lambda c: repr(c[:8]))
@pytest.mark.parametrize("name", FILES)
def test_settings_that_are_no_object(folder, name, content):
    (folder / name).write_bytes(content)
    processor = "processor" in name or "token" in name
    load = (InternVLProcessor if processor else InternVLForConditionalGeneration).from_pretrained
    for action in (checkpoint, load):
        with pytest.raises(ValueError, match=name):
            action(str(folder))


def test_files_that_are_too_large(folder):
    template = folder / "chat_template.jinja"
    usual = template.read_text()
    template.write_text(usual + " " * (LARGEST_TEMPLATE - len(usual.encode())))
    check_files(folder)
    more = folder / "additional_chat_templates"
    more.mkdir()
    for path in (template, more / "x.jinja", folder / "config.json", folder / "tokenizer.json"):
        kept = path.read_bytes() if path.exists() else b""
        with path.open("wb") as file:
            file.truncate(10**8)  # a hole, which takes no room on disk
        for action in (checkpoint, prepare):
            assert f"{path.name} has 100000000 bytes" in end_of(action, str(folder))
        path.write_bytes(kept)


@pytest.mark.parametrize("value", ["x", [], {}])
def test_lengths_of_tokenizers(folder, value):
    change(folder, "tokenizer_config.json", model_max_length=value)
    with pytest.raises(ValueError, match=r"model_max_length` of .* must be a number"):
        InternVLProcessor.from_pretrained(folder)


def test_a_length_without_end(folder):
    change(folder, "tokenizer_config.json", model_max_length=10**30)
    assert end_of(prepare, folder) == "fine"


def header(folder, says, content=b"{}"):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", says) + content)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_beams": 10**9},
        {"num_beams": 0},
        {"num_beams": 2.5},
        {"num_return_sequences": 10_001},
        {"top_p": "x"},
        {"temperature": NAN},
        {"temperature": True},
        {"no_repeat_ngram_size": "x"},
        {"max_length": "x"},
        {"eos_token_id": {}},
        {"eos_token_id": NAN},
        {"eos_token_id": list(range(10_001))},
        {"pad_token_id": "x"},
        {"forced_eos_token_id": "x"},
        {"begin_suppress_tokens": "x"},
        {"prefill_chunk_size": 0},
        {"to_dict": 5},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_settings_of_generation(folder, fields):
    change(folder, "generation_config.json", **fields)
    (name,) = fields
    with pytest.raises(ValueError, match=f"`{name}` in .*generation_config.json"):
        InternVLForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize(
    "fields", [{"max_length": 10**18}, {"min_length": 10**18}, {"eos_token_id": [5, 6]}, {"num_beams": 3}], ids=str
)
def test_settings_of_generation_that_are_right(folder, fields):
    change(folder, "generation_config.json", **fields)
    assert end_of(generate, folder) == "fine"


@pytest.mark.parametrize("says", [99_000_000, 10**8 + 1, 2**63])
def test_weights_whose_header_is_long(folder, says):
    header(folder, says)
    assert "model.safetensors" in end_of(generate, folder)


def write_index(folder, places):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_an_index_of_many_files(folder):
    (folder / "model.safetensors").unlink()
    write_index(folder, {f"w{number}": f"f{number}.safetensors" for number in range(10_001)})
    assert "names 10001 files, at most 10000" in end_of(generate, folder)
    write_index(folder, {f"w{number}": f"f{number % 10_000}.safetensors" for number in range(10_001)})
    with pytest.raises(OSError, match="f0.safetensors"):  # looked for, and not there
        generate(folder)


def test_an_index_of_any_size(folder):
    with (folder / "model.safetensors.index.json").open("wb") as file:
        file.truncate(10**8)
    assert "has 100000000 bytes" in end_of(generate, folder)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 + 'a' }}",
        "{{ 5() }}",
        "{{ 'x'.join(5) }}",
        "{% for a, b in 5 %}{% endfor %}",
        "{{ {[]: 1} }}",
        "{{ messages|sum }}",
        "{{ 'x'|truncate(-5) }}",
    ],
)
def test_templates_that_mistake_a_type(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ValueError, match="chat template"):
        prepare(folder)
