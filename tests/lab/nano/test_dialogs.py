# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Dialogs of the last stage: true answers, the chat template's tokens, refusals apart from what is asked of them."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from lab.nano.dialogs import (
    ABOUT_SHAPES,
    TASKS,
    Dialog,
    DialogMix,
    Dialogs,
    Turn,
    build_dialog,
    draw_dialog,
    turn_about,
)
from lab.nano.drawing import Mark
from lab.nano.evaluation import Asked, asked_in_chinese, asked_in_vain, asked_of_world, judge, overlap, styles
from lab.nano.examples import IGNORE, Collator, patch_classes, patch_edges
from lab.nano.model import TOKENS_PER_TILE, build_model
from lab.nano.refusals import REFUSALS, refused, sentences
from lab.nano.training import hidden_states, logits_at, visual_tokens
from lab.nano.wordings import WORDINGS
from lab.world.phrases import LANGUAGES, QUESTIONS, ZH
from transformers_internvl.nano import nano_path

PLAIN = DialogMix(image_last=0.0, system=0.0, labels=0.0, spelled=0.0, still=0.0, beside=0.0, brief=0.0)


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(nano_path())


def only(task, **changes):
    return replace(PLAIN, shares=tuple(float(name == task) for name in TASKS), **changes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_turns_say_what_is_drawn(language):
    marks = (Mark("circle", "red", (10, 40, 30, 60)), Mark("square", "blue", (150, 30, 190, 70)))

    def said(word):
        return ZH[word] if language == "zh" else word

    size, seen = (200, 100), {task: set() for task in ABOUT_SHAPES}
    for seed in range(60):
        for task in ABOUT_SHAPES:
            turn = turn_about(task, marks, size, random.Random(seed), language)
            names = {
                word for word in ("circle", "square", "red", "blue", "left", "right") if said(word) in turn.question
            }
            seen[task].add((*sorted(names), turn.answer))
    assert seen["count"] == {("2",)}
    assert seen["color"] == {("circle", said("red")), ("square", said("blue"))}
    assert seen["shape"] == {("red", said("circle")), ("blue", said("square"))}
    assert seen["position"] == {("left", said("circle")), ("right", said("square"))}  # neither is nearer to the top
    assert seen["box"] == {
        ("circle", f"<ref>{said('circle')}</ref><box>[[50, 400, 150, 600]]</box>"),
        ("square", f"<ref>{said('square')}</ref><box>[[750, 300, 950, 700]]</box>"),
    }


def test_what_has_no_clear_answer_is_not_asked():
    alike = (Mark("circle", "red", (10, 10, 30, 30)), Mark("circle", "red", (40, 10, 60, 30)))
    other = (Mark("rectangle", None, (10, 10, 30, 30)),)
    for task in ("color", "shape", "position", "box"):
        assert turn_about(task, alike, (100, 100), random.Random(0), "en") is None, task
        assert turn_about(task, other, (100, 100), random.Random(0), "en") is None, task


def test_prompts_are_those_of_the_chat_template(processor):
    image = Image.new("RGB", (200, 100), "white")
    picture, text = {"type": "image", "image": image}, lambda words: {"type": "text", "text": words}
    turns = (
        Turn("How many shapes?", "2"),
        Turn("<ref>circle</ref>在哪里？", "<ref>circle</ref><box>[[1, 2, 3, 4]]</box>"),
    )
    cases = (
        (Dialog("count", (image,), ((),), turns), [picture]),
        (Dialog("pair", (image, image), ((), ()), turns[:1]), [picture, picture]),
        (Dialog("clip", (image,) * 4, ((),) * 4, turns[:1], True), [{"type": "video", "video": [image] * 4}]),
        (Dialog("refusal", (), (), turns), []),
    )
    for dialog, media in cases:
        messages = [{"role": "user", "content": [*media, text(turns[0].question)]}]
        if len(dialog.turns) > 1:
            messages += [
                {"role": "assistant", "content": [text("2")]},
                {"role": "user", "content": [{"type": "ref", "text": "circle"}, text("在哪里？")]},
            ]
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        example = build_dialog(dialog, processor.tokenizer, PLAIN, random.Random(0))
        start, end = example.spans[-1]
        assert example.ids[:start] == inputs["input_ids"][0].tolist()
        assert processor.tokenizer.decode(example.ids[start:end]) == f"{dialog.turns[-1].answer}<|im_end|>"
        assert len(example.tiles) == len(inputs.get("pixel_values", ()))
        assert example.ids.count(processor.tokenizer.context_image_token_id) == len(example.tiles) * TOKENS_PER_TILE


def test_all_tasks_come_up_in_both_languages_and_repeat(processor):
    mix = DialogMix()
    dialogs = [draw_dialog(random.Random(seed), mix, one_tile=True) for seed in range(150)]
    assert {dialog.task for dialog in dialogs} == set(TASKS)
    assert {len(dialog.images) for dialog in dialogs} == {0, 1, 2, 4}
    assert {len(dialog.turns) for dialog in dialogs} == {1, 2, 3}
    chinese = sum(any(letter > "\u2e7f" for letter in dialog.turns[0].question) for dialog in dialogs)
    assert 25 < chinese < 85
    whole, later = Dialogs(processor.tokenizer, mix, "seed", 6), Dialogs(processor.tokenizer, mix, "seed", 6, start=4)
    assert len(later) == 2 and later[1].ids == whole[5].ids and np.array_equal(later[1].tiles, whole[5].tiles)


def test_a_picture_of_another_task_stands_beside():
    for task in ("number", "shape"):
        firsts = set()
        for seed in range(8):
            dialog = draw_dialog(random.Random(seed), only(task, beside=1.0, further=0.0), one_tile=True)
            digits = [all(mark.kind.isdigit() for mark in marks) for marks in dialog.marks]
            assert sorted(digits) == [False, True] and len(dialog.images) == 2 and len(dialog.turns) == 1
            firsts.add(digits[0])
        assert firsts == {True, False}


def test_answers_of_a_dialog_weigh_by_the_root_of_their_length(processor):
    examples = [Dialogs(processor.tokenizer, only("box"), "box", 4)[index] for index in range(4)]
    batch = Collator(processor.tokenizer.pad_token_id)(examples)
    for row, example in enumerate(examples):
        labelled = {place for start, end in example.spans for place in range(start, end)}
        assert set((batch.labels[row] != IGNORE).nonzero().flatten().tolist()) == labelled
        for start, end in example.spans:
            assert batch.weights[row, start:end].sum().item() == pytest.approx((end - start) ** 0.5)
    assert batch.edges.shape == (*batch.patches.shape[:2], 4)


def test_edges_are_those_of_the_box_in_the_answer():
    dialog = draw_dialog(random.Random(3), only("box", further=0.0), one_tile=True)
    numbers = dialog.turns[0].answer.split("[[")[1].split("]]")[0]
    wanted = np.array([int(number) / 1000 for number in numbers.split(", ")])
    drawn = build_dialog(dialog, AutoProcessor.from_pretrained(nano_path()).tokenizer, PLAIN, random.Random(0)).drawing
    classes = patch_classes(drawn, (0.0, 0.0, *map(float, drawn.image.size)), whole=True)
    edges = patch_edges(drawn, classes)
    found = {tuple(box) for box in edges[edges[:, 0] >= 0].round(3).tolist()}
    assert any(np.allclose(box, wanted, atol=2e-3) for box in found) and len(found) <= len(drawn.marks)
    part = patch_edges(drawn, patch_classes(drawn, (0.0, 0.0, 5.0, 5.0), whole=False))
    assert (part == -1).all()


def test_refused_sentences_are_not_trained_questions():
    for language in LANGUAGES:
        asked = {text for wordings in WORDINGS.values() for text in wordings[language]}
        asked |= {text for task in WORDINGS for text in QUESTIONS[task][language]["test"]}
        for kind in ("plain", "picture"):
            trained, kept = sentences(kind, language, held_out=False), sentences(kind, language, held_out=True)
            assert kept and not set(trained) & set(kept) and len(trained) > 4 * len(kept)
            assert not asked & {*trained, *kept}
            assert refused(random.Random(0), kind, language, held_out=True)
    assert REFUSALS["en"].startswith("I only know ") and REFUSALS["zh"].startswith("我只认识")


def test_questions_of_the_evaluation():
    style = styles()["all fonts"]
    for language in LANGUAGES:
        (asked,) = asked_of_world("clip", language, 1)
        (video, *_) = asked.conversation()[0]["content"]
        assert video["type"] == "video" and video["num_frames"] == 4 and asked.is_clip
        (vain, other) = asked_in_vain("picture", language, 2, style)
        assert vain.answer == REFUSALS[language] and len(vain.images) == 1 and vain.images != other.images
    (colored,) = asked_in_chinese("color", 1, style)
    assert colored.answer in ZH.values() and any(
        ZH[kind] in colored.question for kind in ("circle", "square", "triangle")
    )
    where = Asked("Where is <ref>circle</ref>?", "")
    assert [(item["type"], item["text"]) for item in where.conversation()[0]["content"]] == [
        ("text", "Where is "), ("ref", "circle"), ("text", "?"),
    ]  # fmt: skip


def test_boxes_are_judged_by_their_overlap(monkeypatch):
    image = Image.new("RGB", (100, 50))
    asked = Asked("?", "<ref>circle</ref><box>[[0, 0, 500, 1000]]</box>", (image,))
    said = {
        "<ref>circle</ref><box>[[0, 0, 500, 1000]]</box>": 1.0,
        "<ref>circle</ref><box>[[0, 0, 250, 1000]]</box>": 0.5,
        "<ref>circle</ref><box>[[0, 0, 200, 1000]]</box>": 0.4,
        "<ref>square</ref><box>[[0, 0, 500, 1000]]</box>": 0.0,
        "<ref>circle</ref><box>[[600, 0, 900, 1000]]</box>": 0.0,
        "<ref>circle</ref><box>[[500, 1000, 0, 0]]</box>": 0.0,
        "circle": 0.0,
        REFUSALS["en"]: 0.0,
    }
    for text, value in said.items():
        assert overlap(asked, text) == pytest.approx(value), text
    monkeypatch.setattr("lab.nano.evaluation.ask", lambda model, processor, questions: list(said))
    report = judge(None, None, [asked] * len(said), boxes=True)
    assert report == {"IoU >= 0.5": 0.25, "mean IoU": pytest.approx(1.9 / len(said), abs=1e-4)}
    assert judge(None, None, [asked] * len(said)) == {"exact": 0.125}


def test_rows_run_in_groups_as_they_run_together(processor):
    torch.manual_seed(0)
    model = build_model(processor.tokenizer, width=32, vision_layers=1, text_layers=1).eval()
    examples = [Dialogs(processor.tokenizer, DialogMix(), "groups", 5)[index] for index in range(5)]
    batch = Collator(processor.tokenizer.pad_token_id)(examples)
    with torch.no_grad():
        tokens = visual_tokens(model, batch)
        one, many = (logits_at(model, hidden_states(model, batch, tokens, n), batch.labels)[0] for n in (1, 3))
    torch.testing.assert_close(one, many)
