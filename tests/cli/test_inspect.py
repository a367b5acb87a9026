# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl inspect`: figures, drawing, and errors in one line."""

import re

import pytest
from PIL import Image

from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.cli.inspect import COMPRESSED, LINE, MARGIN, draw_tiles

MODEL = str(golden_root() / "chat_qwen2")  # tiles of 56 px, 4 tokens each


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "wide.png"
    Image.linear_gradient("L").resize((300, 200)).convert("RGB").save(path)
    return path


def run(capsys, *arguments):
    code = main(["inspect", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_figures_and_drawing(picture, tmp_path, capsys):
    output = tmp_path / "cut.png"
    code, out, err = run(capsys, picture, "--model", MODEL, "--max-patches", 6, "--output", output)
    assert (code, err) == (0, "")
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()] == [
        "300 x 200 px",
        "3 x 2 (columns x rows), a canvas of 168 x 112 px",
        "6 + thumbnail = 7, 56 x 56 px each",
        "7 x 4 = 28",
        "28 positions; with v2pe_stride: 7 at 1/4, 2 at 1/16, 1 at 1/64",
        str(output),
    ]
    drawing = Image.open(output)
    assert drawing.size == (3 * 56 + MARGIN + 56, 2 * 56)


def test_output_stands_beside_the_picture_by_default(picture, capsys):
    code, out, _ = run(capsys, picture, "--model", MODEL)
    assert code == 0
    assert picture.with_suffix(".cut.png").exists() and str(picture.with_suffix(".cut.png")) in out


def test_a_single_tile_has_no_thumbnail(picture, tmp_path, capsys):
    code, out, _ = run(capsys, picture, "--model", MODEL, "--max-patches", 1, "--output", tmp_path / "one.png")
    assert code == 0 and "1 = 1, 56 x 56 px each" in out
    assert Image.open(tmp_path / "one.png").size == (56, 56)


def test_draw_tiles_marks_every_tile():
    drawing = draw_tiles(Image.new("RGB", (90, 60), "white"), 3, 2, 112, thumbnail=True)
    for column in range(3):
        for row in range(2):
            assert drawing.getpixel((column * 112, row * 112)) == LINE
            assert drawing.getpixel((column * 112 + 111, row * 112 + 111)) == LINE
    assert drawing.getpixel((3 * 112 + MARGIN, 0)) == LINE
    assert drawing.getpixel((3 * 112 + MARGIN // 2, 50)) == (255, 255, 255)
    colors = {color for _, color in drawing.crop((4, 4, 40, 40)).getcolors(4096)}
    assert LINE in colors  # the number


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["missing.png"], "cannot open missing.png"),
        (["text.png"], "cannot open text.png"),
        (["wide.png", "--max-patches", "99999"], "more than the 10000 that are supported"),
        (["wide.png", "--output", "no/such/folder/cut.png"], "cannot write no/such/folder/cut.png"),
        (["wide.png", "--model", "no/such/model"], "cannot load the processor of no/such/model"),
    ],
)
def test_mistakes_are_one_line(picture, arguments, reason, capsys, monkeypatch):
    monkeypatch.chdir(picture.parent)
    (picture.parent / "text.png").write_text("no picture")
    model = [] if "--model" in arguments else ["--model", MODEL]
    code, out, err = run(capsys, *arguments, *model)
    assert code == 2
    assert err.count("\n") == 1 and err.startswith("internvl inspect: ") and reason in err
    assert "Traceback" not in err


def test_a_giant_picture_is_refused(picture, capsys, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    code, _, err = run(capsys, picture, "--model", MODEL)
    assert code == 2 and "too large" in err


FLASH = str(golden_root() / "chat_flash")  # tiles of 64 px: 256 tokens, 64 of a compressed one


def test_tiles_that_the_router_compresses(picture, tmp_path, capsys):
    output = tmp_path / "cut.png"
    thresholds = ("--relative-threshold", 0.5, "--absolute-threshold", 0)
    code, out, err = run(capsys, picture, "--model", FLASH, "--max-patches", 6, "--output", output, *thresholds)
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["tokens"] == "7 x 256 = 1792 at most, 640 at least: the router decides by pixels"
    found = re.fullmatch(r"3 of 7 compressed to 64 tokens \((.*)\): 1216 tokens", lines["router"])
    compressed = {int(number) for number in found[1].split(", ")}
    drawing = Image.open(output)
    for number in range(6):
        row, column = divmod(number, 3)
        colour = COMPRESSED if number in compressed else LINE
        assert drawing.getpixel((column * 64 + 63, row * 64 + 63)) == colour
    code, out, _ = run(capsys, picture, "--model", FLASH, "--no-model", "--output", output)
    assert code == 0 and "compressed to" not in out and "at most" in out


@pytest.mark.parametrize("options", [("--no-model",), ("--relative-threshold", 0.5), ("--absolute-threshold", 0)])
def test_options_of_flash_for_another_model(picture, capsys, options):
    code, _, err = run(capsys, picture, "--model", MODEL, *options)
    assert code == 2 and f"{options[0]} is for InternVL3.5-Flash" in err


def test_a_threshold_outside_of_0_and_1(picture, capsys):
    code, _, err = run(capsys, picture, "--model", FLASH, "--relative-threshold", 2)
    assert code == 2 and "must be a number in [0, 1], got 2.0" in err
