# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Broken and hostile input of every kind, drawn by what plays `random.Random`: a seed, hypothesis, a fuzzer's bytes.

A target draws one input and runs it. It returns, raises one of `TYPED`, or has found a defect.
"""

import copy
import io
import json
import random
import struct
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import yaml
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers import GenerationConfig

from tests.clips import clip_bytes
from tests.parity.golden import golden_root
from transformers_internvl import InternVLChatConfig, InternVLConfig
from transformers_internvl.conversion.files.weight_streams import WeightStream
from transformers_internvl.conversion.lora.adapters import Adapter
from transformers_internvl.modeling.pretrained.loading import weight_places
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.sources import open_image
from transformers_internvl.processing.tokenizers.loading import added_token_ids, load_tokenizer
from transformers_internvl.processing.tokenizers.sentencepiece_model import SentencePieceModel
from transformers_internvl.processing.videos.video_processing import InternVLVideoProcessor
from transformers_internvl.training.data.records import read_meta
from transformers_internvl.training.run.options import read_options

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
# What a template tries: to get at Python, at the caller's messages, at files, at all the time there is.
HARMFUL = (
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ messages.append(messages) }}",
    "{{ raise_exception.__globals__.keys() }}",
    "{{ (''|attr('__class__')).mro() }}",
    "{{ '{0.__class__.__mro__}'.format('').x.y }}",
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% include '/etc/passwd' %}",
)
YAML_CODE = ("!!python/object/apply:os.getcwd []", "!!python/name:os.system", "&a [*a, *a]", "1e999", "2024-99-99")


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
def encoded_clip() -> bytes:
    return clip_bytes(range(0, 240, 40), size=(32, 32), rate=5)


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


def image_request(rng: random.Random) -> None:
    names = ("max_patches", "min_patches", "max_image_pixels", "size", "image_mean", "resample", "rescale_factor")
    options = {rng.choice(names): rng.choice((*VALUES, TILE, {"height": 10**7, "width": 10**7})) for _ in range(2)}
    shape = rng.choice(((24, 30), (1, 10**6), (10**5, 2), (30, 30)))
    image = Image.new("L", shape)
    InternVLImageProcessor(size=TILE)(image, **options, return_tensors="pt")


def video(rng: random.Random) -> None:
    InternVLVideoProcessor(size=TILE)(mutated_bytes(encoded_clip(), rng), max_image_pixels=2**22, return_tensors="pt")


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


def _written(name: str, files: dict[str, Any]) -> Path:
    """A folder of that name with these files, json where they are no bytes."""
    folder = _folder() / name
    folder.mkdir(exist_ok=True)
    for file, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / file).write_bytes(data)
    return folder


@lru_cache
def _read(path: str) -> Any:
    return json.loads((golden_root() / path).read_text(encoding="utf-8"))


def _spoiled(value: Any, rng: random.Random) -> Any:
    """Mutated as json, or after that as bytes as well."""
    changed = mutated_json(value, rng)
    return changed if rng.random() < 0.8 else mutated_bytes(json.dumps(changed).encode(), rng)


def tokenizer_files(rng: random.Random) -> None:
    """tokenizer.json, tokenizer_config.json and the two lists of added tokens: one or two of them broken."""
    files = {name: _read(f"labels/tokenizers/gptoss/{name}.json") for name in ("tokenizer", "tokenizer_config")}
    files["special_tokens_map"] = _read("labels/tokenizers/gptoss/special_tokens_map.json")
    files["added_tokens"] = {"<more>": 400}
    broken = {rng.choice(sorted(files)) for _ in range(2)}
    changed = {f"{name}.json": (_spoiled if name in broken else lambda v, _: v)(v, rng) for name, v in files.items()}
    folder = _written("tokenizer", changed)
    added_token_ids(folder)
    load_tokenizer(folder)("<|start|>user words <more>")


def processor_files(rng: random.Random) -> None:
    """Files of a processor, of either layout, generation_config.json among them: one of them broken."""
    names = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
    pixels = {"size": TILE, "max_patches": 4, "image_mean": [0.5] * 3, "do_rescale": True, "use_thumbnail": True}
    good = dict.fromkeys(names[:2], pixels) | {names[2]: {"image_seq_length": 4, "image_processor": pixels}}
    good["generation_config.json"] = {"eos_token_id": [1, 2], "max_new_tokens": 4, "temperature": 0.5}
    broken = rng.choice(sorted(good))
    folder = _written("processor", {**good, broken: _spoiled(good[broken], rng)})
    if broken == "generation_config.json":
        GenerationConfig.from_pretrained(folder)
        return
    for name in ("tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json", "config.json"):
        if not (folder / name).exists():
            (folder / name).write_bytes((QWEN2 / name).read_bytes())
    processor = InternVLProcessor.from_pretrained(folder)
    processor(images=Image.new("RGB", (30, 30)), text="<image> words", max_patches=2)


def template(rng: random.Random) -> None:
    """A chat template, cut and mixed with code that would do harm outside of the sandbox."""
    text = get_chat_template(rng.choice(sorted(TEMPLATES)))
    pieces = [text[at : at + 200] for at in range(0, len(text), 200)]
    for _ in range(rng.choice((1, 1, 2))):
        pieces[rng.randrange(len(pieces))] = rng.choice((*HARMFUL, "{%", "}}", "{{ messages }}", ""))
    chat = [{"role": "user", "content": "words"}]
    _processor().apply_chat_template(chat, chat_template="".join(pieces), tokenize=True, return_dict=True)


def adapter(rng: random.Random) -> None:
    """adapter_config.json and adapter_model.safetensors."""
    fields = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "alpha_pattern": {"x": 2}}
    fields |= {"rank_pattern": {}, "bias": "none", "base_model_name_or_path": "somewhere", "modules_to_save": None}
    header = {f"base_model.model.m.q_proj.lora_{ab}.weight": [[0, 16], [16, 32]][ab == "B"] for ab in "AB"}
    header = {name: {"dtype": "F32", "shape": [2, 2], "data_offsets": at} for name, at in header.items()}
    text = json.dumps(header if rng.random() < 0.5 else mutated_json(header, rng)).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(32)
    files = {"adapter_config.json": _spoiled(fields, rng), "adapter_model.safetensors": data}
    found = Adapter.from_pretrained(_written("adapter", files))
    for module in found.modules:
        found.alpha_of(module)


def training_row(rng: random.Random) -> None:
    """Lines of training data of each form, and the meta file that names them."""
    turns = [{"from": "human", "value": "<image>\nIt?"}, {"from": "gpt", "value": "<box>[[1, 2, 3, 4]]</box>"}]
    rows = [
        {"image": "a.png", "width": 3, "height": 4, "conversations": turns},
        {"video": "a.mp4", "clip": [0, 1], "conversations": [{**turns[0], "value": "<video>"}, turns[1]]},
        {"question": "<image>?", "image": "a.png", "chosen": "yes", "rejected": "no"},
        {"messages": [{"role": "user", "content": "words"}], "images": ["a.png"]},
    ]
    spoiled = _spoiled(rng.choice(rows), rng)
    line = (spoiled if isinstance(spoiled, bytes) else json.dumps(spoiled).encode()).replace(b"\n", b" ") + b"\n"
    folder = _written("rows", {"rows.jsonl": line})
    entry = {"root": str(folder), "annotation": str(folder / "rows.jsonl"), "data_augment": False, "repeat_time": 1}
    meta = {"one": entry} if rng.random() < 0.5 else mutated_json({"one": entry}, rng)
    _written("rows", {"meta.json": meta})
    for chosen in read_meta(folder / "meta.json"):
        for number in range(len(chosen.rows)):
            chosen.rows[number]  # noqa: B018 (reads)


def training_options(rng: random.Random) -> None:
    """The YAML file of a training run."""
    fields = {"recipe": "internvl2.5-8b-lora", "model": "m", "data": "d.jsonl", "learning_rate": 1e-4, "max_steps": 3}
    fields |= {"bf16": False, "warmup": 0.1, "trains": ["llm"], "on_bad_sample": "skip:3", "deepspeed": None}
    text = yaml.safe_dump(mutated_json(fields, rng), allow_unicode=True).encode()
    text += rng.choice((b"", b"", *(f"\nseed: {code}\n".encode() for code in YAML_CODE)))
    folder = _written("options", {"run.yaml": mutated_bytes(text, rng) if rng.random() < 0.3 else text})
    read_options(folder / "run.yaml")


TARGETS: dict[str, Callable[[random.Random], None]] = {
    target.__name__: target
    for target in (
        picture,
        image_request,
        video,
        video_request,
        config,
        sentencepiece,
        index,
        weights,
        messages,
        tokenizer_files,
        processor_files,
        template,
        adapter,
        training_row,
        training_options,
    )
}
