# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Texts and images of rows in every form."""

import pytest

from transformers_internvl.curation.rows import (
    answers_of,
    has_media,
    images_of,
    map_images,
    plain_text,
    texts_of,
    with_texts,
)

CONVERSATION = {
    "image": ["a.png", {"bytes": b"png", "path": None}],
    "conversations": [
        {"from": "system", "value": "Be short."},
        {"from": "human", "value": "Image-1: <image>\nImage-2: <image>\nDiffer?"},
        {"from": "gpt", "value": "Yes."},
    ],
    "source": {"image": "not one"},
}
MESSAGES = {
    "messages": [
        {"role": "user", "content": [{"type": "image", "path": "a.png"}, {"type": "text", "text": "What?"}, "Now?"]},
        {"role": "assistant", "content": "A cat."},
    ]
}
PREFERENCE = {"image": "", "question": "Why?", "chosen": "So.", "rejected": "No.", "system_prompt": "Hi."}
STEPS = {"question": "1+1?", "response": "2", "steps_with_score": [{"step": "It is 2.", "score": 1.0}]}


@pytest.mark.parametrize(
    ("row", "roles", "values", "images"),
    [
        (CONVERSATION, "sua", ["Be short.", CONVERSATION["conversations"][1]["value"], "Yes."], ["a.png", b"png"]),
        (MESSAGES, "uua", ["What?", "Now?", "A cat."], ["a.png"]),
        (PREFERENCE, "suaa", ["Hi.", "Why?", "So.", "No."], []),
        (STEPS, "uaa", ["1+1?", "2", "It is 2."], []),
    ],
)
def test_what_a_row_holds(row, roles, values, images):
    texts = texts_of(row)
    assert "".join(text.role[0] for text in texts) == roles
    assert [text.value for text in texts] == values
    assert images_of(row) == images and has_media(row) == bool(images)
    assert answers_of(row) == [text.value for text in texts if text.role == "assistant"]
    changed = with_texts(row, {text.place: text.value.upper() for text in texts})
    assert [text.value for text in texts_of(changed)] == [value.upper() for value in values]
    assert texts_of(row) == texts  # the row itself is as it was


def test_plain_text_has_no_placeholders():
    assert plain_text(CONVERSATION) == "Be short.\n\nDiffer?\n\nYes."
    video = {"conversations": [{"from": "human", "value": "<video>\nWhat?"}], "video": "a.mp4"}
    assert plain_text(video) == "What?" and has_media(video) and images_of(video) == []
    assert has_media({"messages": [{"role": "user", "content": [{"type": "video", "path": "a.mp4"}]}]})


def test_images_are_exchanged_where_they_are():
    named = map_images(CONVERSATION, lambda image: f"new/{image}")
    assert named["image"] == ["new/a.png", "new/b'png'"] and named["source"] == {"image": "not one"}
    assert map_images(MESSAGES, lambda image: f"new/{image}")["messages"][0]["content"][0]["path"] == "new/a.png"
    assert map_images(PREFERENCE, lambda image: "x") == PREFERENCE
    assert MESSAGES["messages"][0]["content"][0]["path"] == "a.png"
