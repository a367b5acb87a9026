# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Confidence of answers and boxes, drawings, and `internvl look`."""

import math
import shutil
import sys

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.nano import sample_images
from transformers_internvl.visualization import Answer, ImageAttention, LocatedBox, draw_attention
from transformers_internvl.visualization.answer import _boxes


def test_a_box_is_as_certain_as_its_numbers():
    processor = AutoProcessor.from_pretrained(golden_root() / "chat_qwen2")
    text = "<ref>dog</ref><box>[[50, 50, 550, 550], [0, 10, 100, 1000]]</box>"
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    chances, numbers = [], 0
    for index, token in enumerate(ids):
        word = processor.tokenizer.decode([token])
        started = any(character.isdigit() for character in processor.tokenizer.decode([ids[index - 1]]))
        digits = any(character.isdigit() for character in word)
        numbers += digits and not started
        chances.append((0.5 if numbers <= 4 else 0.25) if digits else 0.01)
    assert numbers == 8
    first, second = _boxes(processor, ids, torch.tensor(chances), (400, 200))
    assert (first.label, first.region) == ("dog", (10.0, 20.0, 110.0, 220.0))
    assert second.region == (0.0, 4.0, 20.0, 400.0)
    assert first.confidence == pytest.approx(0.5) and second.confidence == pytest.approx(0.25)


def an_answer(boxes=()):
    tiles = torch.zeros(2, 4, 6)
    tiles[0, 1, 4], tiles[1, 3, 0] = 0.5, 0.25
    thumbnail = torch.full((2, 2, 2), 0.05)
    image = ImageAttention(Image.new("RGB", (300, 200), "gray"), (3, 2), tiles, thumbnail, (0, 0, 300, 200))
    return Answer("a b", torch.tensor([5, 6]), ["a", " b"], torch.tensor([0.5, 0.125]), [image], list(boxes))


def test_confidence_and_shares():
    answer = an_answer()
    assert answer.mean_log_probability == pytest.approx(math.log(0.25)) and answer.confidence == pytest.approx(0.25)
    (image,) = answer.images
    torch.testing.assert_close(image.share, torch.tensor([0.7, 0.45]))
    torch.testing.assert_close(image.joined[0, 0, 0], torch.tensor(0.05 / 6))
    torch.testing.assert_close(image.joined[0, 1, 4], torch.tensor(0.5 + 0.05 / 6))


def test_the_brightest_place_of_a_drawing_is_the_attended_one(tmp_path):
    draw_attention(an_answer(), tmp_path / "plain.png")
    draw_attention(an_answer([LocatedBox("dog", (50.0, 50.0, 250.0, 150.0), 0.9)]), tmp_path / "box.png")
    drawing = Image.open(tmp_path / "plain.png").convert("RGB")
    panel = drawing.crop((drawing.width // 3, 0, 2 * drawing.width // 3, drawing.height))  # the first token
    bright = [
        (x, y)
        for y in range(panel.height)
        for x in range(panel.width)
        if panel.getpixel((x, y))[0] > 180 and panel.getpixel((x, y))[2] < 200
    ]
    center = [sum(values) / len(bright) for values in zip(*bright, strict=True)]
    assert center[0] / panel.width == pytest.approx(4.5 / 6, abs=0.05)  # column 4 of 6
    lime = {(0, 255, 0)}
    assert not lime & {color for _, color in drawing.getcolors(1 << 20)}
    with_box = Image.open(tmp_path / "box.png").convert("RGB")
    assert lime & {color for _, color in with_box.getcolors(1 << 20)}


def test_the_command(tmp_path, capsys):
    image = tmp_path / "number.png"
    shutil.copy(sample_images()["number"], image)
    assert main(["look", "--image", str(image), "What number is written in the image?", "--layers=-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "answer      7488" and lines[1].startswith("confidence  0.9")
    assert [line.split(":")[0] for line in lines[2:7]] == [f"token       {t!r}" for t in (*"7488", "<|im_end|>")]
    assert lines[7] == f"drawing     {tmp_path / 'number.look.png'}"
    assert Image.open(tmp_path / "number.look.png").width > 800


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--image", "no.png"], "no.png is no file: say with --output where the drawing goes."),
        (["--image", "no.png", "--output", "o.png"], "cannot answer: "),
        (["--image", "text.png"], "cannot answer: "),
        (["--image", "good.png", "--layers", "7"], "cannot answer: `layers` are whole numbers from -5 to 4, got 7."),
        (["--image", "good.png", "--output", "no/o.png", "--max-new-tokens", "1"], "cannot write no/o.png"),
    ],
)
def test_mistakes_are_one_line(arguments, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no image")
    shutil.copy(sample_images()["number"], tmp_path / "good.png")
    assert main(["look", *arguments, "What?"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("internvl look: ") and reason in err and err.count("\n") == 1


def test_without_matplotlib_an_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'transformers_internvl\[look\]'"):
        draw_attention(an_answer(), tmp_path / "o.png")
