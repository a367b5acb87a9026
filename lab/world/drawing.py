# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What is drawn in the world, task by task. Shapes, shades and papers are those of the embedded model (`lab.nano`).

A function of `DRAWERS` takes a [`Pen`] and gives [`Scene`]: pictures, what fills the question, the answer, and what is
said of the pictures. Words of answers and captions are English here; `sample.py` translates them.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from lab.nano.drawing import Box, Mark, Shape, Style, arrange, paint
from lab.nano.palette import COLORS, RGB, background, ink, shade
from lab.nano.questions import SHAPES
from transformers_internvl.processing.text.grounding import format_box

from .fonts import FONTS, font

LABELS = "ABCD"
SYLLABLES = ("bcdfghkmnprstvz", "aeiou", "dgklmnprst")
"""First, second and third letter of a word."""

TEST_SHARE = 5
"""One of so many words, numbers and prices is for the test split alone."""


@dataclass(frozen=True)
class Look:
    """How large things are.

    Attributes:
        side: smallest and largest side of a picture in pixels; both sides are drawn from it.
        text: smallest and largest height of a line of text, relative to the shorter side.
        shape: the smallest side of a shape, relative to the shorter side.
        digits: smallest and largest number of digits of a number.
        aspect: the largest ratio of the sides; the shorter side is enlarged where it is exceeded.
    """

    side: tuple[int, int] = (64, 160)
    text: tuple[float, float] = (0.16, 0.45)
    shape: float = 0.22
    digits: tuple[int, int] = (1, 3)
    aspect: float = 2.0


@dataclass(frozen=True)
class Pen:
    """What a drawer draws with: its random numbers, the split and the look."""

    rng: random.Random
    split: str
    look: Look

    def size(self) -> tuple[int, int]:
        """Width and height of a picture."""
        width, height = (self.rng.randint(*self.look.side) for _ in range(2))
        least = int(max(width, height) / self.look.aspect)
        return max(width, least), max(height, least)

    def lettering(self, image: Image.Image, lines: int = 1) -> tuple[str | None, int]:
        """A font of the split, and a size in pixels at which so many lines have room."""
        share = self.rng.uniform(*self.look.text)
        size = max(6, round(min(share, 0.8 / lines) * min(image.size)))
        return self.rng.choice(FONTS[self.split]), size


@dataclass(frozen=True)
class Scene:
    """Pictures of a task.

    Attributes:
        images: one, two, or the frames of a clip.
        answer: a word of the world, a number, a text, or boxes.
        caption: what is said of it, as words of the world and texts in order.
        blanks: what fills the question.
        boxes: of what the question asks for, in pixels.
        marks: the shapes of each picture, from left to right; empty where there is text.
    """

    images: tuple[Image.Image, ...]
    answer: str
    caption: tuple[str, ...]
    blanks: dict[str, str]
    boxes: tuple[Box, ...] = ()
    marks: tuple[tuple[Mark, ...], ...] = ()


def of_split(text: str, split: str) -> bool:
    """Whether a word or number may be drawn in a split."""
    return (zlib.crc32(text.encode()) % TEST_SHARE == 0) == (split == "test")


def draw_word(rng: random.Random, split: str) -> str:
    """A word of three letters."""
    while True:
        word = "".join(rng.choice(letters) for letters in SYLLABLES)
        if of_split(word, split):
            return word


def draw_number(rng: random.Random, split: str, digits: tuple[int, int]) -> str:
    """A number without zeros in front. Single digits are in both splits: there are ten."""
    while True:
        length = rng.randint(*digits)
        number = str(rng.randrange(10 ** (length - 1) if length > 1 else 0, 10**length))
        if length == 1 or of_split(number, split):
            return number


# --- Text ------------------------------------------------------------------------------------------------------------


def write(image: Image.Image, at: tuple[float, float], text: str, lettering: tuple[str | None, int], fill: RGB) -> Box:
    """Write a line whose box begins at `at`; returns the box."""
    letters = font(*lettering)
    left, top, right, bottom = letters.getbbox(text)
    ImageDraw.Draw(image).text((at[0] - left, at[1] - top), text, font=letters, fill=fill)
    return at[0], at[1], at[0] + right - left, at[1] + bottom - top


def _fitting(text: str, lettering: tuple[str | None, int], width: float) -> tuple[str | None, int]:
    """The lettering, smaller if the text is wider than `width` pixels."""
    name, size = lettering
    while size > 5 and font(name, size).getlength(text) > width:
        size -= 1
    return name, size


def _text_alone(pen: Pen, text: str, what: str) -> Scene:
    width, height = pen.size()
    image = background(pen.rng, width, height)
    lettering = _fitting(text, pen.lettering(image), 0.92 * width)
    left, top, right, bottom = font(*lettering).getbbox(text)
    at = tuple(pen.rng.uniform(1, max(1.0, room - 1)) for room in (width - right + left, height - bottom + top))
    box = write(image, (at[0], at[1]), text, lettering, _ink_for(pen.rng, image))
    return Scene((image,), text, (what, text), {}, (box,))


def _ink_for(rng: random.Random, image: Image.Image) -> RGB:
    under = image.resize((1, 1)).tobytes()
    return ink(rng, (under[0], under[1], under[2]))


def number(pen: Pen) -> Scene:
    """A number somewhere on paper."""
    return _text_alone(pen, draw_number(pen.rng, pen.split, pen.look.digits), "the number")


def word(pen: Pen) -> Scene:
    """A word somewhere on paper."""
    return _text_alone(pen, draw_word(pen.rng, pen.split), "the word")


def receipt(pen: Pen) -> Scene:
    """Two or three lines with a word and a price."""
    width, height = pen.size()
    image = background(pen.rng, width, height)
    words = {draw_word(pen.rng, pen.split): _price(pen) for _ in range(pen.rng.randint(2, 3))}
    lettering = _fitting("mmm 8.88", pen.lettering(image, len(words) + 1), 0.9 * width)
    step = height / (len(words) + 1)
    fill, boxes = _ink_for(pen.rng, image), {}
    for line, (name, price) in enumerate(words.items()):
        top = step * (line + 0.5)
        write(image, (0.05 * width, top), name, lettering, fill)
        price_width = font(*lettering).getlength(price)
        boxes[name] = write(image, (0.95 * width - price_width, top), price, lettering, fill)
    asked = pen.rng.choice(list(words))
    caption = ("a receipt:", *(part for name, price in words.items() for part in (name, price)))
    return Scene((image,), words[asked], caption, {"label": asked}, (boxes[asked],))


def _price(pen: Pen) -> str:
    while True:
        price = f"{pen.rng.randint(1, 9)}.{pen.rng.randint(0, 99):02d}"
        if of_split(price, pen.split):
            return price


def chart(pen: Pen) -> Scene:
    """Two to four bars, each with its label below and its value above."""
    width, height = pen.size()
    image = background(pen.rng, width, height)
    values = {label: str(pen.rng.randint(1, 9)) for label in LABELS[: pen.rng.randint(2, 4)]}
    name, size = pen.lettering(image, 5)
    lettering = _fitting("8", (name, size), 0.8 * width / len(values))
    fill, paint_bar = _ink_for(pen.rng, image), shade(pen.rng, pen.rng.choice(COLORS))
    line = font(*lettering).getbbox("A8")[3]
    floor, wide = height - 1.3 * line, width / len(values)
    boxes = {}
    for place, (label, value) in enumerate(values.items()):
        middle = wide * (place + 0.5)
        top = floor - (floor - 1.5 * line) * int(value) / 9
        bar = (middle - 0.25 * wide, top, middle + 0.25 * wide, floor)
        ImageDraw.Draw(image).rectangle(bar, fill=paint_bar)
        half = font(*lettering).getlength("8") / 2
        write(image, (middle - half, floor + 0.2 * line), label, lettering, fill)
        boxes[label] = write(image, (middle - half, top - 1.2 * line), value, lettering, fill)
    asked = pen.rng.choice(list(values))
    caption = ("a chart:", *(part for label, value in values.items() for part in (label, value)))
    return Scene((image,), values[asked], caption, {"label": asked}, (boxes[asked],))


# --- Shapes ----------------------------------------------------------------------------------------------------------


def _style(pen: Pen) -> Style:
    return Style(min_side=pen.look.side[0], max_side=pen.look.side[1], smallest=pen.look.shape)


def _shapes(pen: Pen, kinds: list[str], colors: list[str]) -> tuple[Image.Image, list[Shape]]:
    """Paper, and shapes with room on it that are not painted yet, from left to right."""
    width, height = pen.size()
    fills = [shade(pen.rng, color) for color in colors]
    paper = background(pen.rng, width, height, fills)
    named: list[str | None] = list(colors)
    shapes = arrange(pen.rng, _style(pen), width, height, kinds, named, fills)
    return paper, sorted(shapes, key=lambda shape: shape.box[0] + shape.box[2])


def _painted(paper: Image.Image, shapes: list[Shape]) -> Image.Image:
    image = paper.copy()
    for shape in shapes:
        paint(image, shape)
    return image


def _said(shapes: list[Shape]) -> tuple[str, ...]:
    return tuple(part for shape in shapes for part in (str(shape.color), shape.kind))


def _marks(*pictures: list[Shape]) -> tuple[tuple[Mark, ...], ...]:
    return tuple(tuple(Mark(shape.kind, shape.color, shape.box) for shape in shapes) for shapes in pictures)


def _different(pen: Pen, count: int) -> tuple[list[str], list[str]]:
    """Kinds and colors, no two alike."""
    return pen.rng.sample(SHAPES, count), pen.rng.sample(COLORS, count)


def color(pen: Pen) -> Scene:
    """One or two shapes, one of whose color is asked for."""
    paper, shapes = _shapes(pen, *_different(pen, pen.rng.randint(1, 2)))
    asked = pen.rng.choice(shapes)
    blanks = {"kind": asked.kind}
    return Scene(
        (_painted(paper, shapes),), str(asked.color), _said(shapes), blanks, (asked.box,), marks=_marks(shapes)
    )


def shape(pen: Pen) -> Scene:
    """One or two shapes, one of whose kind is asked for."""
    paper, shapes = _shapes(pen, *_different(pen, pen.rng.randint(1, 2)))
    asked = pen.rng.choice(shapes)
    blanks = {"color": str(asked.color)}
    return Scene((_painted(paper, shapes),), asked.kind, _said(shapes), blanks, (asked.box,), marks=_marks(shapes))


def count(pen: Pen) -> Scene:
    """One to five shapes."""
    kinds = [pen.rng.choice(SHAPES) for _ in range(pen.rng.randint(1, 5))]
    paper, shapes = _shapes(pen, kinds, [pen.rng.choice(COLORS) for _ in kinds])
    said = (str(len(shapes)), "shapes")
    return Scene((_painted(paper, shapes),), str(len(shapes)), said, {}, marks=_marks(shapes))


def position(pen: Pen) -> Scene:
    """Two shapes; which one is at the left, right, top or bottom."""
    while True:
        paper, shapes = _shapes(pen, *_different(pen, 2))
        middles = [((s.box[0] + s.box[2]) / paper.width, (s.box[1] + s.box[3]) / paper.height) for s in shapes]
        across, down = (abs(middles[0][axis] - middles[1][axis]) for axis in (0, 1))
        if max(across, down) > 0.4:
            break
    axis = 0 if across >= down else 1
    first, last = sorted(range(2), key=lambda index: middles[index][axis])
    side, asked = pen.rng.choice(((("left", "top")[axis], first), (("right", "bottom")[axis], last)))
    scene = shapes[asked]
    caption = (side, str(scene.color), scene.kind)
    blanks = {"side": side}
    return Scene((_painted(paper, shapes),), scene.kind, caption, blanks, (scene.box,), marks=_marks(shapes))


def box(pen: Pen) -> Scene:
    """One to three shapes, one of which is to be found; the answer is a box in thousandths of the sides."""
    paper, shapes = _shapes(pen, *_different(pen, pen.rng.randint(1, 3)))
    asked = pen.rng.choice(shapes)
    answer = format_box(asked.box, (paper.height, paper.width), label="{kind}")
    blanks = {"kind": asked.kind}
    return Scene((_painted(paper, shapes),), answer, _said(shapes), blanks, (asked.box,), marks=_marks(shapes))


def pair(pen: Pen) -> Scene:
    """Two pictures: one shape has another color or another kind, or is missing in the second, or nothing differs."""
    paper, shapes = _shapes(pen, *_different(pen, 2))
    what = pen.rng.choice(("color", "shape", "count", "nothing"))
    at = pen.rng.randrange(2)
    changed, old = list(shapes), shapes[at]
    if what == "count":
        del changed[at]
    elif what == "color":
        other = pen.rng.choice([name for name in COLORS if name not in {str(s.color) for s in shapes}])
        changed[at] = replace(old, color=other, fill=shade(pen.rng, other), filled=True)
    elif what == "shape":
        (kind,) = set(SHAPES) - {s.kind for s in shapes}
        changed[at] = replace(old, kind=kind, points=_corners_in(kind, old.box))
    images = (_painted(paper, shapes), _painted(paper, changed))
    return Scene(images, what, (*_said(shapes), "then", *_said(changed)), {}, marks=_marks(shapes, changed))


def _corners_in(kind: str, box: Box) -> tuple[tuple[float, float], ...]:
    """The corners of a shape that fills a box."""
    left, top, right, bottom = box
    if kind == "circle":
        return (left, top), (right, bottom)
    if kind == "triangle":
        return ((left + right) / 2, top), (right, bottom), (left, bottom)
    return (left, top), (right, top), (right, bottom), (left, bottom)


FRAMES = 4


def clip(pen: Pen) -> Scene:
    """Four frames in which a shape moves to the left, right, top or bottom."""
    kinds, colors = _different(pen, 1)
    smaller = replace(pen, look=replace(pen.look, shape=min(pen.look.shape, 0.25)))
    paper, (drawn,) = _shapes(smaller, kinds, colors)
    way, (dx, dy) = pen.rng.choice(
        (("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))),
    )
    left, top, right, bottom = drawn.box
    scale = min(1.0, 0.4 * paper.width / (right - left), 0.4 * paper.height / (bottom - top))
    points = [((x - left) * scale, (y - top) * scale) for x, y in drawn.points]
    room = paper.width - (right - left) * scale - 2, paper.height - (bottom - top) * scale - 2
    start = [
        1 + pen.rng.random() * room[axis] if not step else 1 + room[axis] * (step < 0)
        for axis, step in enumerate((dx, dy))
    ]
    frames, seen = [], []
    for index in range(FRAMES):
        moved = [start[axis] + step * room[axis] * index / (FRAMES - 1) for axis, step in enumerate((dx, dy))]
        at = tuple((x + moved[0], y + moved[1]) for x, y in points)
        seen.append([replace(drawn, points=at)])
        frames.append(_painted(paper, seen[-1]))
    return Scene(tuple(frames), way, (str(drawn.color), drawn.kind, "moves", way), {}, marks=_marks(*seen))


DRAWERS: dict[str, Callable[[Pen], Scene]] = {
    "number": number,
    "word": word,
    "color": color,
    "shape": shape,
    "count": count,
    "position": position,
    "chart": chart,
    "receipt": receipt,
    "pair": pair,
    "clip": clip,
    "box": box,
}
"""Task -> what draws it."""

__all__ = ["DRAWERS", "FRAMES", "LABELS", "Look", "Pen", "Scene", "draw_number", "draw_word", "of_split"]
