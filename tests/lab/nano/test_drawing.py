# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The drawings: the same for the same seed, varied between seeds, and true to their answers."""

import random

import numpy as np
import pytest
import torch

from lab.nano.drawing import Style, draw
from lab.nano.examples import (
    IGNORE,
    PATCH_CLASSES,
    PATCHES,
    Collator,
    Examples,
    Mix,
    build_example,
    patch_classes,
)
from lab.nano.model import TILE_SIZE, TOKENS_PER_TILE, build_tokenizer
from lab.nano.palette import COLORS
from lab.nano.questions import COUNTS, SHAPES, TASKS
from transformers_internvl.processing.images.image_processing import InternVLImageProcessor

BUILT_IN_FONT = Style()


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_gives_one_image(task):
    one, same, other = draw(task, 7, BUILT_IN_FONT), draw(task, 7, BUILT_IN_FONT), draw(task, 8, BUILT_IN_FONT)
    assert one.image.tobytes() == same.image.tobytes()
    assert (one.question, one.answer, one.marks) == (same.question, same.answer, same.marks)
    assert (other.image.size, other.image.tobytes()) != (one.image.size, one.image.tobytes())


@pytest.mark.parametrize("task", TASKS)
def test_answers_agree_with_what_is_drawn(task):
    for seed in range(60):
        drawing = draw(task, seed, BUILT_IN_FONT)
        assert all(100 <= side <= 500 for side in drawing.image.size)
        assert drawing.answer in COUNTS + COLORS or (task == "number" and drawing.answer.isdigit())
        middles = [mark.box[0] + mark.box[2] for mark in drawing.marks]
        if task == "number":
            assert "".join(mark.kind for mark in drawing.marks) == drawing.answer
        elif task == "count":
            assert str(len(drawing.marks)) == drawing.answer
            assert middles == sorted(middles)
        else:
            kind = next(kind for kind in SHAPES if kind in drawing.question)
            assert [mark.color for mark in drawing.marks if mark.kind == kind] == [drawing.answer]


@pytest.mark.parametrize("task", TASKS)
def test_marks_lie_inside_the_image_and_are_visible(task):
    for seed in range(40):
        drawing = draw(task, seed, BUILT_IN_FONT)
        pixels = np.asarray(drawing.image, dtype=int)
        for mark in drawing.marks:
            x0, y0, x1, y1 = (round(edge) for edge in mark.box)
            assert x0 >= -3 and y0 >= -3 and x1 <= drawing.image.width + 3 and y1 <= drawing.image.height + 3
            around = pixels[max(0, y0 - 3) : y1 + 4, max(0, x0 - 3) : x1 + 4].reshape(-1, 3)
            assert np.ptp(around, axis=0).max() > 50, (task, seed, mark)


def test_shapes_do_not_overlap():
    for seed in range(60):
        marks = draw("count", seed, BUILT_IN_FONT).marks
        for index, one in enumerate(marks):
            for other in marks[index + 1 :]:
                a, b = one.box, other.box
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_all_answers_come_up():
    assert {draw("color", seed, BUILT_IN_FONT).answer for seed in range(150)} == set(COLORS)
    assert {draw("count", seed, BUILT_IN_FONT).answer for seed in range(80)} == set(COUNTS)
    assert {len(draw("number", seed, BUILT_IN_FONT).answer) for seed in range(40)} == {2, 3, 4}


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="number, color, count"):
        draw("poem", 0)


def test_tiles_are_those_of_the_image_processor(tokenizer):
    processor = InternVLImageProcessor(size={"height": TILE_SIZE, "width": TILE_SIZE}, max_patches=4)
    for seed in range(6):
        drawing = draw("count", seed, BUILT_IN_FONT)
        batch = Collator(0)([build_example(drawing, tokenizer, Mix(), random.Random(0))])
        levels = processor(drawing.image, return_tensors="pt", do_rescale=False, do_normalize=False)["pixel_values"]
        assert torch.equal(batch.pixels, levels.permute(0, 2, 3, 1))
        values = processor(drawing.image, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(batch.pixel_values(), values, atol=1e-5, rtol=1e-5)


def test_patches_say_what_they_show():
    drawing = draw("number", 3, BUILT_IN_FONT)
    whole = patch_classes(drawing, (0.0, 0.0, *map(float, drawing.image.size)), whole=True).reshape(
        PATCHES, PATCHES, 5
    )
    assert (whole[..., 4] == len(drawing.answer)).all()
    for order, mark in enumerate(drawing.marks, start=1):
        column = int((mark.box[0] + mark.box[2]) / 2 / drawing.image.width * PATCHES)
        row = int((mark.box[1] + mark.box[3]) / 2 / drawing.image.height * PATCHES)
        digit, kind, _, place, _ = whole[row, column]
        assert (digit, kind, place) == (int(mark.kind) + 1, 0, order)
    part = patch_classes(drawing, (0.0, 0.0, 5.0, 5.0), whole=False).reshape(-1, 5)
    assert (part[:, 4] == IGNORE).all()
    assert whole.max(axis=(0, 1)).tolist() < list(PATCH_CLASSES.values())


def test_examples_repeat_from_any_start(tokenizer):
    mix = Mix(style=BUILT_IN_FONT)
    all_of_them, later = Examples(tokenizer, mix, "seed", 8), Examples(tokenizer, mix, "seed", 8, start=5)
    assert len(later) == 3
    assert later[1].ids == all_of_them[6].ids
    assert np.array_equal(later[1].tiles, all_of_them[6].tiles)


def test_labels_are_the_answers_alone(tokenizer):
    examples = Examples(tokenizer, Mix(style=BUILT_IN_FONT), "labels", 6)
    batch = Collator(tokenizer.pad_token_id, keep_drawings=True)([examples[index] for index in range(6)])
    image_token = tokenizer.context_image_token_id
    assert (batch.ids == image_token).sum() == len(batch.pixels) * TOKENS_PER_TILE
    for drawing, labels in zip(batch.drawings, batch.labels, strict=True):
        assert tokenizer.decode(labels[labels != IGNORE]) == f"{drawing.answer}<|im_end|>"


def test_hints_stand_after_the_word_that_names_the_shape(tokenizer):
    mix = Mix(shares=(0, 1, 0), style=BUILT_IN_FONT, image_last=0.5)
    examples = [Examples(tokenizer, mix, "hints", 12)[index] for index in range(12)]
    batch = Collator(tokenizer.pad_token_id)(examples)
    for example, ids, hints in zip(examples, batch.ids, batch.hints, strict=True):
        places = (hints != IGNORE).nonzero().flatten().tolist()
        text = tokenizer.decode(ids)
        assert bool(places) == (text.index("<img>") < text.index(example.drawing.question))
        for place in places:
            assert f"the{tokenizer.decode(ids[place - 1])}" in example.drawing.question
            assert tokenizer.decode(hints[place]) == example.drawing.answer
    assert {example.hint_at is None for example in examples} == {True, False}
