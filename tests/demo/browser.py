# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Uses the page of `internvl demo` in headless Chromium: `python -m tests.demo.browser [--out FOLDER]`.

Needs the extra `demo`, playwright, and Chromium: that of the system, or playwright's own. Screenshots are left in the
folder, to be looked at.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, ImageChops
from playwright.sync_api import Page, expect, sync_playwright

from tests.clips import write_clip
from transformers_internvl.nano import sample_images

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120  # until something appears, on a busy machine
HOSTILE = "<img src=x onerror=alert(1)> <b>bold</b> **stars** &amp; <|im_end|> $x$"
LOOK = "What did it look at?"


@contextmanager
def served() -> Iterator[str]:
    """The address of a demo, and nothing of it left behind."""
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "True"}  # which the verb turns off
    command = [sys.executable, "-m", "transformers_internvl.cli", "demo", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        line = process.stdout.readline()
        yield re.search(r"http://\S+", line)[0]
    finally:
        process.terminate()
        process.wait(60)


def ask(page: Page, text: str, *files: Path) -> None:
    if files:
        page.set_input_files("#question input[type=file]", [str(path) for path in files])
        expect(page.locator("#question .thumbnails .thumbnail-item, #question .thumbnail-item")).to_have_count(
            len(files)
        )
    page.fill("#question textarea", text)
    page.press("#question textarea", "Enter")


def answered(page: Page, count: int) -> str:
    """The text of the last answer, when there are `count` and its figures are shown."""
    answers = page.locator("#chat [data-testid=bot]")
    expect(answers).to_have_count(count)
    expect(page.locator("#figures")).to_contain_text("answer:")
    return answers.last.inner_text().strip()


def is_a_drawing(page: Page, selector: str) -> bool:
    """Whether an image has loaded, and is of more than one colour."""
    shown = page.locator(selector).last
    expect(shown).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 50", arg=shown.element_handle())
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        shown.screenshot(path=file.name)
        return ImageChops.difference(*two_colours(Image.open(file.name).convert("RGB"))).getbbox() is not None


def two_colours(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    return image, Image.new("RGB", image.size, image.getpixel((2, image.height - 2)))


def use(page: Page, out: Path) -> None:
    """What a visitor does, and what has to be seen."""
    samples = sample_images()
    expect(page.get_by_text("What color is the circle?")).to_be_visible()
    page.screenshot(path=out / "1-empty.png")

    ask(page, "What number is written in the image?", samples["number"])
    assert answered(page, 1) == "7488"
    expect(page.locator("#figures")).to_contain_text("80 of them of images")
    assert is_a_drawing(page, "#tiles img")
    page.get_by_text(LOOK).click()
    assert is_a_drawing(page, "#looks img")
    page.screenshot(path=out / "2-answer.png", full_page=True)

    ask(page, HOSTILE)
    answered(page, 2)
    assert page.locator("#chat [data-testid=user]").last.inner_text().strip() == HOSTILE
    assert page.locator("#chat b, #chat strong, #chat img[src=x]").count() == 0
    page.screenshot(path=out / "3-hostile.png")

    page.get_by_text("New conversation").click()
    expect(page.locator("#chat [data-testid=bot]")).to_have_count(0)
    expect(page.locator("#looks img")).to_have_count(0)
    page.get_by_text("What color is the circle?").click()
    assert answered(page, 1) == "purple"

    page.get_by_label("Clear").first.click()
    expect(page.locator("#chat [data-testid=bot]")).to_have_count(0)
    clip = out / "clip.mp4"
    write_clip(clip, [40, 120, 200, 250])
    ask(page, "How many shapes are there?", samples["count"], clip)
    answered(page, 1)
    assert is_a_drawing(page, "#tiles img")
    page.screenshot(path=out / "4-image-and-video.png", full_page=True)

    broken = out / "broken.png"
    broken.write_bytes(b"no image")
    ask(page, "What is it?", broken)
    expect(page.get_by_text("broken.png is neither an image")).to_be_visible()
    expect(page.locator("#question textarea")).to_have_value("What is it?")
    answered(page, 1)  # what was there
    page.get_by_text("Settings").click()
    page.screenshot(path=out / "5-refused.png", full_page=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the screenshots (default: a temporary one)")
    parser.add_argument("--browser", help="Chromium's program (default: that on the path, else playwright's)")
    arguments = parser.parse_args()
    out = arguments.out or Path(tempfile.mkdtemp(prefix="demo-"))
    out.mkdir(parents=True, exist_ok=True)
    program = arguments.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    hosts, wrong = set(), []
    with served() as address, sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers lack; the page is our own.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on("console", lambda line: note(line, wrong))
        page.goto(address)
        use(page, out)
        browser.close()
    assert hosts - {""} == {urlsplit(address).netloc}, f"the page asked {hosts}"
    assert not wrong, wrong
    print(f"The page works. Screenshots: {out}")
    return 0


def note(line: Any, wrong: list[str]) -> None:
    if line.type == "error":
        wrong.append(line.text)


if __name__ == "__main__":
    sys.exit(main())
