# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl inspect`: figures, drawing, and errors in one line."""

import re

import pytest
from PIL import Image
from transformers import AutoProcessor

from tests.clips import write_clip
from tests.parity.golden import golden_root
from transformers_internvl.cli import main
from transformers_internvl.visualization.tiles import COMPRESSED, LINE, MARGIN, add_caption, draw_frames, draw_tiles

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
    tiles = draw_tiles(Image.open(picture), 3, 2, 56, thumbnail=True)
    assert tiles.size == (3 * 56 + MARGIN + 56, 2 * 56)
    expected = add_caption(tiles, ["300 x 200 px, grid 3 x 2 + thumbnail", "tokens: 7 x 4 = 28"], 56)
    assert drawing.tobytes() == expected.tobytes()


def test_output_stands_beside_the_image_by_default(picture, capsys):
    code, out, _ = run(capsys, picture, "--model", MODEL)
    assert code == 0
    assert picture.with_suffix(".cut.png").exists() and str(picture.with_suffix(".cut.png")) in out


def test_a_single_tile_has_no_thumbnail(picture, tmp_path, capsys):
    code, out, _ = run(capsys, picture, "--model", MODEL, "--max-patches", 1, "--output", tmp_path / "one.png")
    assert code == 0 and "1 = 1, 56 x 56 px each" in out
    drawing = Image.open(tmp_path / "one.png")
    assert (
        drawing.crop((0, 0, 56, 56)).tobytes() == draw_tiles(Image.open(picture), 1, 1, 56, thumbnail=False).tobytes()
    )


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


def test_a_giant_image_is_refused(picture, capsys, monkeypatch):
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


def test_a_caption_stands_below_and_has_room():
    drawing = Image.new("RGB", (60, 40), LINE)
    lines = ["a line that is much wider than the drawing", "tokens: 4"]
    captioned = add_caption(drawing, lines, 56)
    assert captioned.width > 150 and captioned.crop((0, 0, 60, 40)).tobytes() == drawing.tobytes()
    assert captioned.crop((60, 0, captioned.width, 40)).getcolors() == [((captioned.width - 60) * 40, (255,) * 3)]
    band = captioned.crop((0, 40, captioned.width, captioned.height)).convert("L")
    dark = [y for y in range(band.height) if min(band.crop((0, y, band.width, y + 1)).tobytes()) < 128]
    assert dark and dark[0] > 0 and dark[-1] < band.height - 1  # no letter is cut off
    edges = [band.crop((x, 0, x + 1, band.height)).getextrema() for x in (0, band.width - 1)]
    assert edges == [(255, 255), (255, 255)]


def test_frames_of_a_video(tmp_path, capsys):
    clip, output = tmp_path / "clip.mp4", tmp_path / "frames.png"
    shades = range(0, 250, 25)
    write_clip(clip, shades)
    code, out, err = run(capsys, clip, "--model", MODEL, "--num-frames", 5, "--output", output)
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["video"] == "64 x 48 px, 10 frames, 2.50 s at 4 frames/s"
    assert lines["tokens"] == "5 x 4 = 20, and labels such as 'Frame1: '"
    count, _, indices = lines["frames"].partition(", from 0: ")
    chosen = [int(index) for index in indices.split(", ")]
    processor = AutoProcessor.from_pretrained(MODEL)
    metadata = processor.video_processor([str(clip)], num_frames=5, return_metadata=True)["video_metadata"][0]
    assert count == "5" and chosen == list(metadata.frames_indices)
    assert lines["seconds"] == ", ".join(f"{index / 4:.2f}" for index in chosen)
    drawing = Image.open(output)
    for number, index in enumerate(chosen):
        row, column = divmod(number, 4)
        center = drawing.getpixel((column * 56 + 40, row * 56 + 40))
        assert all(abs(level - shades[index]) < 12 for level in center)


def test_a_folder_is_a_video_and_its_drawing_stands_beside_it(tmp_path, capsys):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 10 + 5 * (number > 0)), (number * 100,) * 3).save(folder / f"{number}.png")
    code, out, _ = run(capsys, folder, "--model", MODEL)
    assert code == 0 and "video    20 x 10 px, 3 frames\n" in out and "frames   3, from 0: 0, 1, 2\n" in out
    assert "seconds" not in out and (tmp_path / "frames.cut.png").is_file()


def test_draw_frames_leaves_free_places_white():
    drawing = draw_frames([Image.new("RGB", (9, 9), "black")] * 5, list("abcde"), 32)
    assert drawing.size == (128, 64)
    assert drawing.getpixel((20, 60)) == (0, 0, 0) and drawing.getpixel((60, 60)) == (255, 255, 255)


@pytest.mark.parametrize(
    "name, options, reason",
    [
        ("wide.png", ("--num-frames", 2), "--num-frames is for videos; give --video if wide.png is one."),
        ("clip.mp4", ("--max-patches", 2), "--max-patches is for images: a frame is one tile."),
        ("clip.mp4", ("--no-model",), "--no-model is for images"),
        ("missing.mp4", (), "cannot read the video missing.mp4"),
        ("wide.png", ("--video",), "cannot read the video wide.png"),
    ],
)
def test_mistakes_about_videos(picture, capsys, monkeypatch, name, options, reason):
    monkeypatch.chdir(picture.parent)
    write_clip(picture.parent / "clip.mp4", [0, 100])
    code, _, err = run(capsys, name, "--model", MODEL, *options)
    assert code == 2 and reason in err and err.count("\n") == 1
