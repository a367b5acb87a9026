# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Rows of questions in every form, and what cannot be used."""

import json

import pytest
from PIL import Image
from transformers import AutoProcessor

from transformers_internvl import nano_path
from transformers_internvl.evaluation.run.local import breaks_lines
from transformers_internvl.training.data.questions import Questions, prompt_of, read_question
from transformers_internvl.training.data.records import DataSet, JsonlRows, SkipPolicy
from transformers_internvl.training.data.rows import UnusableSample
from transformers_internvl.training.data.samples import SampleEncoder

IMAGE = {"type": "image"}


def text(value: str) -> dict:
    return {"type": "text", "text": value}


def user(*items) -> dict:
    return {"role": "user", "content": list(items)}


@pytest.mark.parametrize(
    "row, messages, answer, fields",
    [
        (
            {"image": "a.png", "question": "<image>\nHow many?", "answer": 3, "choices": ["2", "3"], "id": None},
            [user(IMAGE, text("\nHow many?"))],
            3,
            {"choices": ["2", "3"]},
        ),
        (
            {"image": "a.png", "question": "How many?", "system_prompt": "Count.", "answer": "3"},
            [{"role": "system", "content": [text("Count.")]}, user(IMAGE, text("\nHow many?"))],
            "3",
            {},
        ),
        ({"question": "How many?"}, [user(text("How many?"))], None, {}),
        (
            {"conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "3"}]},
            [user(text("How many?"))],
            "3",
            {},
        ),
        (
            {"conversations": [{"from": "human", "value": "How many?"}], "answer": "3"},
            [user(text("How many?"))],
            "3",
            {},
        ),
        (
            {
                "image": ["a.png", "b.png"],
                "conversations": [
                    {"from": "human", "value": "<image> or <image>?"},
                    {"from": "gpt", "value": "a"},
                    {"from": "human", "value": "Why?"},
                    {"from": "gpt", "value": "so"},
                ],
                "answer": "because",
            },
            [
                user(IMAGE, text(" or "), IMAGE, text("?")),
                {"role": "assistant", "content": [text("a")]},
                user(text("Why?")),
            ],
            "because",
            {},
        ),
        (
            {"messages": [user(text("See"), {**IMAGE, "max_patches": 1}), {"role": "assistant", "content": "3"}],
             "images": ["a.png"]},
            [user(text("See"), {**IMAGE, "max_patches": 1})],
            "3",
            {},
        ),
        (
            {"messages": [user({**IMAGE, "path": "/a.png"}, "What?")], "answer": ["x", "y"]},
            [user(IMAGE, text("What?"))],
            ["x", "y"],
            {},
        ),
    ],
)  # fmt: skip
def test_forms(row, messages, answer, fields):
    question = read_question(row, "there", "/root")
    assert (question.messages, question.answer, question.fields) == (messages, answer, fields)
    assert len(question.images) == sum(
        item == IMAGE or "max_patches" in item for m in messages for item in m["content"]
    )
    assert question.text == "".join(item.get("text", "<image>") for item in messages[-1]["content"])


@pytest.mark.parametrize(
    "row, reason",
    [
        ([], "expected an object"),
        ({"answer": "3"}, "expected one of `conversations`"),
        ({"question": "<image> and <image>?", "image": "a.png", "answer": 1}, "1 images, but 2 times <image>"),
        ({"question": "?", "video": "a.mp4", "answer": 1}, "asked about images, and the row has a video"),
        ({"conversations": [{"from": "pretrain", "value": "a text"}]}, "a text without turns"),
        ({"messages": [user(IMAGE, text("?"))], "answer": 1}, "more places of images than the 0 images"),
        ({"messages": [user(text("?"))], "images": ["a.png"], "answer": 1}, "of which 1 have no place"),
        ({"messages": [user({"type": "sound"})], "answer": 1}, "items of type text and image, got 'sound'"),
        ({"messages": [{"role": "assistant", "content": "3"}]}, "there is no question"),
    ],
)
def test_what_is_no_question(row, reason):
    with pytest.raises(UnusableSample, match=reason) as caught:
        read_question(row, "there", "")
    assert caught.value.where == "there"


def test_a_file_of_questions(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    rows = [
        {"image": "a.png", "question": "What color?", "answer": "red"},
        {"question": "<image>", "answer": "red"},
        {"image": "none.png", "question": "What color?", "answer": "red"},
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    part = DataSet("q", JsonlRows(tmp_path / "q.jsonl", str(tmp_path)))
    policy = SkipPolicy(1)
    questions = Questions([part], policy)
    assert len(questions) == 2 and "line 2" in policy.skipped[0][0]
    assert questions[0].images[0].size == (30, 20) and questions[0].images[0].mode == "RGB"
    with pytest.raises(UnusableSample, match="line 3: cannot read an image"):
        questions[1]
    with pytest.raises(UnusableSample, match="line 2"):
        Questions([part])
    with pytest.raises(ValueError, match="'q': questions are neither repeated"):
        Questions([DataSet("q", part.rows, repeat=2)], policy)
    with pytest.raises(ValueError, match="2 unusable samples were left out|No question is left"):
        Questions([part], SkipPolicy(3), check=lambda question: "not this one")


def test_the_prompt_is_that_of_training():
    """Of a template with a line break behind an image of its own, and in the form that training reads."""
    processor = AutoProcessor.from_pretrained(nano_path())
    image = Image.new("RGB", (112, 112), "red")
    question = read_question({"image": image, "question": "<image>\nWhat <|im_end|> color?", "answer": "x"}, "there")
    prompt = prompt_of(question, breaks_lines(processor))
    prompt[0]["content"][0]["image"] = image
    ids = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    turns = [{"from": "human", "value": "<image>\nWhat <|im_end|> color?"}, {"from": "gpt", "value": "x"}]
    sample = SampleEncoder(processor).turns(turns, [image])
    assert sample["input_ids"].tolist()[: len(ids[0])] == ids[0]
