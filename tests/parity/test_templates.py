# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prompts against the original conversation code, and prompt ids against their `chat()` and `batch_chat()`."""

import json
import re
from functools import lru_cache

import pytest
from PIL import Image
from transformers.utils.chat_template_utils import render_jinja_template

import transformers_internvl  # noqa: F401  (registers)
from tests.parity.golden import golden_root, whole_tile_chats
from transformers_internvl.processing.chat_templates import get_chat_template
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.processing.text.conversation import chat_prompt

TEMPLATES = json.loads((golden_root() / "templates" / "templates.json").read_text(encoding="utf-8"))
PROMPTS = [(entry, record) for entry in TEMPLATES for record in entry["prompts"]]
IMAGE_PROMPTS = [(entry, record) for entry in TEMPLATES for record in entry["image_prompts"]]
CHATS = [
    (folder, index)
    for folder in whole_tile_chats()
    if (folder / "chat.json").is_file()
    for index in range(len(json.loads((folder / "chat.json").read_text(encoding="utf-8"))["chats"]))
]


@lru_cache
def processor_of(folder):
    return InternVLProcessor.from_pretrained(folder)


@lru_cache
def json_of(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("contents", ["strings", "lists"])
@pytest.mark.parametrize(
    ("entry", "record"), PROMPTS, ids=lambda v: v.get("conversation") or f"{v['source']}-{v['template']}"
)
def test_prompt(entry, record, contents):
    messages = [] if record["system_is_default"] else [{"role": "system", "content": record["system"]}]
    turns = record["turns"]
    for index, turn in enumerate(turns):
        if turn is not None:
            messages.append({"role": ("user", "assistant")[index % 2], "content": turn})
    if contents == "lists":
        messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in messages]
    (prompt,), _ = render_jinja_template(
        conversations=[messages],
        chat_template=get_chat_template(entry["template"]),
        add_generation_prompt=bool(turns) and turns[-1] is None,
    )
    assert prompt == record["prompt"]


@pytest.mark.parametrize("entry", TEMPLATES, ids=lambda v: f"{v['source']}-{v['template']}")
def test_default_system_message_given_by_hand_changes_nothing(entry):
    template = get_chat_template(entry["template"])
    with_default = get_chat_template(entry["template"], system_message=entry["system_message"])
    messages = [{"role": "user", "content": "Hello"}]
    spelled_out = [{"role": "system", "content": entry["system_message"]}, *messages]
    prompts = {
        render_jinja_template(conversations=[chat], chat_template=text)[0][0]
        for chat, text in ((messages, template), (spelled_out, template), (messages, with_default))
    }
    assert len(prompts) == 1


@pytest.mark.parametrize(("entry", "record"), IMAGE_PROMPTS, ids=lambda v: v.get("question") or v["template"])
def test_image_prompt(entry, record):
    options = {"num_patches": record["num_patches_list"], "num_image_token": record["num_image_token"]}
    expanded = chat_prompt(entry["template"], record["question"], record["history"], **options).text
    assert expanded == record["expanded"]
    unexpanded = re.sub(r"<img>(<IMG_CONTEXT>)*</img>", "<image>", expanded)
    assert unexpanded == record["prompt"]


def _requests(request):
    """`(question, history, tiles of each image)` of every row of a request."""
    if request["kind"] == "batch":
        return [(q, [], [n]) for q, n in zip(request["questions"], request["num_patches_list"], strict=True)]
    rows = request["pixel_rows"]
    tiles = [] if rows is None else request.get("num_patches_list") or [rows[1] - rows[0]]
    return [(request["question"], request.get("history") or [], tiles)]


@pytest.mark.parametrize(("folder", "index"), CHATS, ids=lambda v: getattr(v, "name", v))
def test_prompt_ids_of_chat(folder, index):
    chat = json_of(folder / "chat.json")["chats"][index]
    processor = processor_of(folder)
    template = json_of(folder / "config.json")["template"]
    prompts = [
        chat_prompt(template, question, history, num_patches=tiles, num_image_token=processor.image_seq_length).text
        for question, history, tiles in _requests(chat["request"])
    ]
    encoded = processor.tokenizer(prompts, padding=True)
    assert encoded["input_ids"] == chat["result"]["input_ids"]
    assert encoded["attention_mask"] == chat["result"]["attention_mask"]


@pytest.mark.parametrize(("folder", "index"), CHATS, ids=lambda v: getattr(v, "name", v))
def test_prompt_ids_of_conversation_with_images(folder, index):
    chat = json_of(folder / "chat.json")["chats"][index]
    conversations = []
    for question, history, tiles in _requests(chat["request"]):
        pictures = iter([_picture_item(count) for count in tiles])
        if tiles and not history and "<image>" not in question:
            question = "<image>" + question
        messages = []
        for asked, answer in history:
            messages += [_user(asked, pictures), {"role": "assistant", "content": answer}]
        conversations.append([*messages, _user(question, pictures)])
    encoded = processor_of(folder).apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"padding": True, "use_thumbnail": False, "return_num_patches": True},
    )
    assert encoded["input_ids"] == chat["result"]["input_ids"]
    assert encoded["attention_mask"] == chat["result"]["attention_mask"]
    tiles = [count for _, _, counts in _requests(chat["request"]) for count in counts]
    assert list(encoded["num_patches"]) == tiles
    assert len(encoded.get("pixel_values", [])) == sum(tiles)


def _picture_item(tiles):
    """An image that is cut into exactly so many tiles."""
    return {"type": "image", "image": Image.new("RGB", (60, 60)), "min_patches": tiles, "max_patches": tiles}


def _user(text, pictures):
    """A message with a content item wherever the text has a marker."""
    items = []
    for index, part in enumerate(text.split("<image>")):
        items += [next(pictures)] if index else []
        items += [{"type": "text", "text": part}] if part else []
    return {"role": "user", "content": items}
