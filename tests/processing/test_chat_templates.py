# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What chat templates do beyond the original prompts: content items, thinking, prefill, marks, errors."""

import hashlib

import pytest
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from transformers_internvl.processing import chat_templates
from transformers_internvl.processing.chat_templates import (
    TEMPLATES,
    THINKING_SYSTEM_MESSAGE,
    find_chat_template,
    get_chat_template,
    split_thinking,
)

IMAGE, VIDEO = {"type": "image"}, {"type": "video"}
ORIGINAL = [name for name in TEMPLATES if name != "internvl_hf"]
MARKED = [name for name, row in TEMPLATES.items() if row.grammar == "marked_turns"]
THINKERS = [name for name, row in TEMPLATES.items() if row.thinking_system_message is not None]


def text(value):
    return {"type": "text", "text": value}


def render(name, messages, **options):
    template = options.pop("template", None) or get_chat_template(name)
    return render_jinja_template(conversations=[messages], chat_template=template, **options)[0][0]


def turn(name, *items, **options):
    """The text of a user's turn, without what the template puts around it."""
    row = TEMPLATES[name]
    around = render(name, [{"role": "user", "content": "\0"}], **options)
    before, after = around.split("\0")
    prompt = render(name, [{"role": "user", "content": list(items)}], **options)
    assert prompt.startswith(before) and prompt.endswith(after), row
    return prompt[len(before) : len(prompt) - len(after)]


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match=r"'internvl2\.5'.*'internvl2_5'"):
        get_chat_template("internvl2.5")


@pytest.mark.parametrize("name", ORIGINAL)
@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([IMAGE, text("Q")], "<image>\nQ"),
        ([IMAGE, text(" Q")], "<image>\n Q"),
        ([IMAGE, text("\nQ")], "<image>\nQ"),
        ([IMAGE], "<image>\n"),
        ([text("Q"), IMAGE], "Q\n<image>"),
        ([IMAGE, IMAGE, text("Q")], "Image-1: <image>\nImage-2: <image>\nQ"),
        ([text("Look:\n"), IMAGE, IMAGE, text("Q")], "Look:\nImage-1: <image>\nImage-2: <image>\nQ"),
        ([text("Image-1: "), IMAGE, text("\nImage-2: "), IMAGE, text("\nQ")], "Image-1: <image>\nImage-2: <image>\nQ"),
        ([text("A"), IMAGE, text("B"), IMAGE, text("C")], "A\n<image>\nB\n<image>\nC"),
        ([text("the sign "), IMAGE, text(" means")], "the sign <image> means"),
        ([VIDEO, text("Q")], "<video>\nQ"),
        ([text("find "), {"type": "ref", "text": "the dog"}], "find <ref>the dog</ref>"),
        ([text("a"), text("b")], "ab"),
    ],
)
def test_content_items(name, items, expected):
    assert turn(name, *items) == expected


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([IMAGE, text("Q")], "<IMG_CONTEXT>\nQ"),
        ([text("Q"), IMAGE], "Q<IMG_CONTEXT>\n"),
        ([IMAGE, IMAGE, text("Q")], "<IMG_CONTEXT>\n<IMG_CONTEXT>\nQ"),
        ([VIDEO, text("Q")], "<video>\nQ"),
    ],
)
def test_content_items_of_hf_checkpoints(items, expected):
    assert turn("internvl_hf", *items) == expected


def test_hf_prompt_has_no_system_message_of_its_own():
    messages = [{"role": "user", "content": "Hi"}]
    expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert render("internvl_hf", messages, add_generation_prompt=True) == expected
    with_system = [{"role": "system", "content": [text("Be brief.")]}, *messages]
    assert render("internvl_hf", with_system).startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")


def test_images_are_numbered_through_the_conversation():
    messages = [
        {"role": "user", "content": [IMAGE, text("Q")]},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": [IMAGE, IMAGE, text("R")]},
    ]
    prompt = render("internvl2_5", messages)
    assert "<image>\nQ" in prompt and "Image-1" not in prompt
    assert "Image-2: <image>\nImage-3: <image>\nR" in prompt


def test_labels_can_be_left_out():
    assert turn("internvl2_5", IMAGE, IMAGE, text("Q"), image_labels=False) == "<image>\n<image>\nQ"


@pytest.mark.parametrize("name", TEMPLATES)
def test_placeholder_of_choice(name):
    template = get_chat_template(name, image_placeholder="<picture>")
    assert "<picture>" in render(name, [{"role": "user", "content": [IMAGE]}], template=template)


@pytest.mark.parametrize("name", ORIGINAL)
def test_system_message(name):
    messages = [{"role": "user", "content": "Q"}]
    by_name = render(name, messages, template=get_chat_template(name, system_message="Be {{ brief }} {% raw %}."))
    in_chat = render(name, [{"role": "system", "content": "Be {{ brief }} {% raw %}."}, *messages])
    as_list = render(name, [{"role": "system", "content": [text("Be {{ brief }} {% raw %}.")]}, *messages])
    assert by_name == in_chat == as_list and "Be {{ brief }} {% raw %}." in by_name
    assert render(name, messages, template=get_chat_template(name, system_message=None)) == render(name, messages)
    empty = render(name, messages, template=get_chat_template(name, system_message=""))
    assert empty == render(name, [{"role": "system", "content": ""}, *messages])
    row = TEMPLATES[name]
    assert empty.startswith(row.system_prefix + (row.separator if row.grammar == "marked_turns" else " "))


@pytest.mark.parametrize("name", TEMPLATES)
def test_assistant_turns_are_marked_with_their_end(name):
    messages = [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": [IMAGE, text("R")]},
        {"role": "assistant", "content": [text("B"), text("C")]},
    ]
    (prompt,), (spans,) = render_jinja_template(
        conversations=[messages], chat_template=get_chat_template(name), return_assistant_tokens_mask=True
    )
    row = TEMPLATES[name]
    first = row.separator if row.grammar != "named_turns" else row.last_separator
    space = " " if row.grammar == "named_turns" else ""  # behind the colon that ends a generation prompt
    assert [prompt[a:b] for a, b in spans] == [space + "A" + first, space + "BC" + row.last_separator]
    assert row.stop == row.last_separator


@pytest.mark.parametrize("name", TEMPLATES)
def test_prefill_is_left_open(name):
    messages = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "The answer is"}]
    prompt = render(name, messages, continue_final_message=True)
    assert prompt.endswith("The answer is")
    assert prompt.startswith(render(name, messages[:1], add_generation_prompt=True))


@pytest.mark.parametrize("name", THINKERS)
def test_thinking(name):
    messages = [{"role": "user", "content": "Q"}]
    plain = render(name, messages, add_generation_prompt=True)
    on = render(name, messages, add_generation_prompt=True, enable_thinking=True)
    off = render(name, messages, add_generation_prompt=True, enable_thinking=False)
    assert on.startswith(f"<|im_start|>system\n{THINKING_SYSTEM_MESSAGE}<|im_end|>\n<|im_start|>user\nQ")
    assert on.endswith("<|im_start|>assistant\n")
    assert off == plain + "<think>\n</think>\n"
    assert render(name, messages, add_generation_prompt=True, enable_thinking=None) == plain
    own = [{"role": "system", "content": "Mine"}, *messages]
    assert render(name, own, enable_thinking=True) == render(name, own)


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name not in THINKERS])
def test_thinking_where_there_is_none(name):
    with pytest.raises(TemplateError, match="no thinking mode"):
        render(name, [{"role": "user", "content": "Q"}], enable_thinking=True)


@pytest.mark.parametrize("name", ORIGINAL)
def test_unknown_role(name):
    with pytest.raises(TemplateError, match="got 'teacher'"):
        render(name, [{"role": "teacher", "content": "Q"}])


@pytest.mark.parametrize("name", TEMPLATES)
def test_unknown_item(name):
    with pytest.raises(TemplateError, match="got 'audio'"):
        render(name, [{"role": "user", "content": [{"type": "audio"}]}])


@pytest.mark.parametrize("name", TEMPLATES)
def test_tools_have_no_place(name):
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}
    with pytest.raises(TemplateError, match="no place for tools"):
        render(name, [{"role": "user", "content": "Q"}], tools=[tool])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<think>\nwhy\n</think>\n\nBecause.", ("why", "Because.")),
        ("why</think>Because.", ("why", "Because.")),
        ("<think>\n</think>\nBecause.", ("", "Because.")),
        ("<think>one</think>\n<think>two</think>\nBecause.", ("one\ntwo", "Because.")),
        ("<think>cut off", ("cut off", "")),
        (" Because. ", ("", "Because.")),
        ("It wrote <think> there.", ("", "It wrote <think> there.")),
    ],
)
def test_split_thinking(answer, expected):
    assert split_thinking(answer) == expected


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("message", [None, "", 'Say "{hi}" \\n {% and %} go'])
def test_a_template_is_found_by_its_text(name, message):
    text = get_chat_template(name, system_message=message, image_placeholder="<IMG_CONTEXT>")
    expected = None if message == TEMPLATES[name].system_message else message
    assert find_chat_template(text) == (name, expected)
    assert find_chat_template(text + " ") is None and find_chat_template("") is None


def test_a_template_of_an_earlier_version_is_found_by_its_grammar(monkeypatch):
    """Its settings are those of today's, or fewer."""
    text = get_chat_template("internvl2_5", system_message="S")
    rows = [row for row in text.splitlines(keepends=True) if not row.startswith("{%- set tool_prefix")]
    begin = next(index for index, row in enumerate(rows) if not row.startswith("{%- set "))
    former = "".join([*rows[:begin], "{#- An earlier grammar. -#}\n"])
    assert find_chat_template(former) is None
    digest = hashlib.sha256(b"{#- An earlier grammar. -#}\n").hexdigest()
    monkeypatch.setitem(chat_templates._FORMER_GRAMMARS, digest, "marked_turns")
    assert find_chat_template(former) == ("internvl2_5", "S")
    assert find_chat_template(former.replace("<|im_end|>", "<|end|>")) is None
