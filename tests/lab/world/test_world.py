# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The world: the same for the same seed, true to its answers, and without anything that both splits share."""

import random
import re

import numpy as np
import pytest

from lab.nano.palette import COLORS
from lab.nano.questions import SHAPES
from lab.world import TASKS, Look, World, caption_question, draw_sample
from lab.world.drawing import FRAMES, draw_number, draw_word
from lab.world.fonts import FONTS, font
from lab.world.phrases import CAPTIONS, LANGUAGES, QUESTIONS, TEXTS, ZH, wordings
from transformers_internvl.processing.text.grounding import parse_grounding
from transformers_internvl.training.data.rows import parse_row


def pixels(sample):
    return [np.asarray(image).tobytes() for image in sample.images]


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_gives_one_sample_and_splits_differ(task):
    one, same, other, test = (
        draw_sample(task, "train", 3),
        draw_sample(task, "train", 3),
        draw_sample(task, "train", 4),
        draw_sample(task, "test", 3),
    )
    assert pixels(one) == pixels(same) and one.row()["conversations"] == same.row()["conversations"]
    assert pixels(one) != pixels(other) and pixels(one) != pixels(test)
    assert all(image.mode == "RGB" for image in one.images)


def test_splits_share_no_font_wording_word_or_number():
    families = {
        split: {"built in" if name is None else font(name, 12).getname()[0] for name in names}
        for split, names in FONTS.items()
    }
    assert not families["train"] & families["test"]
    for language in LANGUAGES:
        train, test = wordings("train", language), wordings("test", language)
        assert train and test and not train & test
    rng = random.Random(0)
    words = {split: {draw_word(rng, split) for _ in range(300)} for split in FONTS}
    numbers = {split: {draw_number(rng, split, (2, 3)) for _ in range(300)} for split in FONTS}
    assert not words["train"] & words["test"] and not numbers["train"] & numbers["test"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_test_wordings_are_made_of_what_training_ones_are_made_of(language):
    def parts(texts):
        plain = re.sub(r"\{\w+\}|<[^>]+>|[.,:?。？，：]", " ", " ".join(texts)).lower()
        return set(plain.split()) if language == "en" else set(plain) - {" "}

    known = parts([*wordings("train", language), *TEXTS[language]])
    assert parts(wordings("test", language)) <= known


def test_every_task_has_wordings_in_both_languages_and_splits():
    assert set(QUESTIONS) == {*TASKS, "caption"}
    for task, languages in QUESTIONS.items():
        for language in LANGUAGES:
            assert all(len(languages[language][split]) >= 2 for split in FONTS), (task, language)
    assert all(len(CAPTIONS[language][split]) >= 2 for language in LANGUAGES for split in FONTS)


@pytest.mark.parametrize("split", FONTS)
def test_answers_are_true(split):
    spoken = {language: {*(words := (*COLORS, *SHAPES)), *map(ZH.get, words)} for language in LANGUAGES}
    for index in range(12):
        for language in LANGUAGES:
            shaded = draw_sample("color", split, index, language=language)
            asked = next(name for name in SHAPES if (name if language == "en" else ZH[name]) in shaded.question)
            assert shaded.answer in spoken[language] and asked
            assert shaded.answer in shaded.caption
        found = draw_sample("box", split, index, language="en")
        (image,) = found.images
        ((box,),) = [region["boxes"] for region in parse_grounding(found.answer, (image.height, image.width))]
        assert np.allclose(box, found.boxes[0], atol=0.1)
        pair, clip = draw_sample("pair", split, index, language="en"), draw_sample("clip", split, index)
        assert len(pair.images) == 2 and len(clip.images) == FRAMES
        assert (pixels(pair)[0] == pixels(pair)[1]) == (pair.answer == "nothing")
        number = draw_sample("number", split, index)
        left, top, right, bottom = map(round, number.boxes[0])
        area = np.asarray(number.images[0]).astype(int)[top:bottom, left:right]
        assert number.answer.isdecimal() and area.std() > 3  # there is ink in the box


def test_a_clip_moves_where_it_says():
    axis = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}
    for index in range(8):
        clip = draw_sample("clip", "train", index, language="en")
        frames = [np.asarray(image).astype(int) for image in (clip.images[0], clip.images[-1])]
        moved = np.abs(frames[0] - frames[1]).sum(-1) > 60
        middles = []
        for frame in frames:
            paper = np.median(frame.reshape(-1, 3), axis=0)
            ys, xs = np.nonzero((np.abs(frame - paper).sum(-1) > 90) & moved)
            middles.append((xs.mean(), ys.mean()))
        which, sign = axis[clip.answer]
        assert sign * (middles[1][which] - middles[0][which]) > 5, clip.answer


def test_rows_are_rows_of_training_data():
    for index, sample in enumerate(World("train", 2 * len(TASKS))):
        row = parse_row(sample.row(), f"row {index}", "")
        assert row.kind == {"pair": "multi-image", "clip": "video", "box": "grounding"}.get(sample.task, "image")
    described = sample.row(caption_question(sample, "train", random.Random(0)), sample.caption)
    assert described["conversations"][1]["value"] == sample.caption


def test_looks_are_kept():
    look = Look(side=(90, 120), text=(0.1, 0.12), digits=(4, 4), aspect=1.1)
    for sample in World("train", 12, ("number",), look=look):
        (image,), (_, top, right, bottom) = sample.images, sample.boxes[0]
        assert min(image.size) >= 80 and max(image.size) <= 120 and max(image.size) <= 1.2 * min(image.size)
        assert len(sample.answer) == 4 and bottom - top < 0.2 * image.height and right <= image.width
    with pytest.raises(ValueError, match=r"`task` is one of number, .*got 'smell'"):
        draw_sample("smell", "train", 0)
    with pytest.raises(ValueError, match="`language` is one of en, zh or None, got 'ko'"):
        draw_sample("number", "train", 0, language="ko")
    with pytest.raises(IndexError):
        World("train", 3)[3]
