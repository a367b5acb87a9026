# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What messages hold is used or refused: keys of messages and items, tools, options of one image or video."""

import numpy as np
import pytest
import torch
from jinja2.exceptions import TemplateError
from PIL import Image
from transformers import pipeline

from tests.parity.golden import golden_root
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.chat_templates import TEMPLATES, get_chat_template
from transformers_internvl.processing.processor import InternVLProcessor
from transformers_internvl.serving.requests import RequestError, check_messages
from transformers_internvl.training.data.samples import SampleEncoder

CALL = {"type": "function", "function": {"name": "crop", "arguments": {"left": 3}}}
USER = {"role": "user", "content": "Q"}
ANSWER = {"role": "assistant", "content": "A"}
# A template of a language model that has a form for calls, as Qwen2.5's.
WITH_CALLS = """{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' %}{% generation %}{{ message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>' + call.function.name + ' ' + call.function.arguments | tojson + '</tool_call>' }}
{%- endfor %}{{- '<|im_end|>' }}{% endgeneration %}{% else %}{{ message.content + '<|im_end|>' }}{% endif %}
{{- '\\n' }}{%- endfor %}"""


@pytest.fixture(scope="module")
def processor():
    return InternVLProcessor.from_pretrained(nano_path())


def picture(width=300, height=150):
    return Image.new("RGB", (width, height))


def item(kind="image", **keys):
    return {"role": "user", "content": [{"type": kind, **keys}, {"type": "text", "text": "Q"}]}


WRONG = {
    "tool_calls": ([USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "no form for `tool_calls`"),
    "function_call": ([USER, {**ANSWER, "function_call": CALL["function"]}], "no form for `function_call`"),
    "call_id": ([USER, ANSWER, {"role": "user", "content": "x", "tool_call_id": "7"}], r"essage 2 .*'tool_call_id'"),
    "contents": ([{"role": "user", "contents": "Q"}], r"'contents'. Did you mean 'content'\?"),
    "name": ([{**USER, "name": "Ann"}], r"Message 0 \(user\): unknown key 'name'"),
    "user's thoughts": ([{**USER, "thinking": "hm"}], "unknown key 'thinking'|no channel for the thinking"),
    "max_patch": (
        [item(image=picture(), max_patch=2)],
        r"item 0: unknown key 'max_patch'. Did you mean 'max_patches'\?",
    ),
    "max_frames": ([item("video", video="x.mp4", max_frames=2)], r"'max_frames'. Did you mean 'max_num_frames'\?"),
    "num_frames of a picture": ([item(image=picture(), num_frames=2)], "unknown key 'num_frames'"),
    "two sources": ([item(image=picture(), url="x.png")], "image and url both say which image it is"),
    "txt": ([{"role": "user", "content": [{"type": "text", "txt": "Q"}]}], r"'txt'. Did you mean 'text'\?"),
    "no text": ([{"role": "user", "content": [{"type": "text"}]}], "needs `text`"),
    "one item": ([{"role": "user", "content": {"type": "text", "text": "Q"}}], "a text or a list of items as content"),
    "detail": ([item("image_url", image_url={"url": "x.png", "detail": "most"})], "auto, low .* or high; got 'most'"),
    "key of a URL": ([item("image_url", image_url={"url": "x.png", "size": 3})], "unknown key 'size'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_be_ignored_is_refused(processor, name):
    messages, reason = WRONG[name]
    for options in ({}, {"tokenize": True}):
        with pytest.raises(ValueError, match=reason):
            processor.apply_chat_template(messages, **options)
    with pytest.raises(ValueError, match=reason.replace("Message 0", "Conversation 1, message 0")):
        processor.apply_chat_template([[USER], messages])
    with pytest.raises(ValueError, match=reason):
        SampleEncoder(processor).messages([*messages, ANSWER])


def test_the_pipeline_refuses_the_same():
    ask = pipeline("image-text-to-text", model=str(nano_path()))
    for name in ("tool_calls", "max_patch", "max_frames"):
        with pytest.raises(ValueError, match=WRONG[name][1]):
            ask(text=WRONG[name][0], max_new_tokens=1)


@pytest.mark.parametrize(
    "message, reason",
    [
        ({**USER, "name": "Ann"}, "unknown field 'name'"),
        ({**USER, "contents": "x"}, "Did you mean `content`"),
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, "not served here"),
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, "role of `messages.0.` must be"),
        (item("image_url", image_url={"url": "data:", "max_patches": 2}), "unknown field 'max_patches'"),
        (item("image_url", image_url="data:", max_patches=2), "unknown field 'max_patches'"),
        (item("video_url", video_url={"url": "data:", "detail": "low"}), "unknown field 'detail'"),
        (item("video_url", video_url="data:", fps=1), "unknown field 'fps'"),
    ],
    ids=str,
)
def test_the_server_refuses_the_same(message, reason):
    with pytest.raises(RequestError, match=reason):
        check_messages([message])


def test_the_server_takes_what_says_nothing():
    check_messages([{**ANSWER, "refusal": None, "annotations": [], "tool_calls": [], "reasoning_content": "hm"}])
    check_messages([item("image_url", image_url={"url": "data:", "detail": "auto"})])


def test_keys_without_a_value_say_nothing(processor):
    message = {**USER, "tool_calls": None, "name": None}
    answer = {**ANSWER, "tool_calls": [], "refusal": None, "annotations": [], "reasoning_content": "I think."}
    content = [{"type": "image", "image": picture(), "text": None, "max_patches": None}]
    content.append({"type": "text", "text": "Q", "image": None, "max_patches": None})
    plain = [
        {"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Q"}]},
        ANSWER,
    ]
    options = {"tokenize": True, "return_dict": True}
    found = processor.apply_chat_template([{**message, "content": content}, answer], **options)
    assert found["input_ids"] == processor.apply_chat_template(plain, **options)["input_ids"]


def test_tools_need_a_template_that_knows_them(processor):
    with pytest.raises(TemplateError, match="no place for tools"):
        processor.apply_chat_template([USER], tools=[CALL])
    with pytest.raises(ValueError, match="does not know `tools`"):
        processor.apply_chat_template([USER], tools=[CALL], chat_template=WITH_CALLS)


def test_a_template_with_a_form_renders_calls(processor):
    messages = [USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "done"}, ANSWER]
    prompt = processor.apply_chat_template(messages, chat_template=WITH_CALLS)
    assert '<tool_call>crop {"left": 3}</tool_call><|im_end|>\n<|im_start|>tool\ndone<|im_end|>\n' in prompt
    sample = SampleEncoder(processor, WITH_CALLS).messages(messages)
    text = processor.tokenizer.decode(sample["labels"][sample["labels"] >= 0])
    assert text == '<tool_call>crop {"left": 3}</tool_call><|im_end|>A<|im_end|>'


# The original training code, role `function`: of InternVL2.5 to 3.5, and of GPT-OSS.
TOOL_TURNS = {
    "internvl2_5": "<|im_start|>function\n{}<|im_end|>\n",
    "internvl3_5_gpt_oss": "<|start|>tool<|message|>{}<|end|>",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_results_of_tools(name):
    messages = [USER, ANSWER, {"role": "tool", "content": "42", "name": "sum", "tool_call_id": "1"}]
    folder = {"vicuna_v1": "chat_llama_v1_2", "phi3-chat": "chat_phi3", "internvl3_5_gpt_oss": "chat_gpt_oss"}
    processor = InternVLProcessor.from_pretrained(golden_root() / folder.get(name, "chat_qwen2"))
    processor.chat_template = get_chat_template(name)
    if name == "internvl_hf":  # the released -hf template opens a turn of any role
        assert "<|im_start|>tool\n42<|im_end|>\n" in processor.apply_chat_template(messages)
        return
    if name not in TOOL_TURNS:
        with pytest.raises(TemplateError, match="got 'tool'"):
            processor.apply_chat_template(messages)
        return
    turn = TOOL_TURNS[name].format("42")
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert prompt.endswith(
        "A" + TEMPLATES[name].separator + TEMPLATES[name].gap + turn + TEMPLATES[name].assistant_prefix
    )
    assert processor.apply_chat_template([*messages[:2], {"role": "function", "content": "42"}]) in prompt
    encoder = SampleEncoder(processor)
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}, {"from": "function", "value": "42"}]
    turns.append({"from": "gpt", "value": "B"})
    sample = encoder.turns(turns)
    other = encoder.messages([*messages, {"role": "assistant", "content": "B"}])
    assert torch.equal(sample["input_ids"], other["input_ids"]) and torch.equal(sample["labels"], other["labels"])
    assert turn in processor.tokenizer.decode(sample["input_ids"])
    assert "42" not in processor.tokenizer.decode(sample["labels"][sample["labels"] >= 0])


def test_calls_in_the_original_turns_are_refused(processor):
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "tool_calls": [CALL]}]
    with pytest.raises(ValueError, match="`tool_calls`, which `conversations` have no form for"):
        SampleEncoder(processor).turns(turns)


# Options of one image or video -------------------------------------------------------------------------------------


def test_images_beside_the_conversation_have_the_options_of_their_items(processor):
    options = {"tokenize": True, "return_dict": True, "return_num_patches": True}
    inside = [{"role": "user", "content": [
        {"type": "image", "image": picture(), "max_patches": 1},
        {"type": "image", "image": picture()},
        {"type": "text", "text": "Q"},
    ]}]  # fmt: skip
    beside = [{"role": "user", "content": [{"type": "image", "max_patches": 1}, {"type": "image"}, "Q"]}]
    expected = processor.apply_chat_template(inside, **options)
    assert expected["num_patches"][0] == 1 < expected["num_patches"][1]
    images = [picture(), picture()]
    found = processor.apply_chat_template(beside, processor_kwargs={"images": images}, **options)
    assert found["num_patches"] == expected["num_patches"]
    encoder = SampleEncoder(processor, share_tile_budget=False)
    samples = [encoder.messages([*inside, ANSWER]), encoder.messages([*beside, ANSWER], images)]
    assert samples[0]["num_patches"].tolist() == samples[1]["num_patches"].tolist() == list(expected["num_patches"])


def test_detail_low_is_one_tile(processor, tmp_path):
    picture().save(tmp_path / "p.png")
    options = {"tokenize": True, "return_dict": True, "return_num_patches": True}
    counts = {}
    for detail in ("low", "auto", "high"):
        message = item("image_url", image_url={"url": str(tmp_path / "p.png"), "detail": detail})
        (counts[detail],) = processor.apply_chat_template([message], **options)["num_patches"]
    assert counts["low"] == 1 < counts["auto"] == counts["high"]


def frames(count):
    return [Image.fromarray(np.full((40, 40, 3), 8 * index, np.uint8)) for index in range(count)]


def test_each_video_has_its_own_frames(processor):
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}

    def alone(**keys):
        return processor.apply_chat_template([item("video", video=frames(16), **keys)], **options)["pixel_values"]

    assert len(alone()) == 16 and len(alone(num_frames=4)) == 4
    both = [item("video", video=frames(16), num_frames=4), ANSWER, item("video", video=frames(16), num_frames=2)]
    found = processor.apply_chat_template(both, **options)["pixel_values"]
    assert torch.equal(found, torch.cat([alone(num_frames=4), alone(num_frames=2)]))
    mixed = [item("video", video=frames(16)), ANSWER, item("video", video=frames(16), num_frames=2)]
    assert torch.equal(
        processor.apply_chat_template(mixed, **options)["pixel_values"], torch.cat([alone(), alone(num_frames=2)])
    )
    called = processor.apply_chat_template([item("video", video=frames(16), num_frames=4)], num_frames=2, **options)[
        "pixel_values"
    ]
    assert torch.equal(called, alone(num_frames=4))  # what the item says wins
    sample = SampleEncoder(processor).messages([item("video", num_frames=4), ANSWER], videos=[frames(16)])
    assert len(sample["pixel_values"]) == 4
