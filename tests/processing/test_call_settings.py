# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What a call was padded, cut and sampled to is that call's: no later call has it, nor a saved processor."""

import json

import pytest
import transformers
from PIL import Image
from transformers import AutoProcessor

from tests.llava import write_folder
from tests.parity.golden import golden_root
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.tokenizers.loading import load_tokenizer

CHATS = ["chat_qwen2", "chat_internlm2", "chat_phi3", "chat_llama_v1_2", "chat_gpt_oss"]
KINDS = [*CHATS, "nano", "llava", "internvl_14b"]
LONG = [{"role": "user", "content": "Tell me all about it, from the beginning to the end. " * 20}]


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    if request.param == "nano":
        return nano_path()
    if request.param == "llava":
        write_folder(tmp_path / "llava")
        return tmp_path / "llava"
    return golden_root() / request.param


def call_with_everything(processor):
    """Calls with settings that a later call must not have."""
    text = "one two three four five six seven eight nine ten eleven twelve"
    limits = {"truncation": True, "max_length": 12, "padding": "max_length", "pad_to_multiple_of": 4}
    side = {"padding_side": "right"}
    first = processor(text=[text, "a"], **limits, **side)
    assert {len(row) for row in first["input_ids"]} == {12}
    picture = Image.new("RGB", (60, 40))
    if hasattr(processor, "image_token"):
        processor(text=["<image> a"], images=[picture], **({} if is_llava(processor) else {"max_patches": 2}))
        processor.apply_chat_template(LONG, tokenize=True, return_dict=True, **limits)
    else:
        processor(images=[picture], task="caption", size={"height": 30, "width": 20}, do_center_crop=False)
    processor.tokenizer(text, truncation=True, max_length=7, stride=1, return_overflowing_tokens=True)


def is_llava(processor):
    return "Llava" in type(processor).__name__


def ids_of(processor):
    if hasattr(processor, "image_token"):
        return processor.apply_chat_template(LONG, tokenize=True, return_dict=True)["input_ids"]
    return processor(text=["a b", "a b c d e f"])["input_ids"]


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_calls_leave_nothing_behind(folder, tmp_path):
    fresh, used = AutoProcessor.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    expected = ids_of(fresh)
    fresh.save_pretrained(tmp_path / "fresh")
    call_with_everything(used)
    used.save_pretrained(tmp_path / "used")
    assert files_of(tmp_path / "used") == files_of(tmp_path / "fresh")
    assert ids_of(used) == expected and ids_of(AutoProcessor.from_pretrained(tmp_path / "used")) == expected


@pytest.mark.parametrize("name", ["chat_qwen2", "chat_llama_v1_2"])
def test_a_folder_that_others_saved_with_a_limit(name, tmp_path):
    """transformers' own tokenizers save the truncation of the last call; it is not taken up."""
    processor = AutoProcessor.from_pretrained(golden_root() / name)
    expected = ids_of(processor)
    processor.save_pretrained(tmp_path)
    state = json.loads((tmp_path / "tokenizer.json").read_text())
    state["truncation"] = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 2}
    state["padding"] = {
        **{"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": 8},
        **{"pad_id": 0, "pad_type_id": 0, "pad_token": processor.tokenizer.convert_ids_to_tokens(0)},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    stock = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert stock.init_kwargs["max_length"] in (9, 16)  # where upstream's processors take a call's truncation from
    again = AutoProcessor.from_pretrained(tmp_path)
    assert ids_of(again) == expected
    assert len(again(text="a b c d e f " * 40)["input_ids"][0]) > 40
    again.save_pretrained(tmp_path / "again")
    state = json.loads((tmp_path / "again" / "tokenizer.json").read_text())
    assert state["truncation"] is None and state["padding"] is None
    config = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert not config.keys() & {"max_length", "stride", "truncation_strategy", "pad_to_multiple_of"}
    assert load_tokenizer(tmp_path)("a " * 40).input_ids == load_tokenizer(golden_root() / name)("a " * 40).input_ids
