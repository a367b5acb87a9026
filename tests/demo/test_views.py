# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What the demo writes and draws beside an answer, with numbers that were worked out by hand. No model is loaded."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from transformers_internvl.demo import views
from transformers_internvl.demo.answering import Progress
from transformers_internvl.demo.views import LOOKED_IMAGES, draw_boxes, draw_looks, draw_seen, figures
from transformers_internvl.visualization import Answer, SeenImage


@pytest.mark.parametrize(
    ("tokens", "seconds", "stopped", "said"),
    [
        (None, (0.0, 0.0), True, ""),
        (0, (0.5, 0.0), False, ", answer: 0 tokens, first after 0.50 s"),
        (1, (0.5, 2.0), False, ", answer: 1 token, first after 0.50 s"),
        (2, (0.25, 0.5), False, ", answer: 2 tokens, 2.0 tokens/s, first after 0.25 s"),
        (9, (0.25, 0.0), True, ", answer: 9 tokens, first after 0.25 s, stopped"),
        (9, (1.0, 4.0), True, ", answer: 9 tokens, 2.0 tokens/s, first after 1.00 s, stopped"),
    ],
)
def test_figures(tokens, seconds, stopped, said):
    progress = Progress("text", 30, 8, tokens=tokens, seconds=seconds, stopped=stopped)
    assert figures(progress) == f"Prompt: 30 tokens, 8 of them of images{said}."


@pytest.fixture
def drawn(monkeypatch):
    """The calls of the functions that draw: their names and arguments."""
    calls = []
    for name in ("draw_tiles", "draw_frames", "add_caption", "draw_regions", "draw_attention"):
        monkeypatch.setattr(
            views, name, lambda *args, _name=name, **options: calls.append((_name, args, options)) or _name
        )
    return calls


WIDE, HIGH = Image.new("RGB", (90, 40)), Image.new("RGB", (40, 90))


@pytest.mark.parametrize(("compressed", "most"), [(None, ""), (16, " at most")])
def test_tiles_and_tokens_of_every_image(drawn, compressed, most):
    processor = SimpleNamespace(image_seq_length=10, compressed_image_seq_length=compressed)
    seen = [SeenImage(WIDE, (2, 1), 3, False), SeenImage(HIGH, (1, 4), 4, False), SeenImage(HIGH, (20, 1), 20, False)]
    assert draw_seen(Progress("", 0, 0, seen), processor) == ["add_caption"] * 3
    tiles = [call for call in drawn if call[0] == "draw_tiles"]
    assert tiles == [
        ("draw_tiles", (WIDE, 2, 1, 240), {"thumbnail": True}),  # 720 over two columns and the thumbnail
        ("draw_tiles", (HIGH, 1, 4, 180), {"thumbnail": False}),  # 720 over four rows
        ("draw_tiles", (HIGH, 20, 1, 48), {"thumbnail": False}),  # not smaller
    ]
    captions = [args for name, args, _ in drawn if name == "add_caption"]
    assert captions == [
        ("draw_tiles", ["90 x 40 px, grid 2 x 1 + thumbnail", f"3 tiles x 10 = 30 tokens{most}"], 360),
        ("draw_tiles", ["40 x 90 px, grid 1 x 4", f"4 tiles x 10 = 40 tokens{most}"], 360),
        ("draw_tiles", ["40 x 90 px, grid 20 x 1", f"20 tiles x 10 = 200 tokens{most}"], 360),
    ]


def test_the_frames_of_all_videos_are_one_drawing_after_the_images(drawn):
    processor = SimpleNamespace(image_seq_length=10)
    frames = [SeenImage(image, (1, 1), 1, False, label) for image, label in ((WIDE, "1: 0.00 s"), (HIGH, "2: 0.50 s"))]
    progress = Progress("", 0, 0, [frames[0], SeenImage(HIGH, (1, 1), 1, False), frames[1]])
    assert len(draw_seen(progress, processor)) == 2
    assert [name for name, *_ in drawn] == ["draw_tiles", "add_caption", "draw_frames", "add_caption"]
    assert drawn[2][1] == ([WIDE, HIGH], ["1: 0.00 s", "2: 0.50 s"], 180)
    assert drawn[3][1] == ("draw_frames", ["2 frames x 10 = 20 tokens"], 360)
    assert draw_seen(Progress("", 0, 0), processor) == []


def test_boxes_are_drawn_into_the_first_image(drawn):
    seen, regions = [SeenImage(WIDE, (1, 1), 1, False)], [("cat", (1.0, 2.0, 3.0, 4.0))]
    assert draw_boxes(Progress("", 0, 0, seen)) is None and drawn == []
    assert draw_boxes(Progress("", 0, 0, seen, regions=regions)) == "draw_regions"
    assert drawn == [("draw_regions", (WIDE, regions), {})]


END = "A panel shows where one token looked; brighter is more."


@pytest.mark.parametrize(("tokens", "said"), [(14, ""), (15, "The first 15 tokens of the answer. ")])
def test_attention_over_few_images(drawn, tmp_path, tokens, said):
    images = [SimpleNamespace(share=torch.tensor([0.1])) for _ in range(LOOKED_IMAGES)]
    answer = Answer("", torch.zeros(tokens), ["a"] * tokens, torch.tensor([0.25, 1.0]), images, [])
    assert draw_looks(answer, tmp_path) == f"Confidence 0.50. {said}{END}"
    ((_, (given, path), _),) = drawn
    assert given is answer and path == tmp_path


def test_attention_over_more_images_shows_those_with_most_of_it_in_their_order(drawn, tmp_path):
    shares = [[0.3, 0.3], [0.9, 0.0], [0.1, 0.1], [0.2, 0.3], [0.0, 0.4]]  # means: 0.3, 0.45, 0.1, 0.25, 0.2
    images = [SimpleNamespace(share=torch.tensor(share)) for share in shares]
    answer = Answer("", torch.zeros(2), ["a", "b"], torch.ones(2), images, [])
    expected = f"Confidence 1.00. The 4 of 5 images that get the most attention. {END}"
    assert draw_looks(answer, tmp_path) == expected
    assert drawn[0][1][0].images == [images[index] for index in (0, 1, 3, 4)] and len(answer.images) == 5
