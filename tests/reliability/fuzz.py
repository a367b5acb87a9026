# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Broken and hostile files: each ends in a result or a typed error, within a bound of time and memory.

`python -m tests.reliability.fuzz --cases 10000 --seed 0` mutates images, videos, configurations, tokenizer files,
index files, safetensors headers and conversations; input `n` of a seed is always the same one. The address space is
limited to 8 GiB, so that an allocation that should have been refused shows as a `MemoryError`.
"""

import argparse
import copy
import io
import json
import random
import signal
import struct
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError

from tests.parity.golden import golden_root
from transformers_internvl import InternVLChatConfig, InternVLConfig
from transformers_internvl.conversion.weight_streams import WeightStream
from transformers_internvl.modeling.loading import weight_places
from transformers_internvl.processing.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.sentencepiece_model import SentencePieceModel
from transformers_internvl.processing.sources import open_image
from transformers_internvl.processing.video_processing import InternVLVideoProcessor

SECONDS = 60  # for one input; a hang shows, a machine under load does not
MEMORY = 8 * 2**30
# What a caller expects: the errors of this package, of Hugging Face's validation, of templates and of safetensors.
TYPED = (ValueError, OSError, TypeError, StrictDataclassError, jinja2.TemplateError, SafetensorError)
NUMBERS = (0, -1, 1, 2**31, 2**63, 10**9, 10**30, 1e308, float("nan"), float("inf"), 0.1)
VALUES = (
    *NUMBERS,
    None,
    True,
    "",
    "x",
    "../../etc/passwd",
    "/etc/passwd",
    "\x00",
    "<|im_end|>",
    [],
    {},
    [[]],
    "9" * 5000,
)
TILE = {"height": 28, "width": 28}
QWEN2 = golden_root() / "chat_qwen2"


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled or overwritten with extremes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 1:
            del changed[at : at + rng.randrange(1, 40)]
        elif kind == 2:
            changed[at:at] = changed[at : at + rng.randrange(1, 40)]
        elif kind == 3:
            changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff"))
        else:
            del changed[at:]
    return bytes(changed)


def mutated_json(value: Any, rng: random.Random) -> Any:
    """One to four values, anywhere, replaced, removed, or nested deeply."""
    root = {"": copy.deepcopy(value)}
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder: Any = root
        key: Any = ""
        while isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.8:
            holder = holder[key]
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        kind = rng.randrange(10)
        if kind == 0 and holder is not root:
            del holder[key]
        elif kind == 1:
            for _ in range(rng.choice((3, 100))):
                holder[key] = {"text_config": holder[key]} if rng.random() < 0.5 else [holder[key]]
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        if not root.get(""):
            break
    return root.get("")


@lru_cache
def _pictures() -> tuple[bytes, ...]:
    levels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    files = []
    for kind, mode in (
        ("PNG", "RGB"),
        ("JPEG", "RGB"),
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "RGB"),
        ("WEBP", "RGB"),
    ):
        file = io.BytesIO()
        Image.fromarray(levels).convert(mode).save(file, kind)
        files.append(file.getvalue())
    return tuple(files)


@lru_cache
def _clip() -> bytes:
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 40 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@lru_cache
def _processor() -> InternVLProcessor:
    processor = InternVLProcessor.from_pretrained(QWEN2)
    processor.image_processor = InternVLImageProcessor(size=TILE)
    return processor


def _folder() -> Path:
    return Path(_scratch().name)


@lru_cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def picture(rng: random.Random) -> None:
    data = mutated_bytes(rng.choice(_pictures()), rng)
    InternVLImageProcessor(size=TILE)(open_image(data), max_image_pixels=2**22, return_tensors="pt")


def picture_request(rng: random.Random) -> None:
    names = ("max_patches", "min_patches", "max_image_pixels", "size", "image_mean", "resample", "rescale_factor")
    options = {rng.choice(names): rng.choice((*VALUES, TILE, {"height": 10**7, "width": 10**7})) for _ in range(2)}
    shape = rng.choice(((24, 30), (1, 10**6), (10**5, 2), (30, 30)))
    image = Image.new("L", shape)
    InternVLImageProcessor(size=TILE)(image, **options, return_tensors="pt")


def video(rng: random.Random) -> None:
    InternVLVideoProcessor(size=TILE)(mutated_bytes(_clip(), rng), max_image_pixels=2**22, return_tensors="pt")


def video_request(rng: random.Random) -> None:
    name = rng.choice(("num_frames", "fps", "bound", "sampling", "max_num_frames", "size"))
    value = rng.choice((*VALUES, (0, 10**9), (float("nan"), 1), (2, 1), 10**7))
    metadata = [{"fps": rng.choice((*NUMBERS, 5.0)), "total_num_frames": rng.choice((3, 10**9))}]
    frames = np.zeros((3, 30, 30, 3), np.uint8)
    InternVLVideoProcessor(size=TILE)(frames, **{name: value}, video_metadata=metadata, return_tensors="pt")


@lru_cache
def _configs() -> tuple[dict, ...]:
    names = ("chat_qwen2", "chat_internlm2", "chat_phi3", "chat_gpt_oss", "internvl_14b", "intern_vit_6b")
    files = [path for name in names for path in sorted((golden_root() / name).rglob("config.json"))]
    return tuple(json.loads(path.read_text()) for path in files)


def config(rng: random.Random) -> None:
    fields = mutated_json(rng.choice(_configs()), rng)
    if isinstance(fields, dict):
        cls = InternVLConfig if "qllama_config" in fields else InternVLChatConfig
        cls.from_dict(fields)


def sentencepiece(rng: random.Random) -> None:
    path = _folder() / "tokenizer.model"
    path.write_bytes(mutated_bytes((golden_root() / "chat_internlm2/tokenizer.model").read_bytes(), rng))
    SentencePieceModel.from_file(path).merges  # noqa: B018 (computes)


def index(rng: random.Random) -> None:
    good = {"metadata": {"total_size": 1}, "weight_map": {"a.weight": "a.safetensors", "b.weight": "b.safetensors"}}
    text = json.dumps(mutated_json(good, rng)).encode()
    path = _folder() / "model.safetensors.index.json"
    path.write_bytes(mutated_bytes(text, rng) if rng.random() < 0.3 else text)
    for name in sorted(set(weight_places(path).values())):
        if (path.parent / name).resolve().parent != path.parent.resolve():
            raise AssertionError(f"{name!r} leaves the folder")


def weights(rng: random.Random) -> None:
    header = {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
    text = json.dumps(header if rng.random() < 0.2 else mutated_json(header, rng)).encode()
    length = rng.choice((len(text), len(text), len(text), 2**63, 0, 10**9))
    data = struct.pack("<Q", length) + text + bytes(16)
    folder = _folder() / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(mutated_bytes(data, rng) if rng.random() < 0.5 else data)
    files = WeightStream(folder)
    for entry in files.entries.values():
        files.read(entry).sum()


def messages(rng: random.Random) -> None:
    image = Image.new("RGB", (30, 30))
    items = [{"type": "image", "image": image, "max_patches": 2}, {"type": "text", "text": "What is this?"}]
    good = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": items},
        {"role": "assistant", "content": "a"},
    ]
    changed = mutated_json(good, rng)
    _processor().apply_chat_template(changed, tokenize=True, return_dict=True, add_generation_prompt=True)


TARGETS: dict[str, Callable[[random.Random], None]] = {
    target.__name__: target
    for target in (picture, picture_request, video, video_request, config, sentencepiece, index, weights, messages)
}


def attempt(target: str, number: int, seed: int) -> str:
    """Run one input: "result", or the name of its typed error; other errors go through."""
    try:
        TARGETS[target](random.Random(f"{seed}/{target}/{number}"))
    except TYPED as error:
        return type(error).__name__
    return "result"


def _too_late(*_: Any) -> None:
    raise AssertionError(f"took more than {SECONDS} seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append", help="one kind of input; default: each")
    arguments = parser.parse_args()
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _too_late)
    targets, failures, started = arguments.target or list(TARGETS), Counter(), time.time()
    for target in targets:
        ends: Counter = Counter()
        for number in range(-(-arguments.cases // len(targets))):
            signal.alarm(SECONDS)
            try:
                ends[attempt(target, number, arguments.seed)] += 1
            except Exception as error:  # noqa: BLE001 (what is searched for)
                place = traceback.extract_tb(error.__traceback__)[-1]
                what = (
                    f"{target}: {type(error).__name__} at {place.filename.split('site-packages/')[-1]}:{place.lineno}"
                )
                failures[what] += 1
                if failures[what] == 1:
                    print(f"{what}, input {number}: {error!s:.200}", flush=True)
            finally:
                signal.alarm(0)
        print(f"{target}: {dict(ends.most_common())}", flush=True)
    print(f"{arguments.cases} inputs, seed {arguments.seed}, {time.time() - started:.0f} s; untyped: {dict(failures)}")
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
