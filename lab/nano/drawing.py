# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images with questions and answers for the nano model, drawn with Pillow alone.

Three tasks: read a number of 2 to 4 digits, name the colour of a shape, count 1 to 5 shapes. Everything an image
varies in (size, place, font, shade, background, edges) is drawn from one `random.Random`, so that a seed and a set of
fonts give one image. Fonts are those found on the machine, and always Pillow's built-in one.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from .fonts import Families, common_families, font_families
from .palette import COLORS, RGB, background, frame, ink, shade
from .questions import PARAPHRASES, QUESTIONS, SHAPES, TASKS

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A digit or shape: its `kind` (`"0"` … `"9"`, or of `SHAPES`, or `"rectangle"`), named color, box in pixels."""

    kind: str
    color: str | None
    box: Box


@dataclass(frozen=True)
class Drawing:
    """An image (RGB) with a question and its answer; `marks` lists what is in it, from left to right."""

    image: Image.Image
    task: str
    question: str
    answer: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Style:
    """What images vary within: sides in pixels, the smallest size of a mark relative to the shorter side (of a
    digit: to the height), how often a question is paraphrased, the font families to write with and how often to write
    with the built-in font, and how often the shape whose color is asked for is alone."""

    min_side: int = 100
    max_side: int = 500
    smallest: float = 0.09
    paraphrase: float = 0.0
    families: Families = ()
    built_in_font: float = 0.2
    alone: float = 0.62


def draw(task: str, seed: int | str | random.Random, style: Style | None = None) -> Drawing:
    """One image of `task` (of `TASKS`), the same for the same seed, style and fonts.

    Raises `ValueError` for an unknown task.
    """
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {', '.join(TASKS)}, got {task!r}.")
    rng = seed if isinstance(seed, random.Random) else random.Random(f"{task}-{seed}")
    style = style or Style(families=common_families(font_families()))
    return _draw_number(rng, style) if task == "number" else _draw_shapes(task, rng, style)


# --- Numbers ---------------------------------------------------------------------------------------------------------


def _draw_number(rng: random.Random, style: Style) -> Drawing:
    width, height = _image_size(rng, style)
    n_digits = rng.choice((2, 3, 3, 4, 4))
    answer = str(rng.randrange(10 ** (n_digits - 1), 10**n_digits))
    if rng.random() < 0.04:
        answer = f"{rng.randrange(10**n_digits):0{n_digits}d}"  # some with zeros in front
    image = background(rng, width, height)
    mask, boxes = _written(answer, rng, style, width, height)
    left, top = _place(rng, width - mask.width, height - mask.height)
    under = image.crop((left, top, left + mask.width, top + mask.height)).resize((1, 1)).tobytes()
    color = ink(rng, (under[0], under[1], under[2]))
    image.paste(color, (left, top), mask)
    if rng.random() < 0.04:
        frame(rng, image)
    marks = tuple(Mark(digit, None, _shifted(box, left, top)) for digit, box in zip(answer, boxes, strict=True))
    question = _question("number", rng, style)
    return Drawing(image, "number", question, answer, marks)


def _written(text: str, rng: random.Random, style: Style, width: int, height: int) -> tuple[Image.Image, list[Box]]:
    """The digits as a mask that fits `width x height`, and the box of each digit on it."""
    tall = _log_uniform(rng, style.smallest, 0.8) * height
    if rng.random() < 0.35:  # a good part in the middle of the range, where most people write
        tall = rng.uniform(max(style.smallest, 0.14), 0.5) * height
    stretch = rng.uniform(0.75, 1.3) if rng.random() < 0.25 else 1.0
    angle = rng.uniform(-12, 12) if rng.random() < 0.25 else 0.0
    spacing = rng.uniform(-0.04, 0.35) if rng.random() < 0.25 else 0.0
    stroke = rng.uniform(0.0, 0.06) if rng.random() < 0.15 else 0.0
    smooth = rng.random() < 0.9
    source = _font_file(rng, style)
    tall = max(tall, 8.0)
    for _ in range(8):
        mask, boxes = _mask(text, source, tall, spacing, stroke, smooth)
        if stretch != 1.0:
            mask, boxes = _stretched(mask, boxes, stretch)
        if angle:
            mask, boxes = _rotated(mask, boxes, angle)
        excess = max(mask.width / (0.97 * width), mask.height / (0.97 * height))
        if excess <= 1.0:
            return mask, boxes
        tall *= min(0.97, 0.99 / excess)
    mask.thumbnail((width, height))
    return mask, [(0.0, 0.0, float(mask.width), float(mask.height)) for _ in text]


def _mask(
    text: str, source: str | None, tall: float, spacing: float, stroke: float, smooth: bool
) -> tuple[Image.Image, list[Box]]:
    size = max(6, round(tall / 0.72))  # digits of most fonts are about 0.72 of the font's size
    font = ImageFont.load_default(size=size) if source is None else ImageFont.truetype(source, size)
    line = round(stroke * size)
    x, placed, boxes = float(line), [], []
    for digit in text:
        box = font.getbbox(digit, stroke_width=line)
        placed.append(round(x))
        boxes.append((round(x) + box[0], box[1], round(x) + box[2], box[3]))
        x += font.getlength(digit) + spacing * size
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    mask = Image.new("L", (max(1, math.ceil(right - left)), max(1, math.ceil(bottom - top))))
    pen = ImageDraw.Draw(mask)
    pen.fontmode = "L" if smooth else "1"
    for digit, at in zip(text, placed, strict=True):
        pen.text((at - left, -top), digit, fill=255, font=font, stroke_width=line)
    return mask, [_shifted(box, -left, -top) for box in boxes]


def _stretched(mask: Image.Image, boxes: list[Box], factor: float) -> tuple[Image.Image, list[Box]]:
    width = max(1, round(mask.width * factor))
    factor = width / mask.width
    boxes = [(x0 * factor, y0, x1 * factor, y1) for x0, y0, x1, y1 in boxes]
    return mask.resize((width, mask.height), Image.Resampling.BICUBIC), boxes


def _rotated(mask: Image.Image, boxes: list[Box], angle: float) -> tuple[Image.Image, list[Box]]:
    """Counter-clockwise by `angle` degrees; a box keeps its sides and moves with its middle."""
    turned = mask.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    moved = []
    for x0, y0, x1, y1 in boxes:
        dx, dy = (x0 + x1 - mask.width) / 2, (y0 + y1 - mask.height) / 2
        x, y = turned.width / 2 + cos * dx + sin * dy, turned.height / 2 - sin * dx + cos * dy
        moved.append((x - (x1 - x0) / 2, y - (y1 - y0) / 2, x + (x1 - x0) / 2, y + (y1 - y0) / 2))
    return turned, moved


def _font_file(rng: random.Random, style: Style) -> str | None:
    if not style.families or rng.random() < style.built_in_font:
        return None
    return rng.choice(rng.choice(style.families))


# --- Shapes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """A shape to be painted: its kind, named color, fill, corners in pixels, and how it looks."""

    kind: str
    color: str | None
    fill: RGB
    points: tuple[tuple[float, float], ...]  # corners; of a circle, the corners of its box
    outline: RGB | None
    line: int
    filled: bool
    smooth: bool

    @property
    def box(self) -> Box:
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return min(xs), min(ys), max(xs), max(ys)


def _draw_shapes(task: str, rng: random.Random, style: Style) -> Drawing:
    width, height = _image_size(rng, style)
    kinds = _kinds(task, rng, style)
    colors = _colors(task, rng, len(kinds))
    fills = [shade(rng, color) for color in colors]
    image = background(rng, width, height, fills)
    shapes = arrange(rng, style, width, height, kinds, colors, fills)
    for shape in shapes:
        paint(image, shape)
    if rng.random() < 0.03:
        frame(rng, image)
    shapes.sort(key=lambda shape: shape.box[0] + shape.box[2])
    marks = tuple(Mark(shape.kind, shape.color, shape.box) for shape in shapes)
    if task == "count":
        return Drawing(image, task, _question(task, rng, style), str(len(marks)), marks)
    asked = rng.choice([mark for mark in marks if mark.kind in SHAPES])
    question = _question(task, rng, style).format(kind=asked.kind)
    return Drawing(image, task, question, str(asked.color), marks)


def _kinds(task: str, rng: random.Random, style: Style) -> list[str]:
    if task == "color":  # a question for "the circle" wants only one
        n_shapes = 1 if rng.random() < style.alone else rng.randint(2, 3)
        return rng.sample(SHAPES, n_shapes)
    n_shapes = rng.randint(1, 5)
    if rng.random() < 0.4:
        return [rng.choice(SHAPES)] * n_shapes
    return [rng.choice(SHAPES) if rng.random() < 0.94 else "rectangle" for _ in range(n_shapes)]


def _colors(task: str, rng: random.Random, n_shapes: int) -> list[str | None]:
    if task == "count" and rng.random() < 0.35:
        return [rng.choice(COLORS)] * n_shapes
    other = 0.06 if task == "count" else 0.0
    return [None if rng.random() < other else rng.choice(COLORS) for _ in range(n_shapes)]


def arrange(
    rng: random.Random,
    style: Style,
    width: int,
    height: int,
    kinds: list[str],
    colors: list[str | None],
    fills: list[RGB],
) -> list[Shape]:
    """The shapes at places where none overlaps another, smaller where they find no room."""
    short, n_shapes = min(width, height), len(kinds)
    largest = (0.8, 0.62, 0.52, 0.45, 0.42)[n_shapes - 1]
    draw_size = _log_uniform if rng.random() < 0.5 else _uniform
    base = draw_size(rng, style.smallest, largest)
    alike = rng.random() < 0.4
    sizes = [base if alike else draw_size(rng, style.smallest, largest) for _ in kinds]
    gap = max(2.0, rng.choice((0.0, 0.02, 0.05)) * short)
    look = _look(rng)
    shared_look = rng.random() < 0.6
    shrink = 1.0
    while True:
        shapes: list[Shape] = []
        for kind, color, fill, size in zip(kinds, colors, fills, sizes, strict=True):
            side, own_look = max(8.0, size * short * shrink), look if shared_look else _look(rng)
            shape = _placed(rng, kind, color, fill, side, width, height, shapes, gap, own_look)
            if shape is None:
                break
            shapes.append(shape)
        if len(shapes) == n_shapes:
            return shapes
        shrink *= 0.88


def _placed(
    rng: random.Random,
    kind: str,
    color: str | None,
    fill: RGB,
    side: float,
    width: int,
    height: int,
    others: list[Shape],
    gap: float,
    look: tuple[float, str, float, bool],
) -> Shape | None:
    corners = _corners(rng, kind, side)
    right, bottom = max(x for x, _ in corners), max(y for _, y in corners)
    if right > width - 3 or bottom > height - 3:
        return None
    thickness, outline_color, unfilled, smooth = look
    line = max(1, round(thickness * side)) if thickness else 0
    filled = not (unfilled and line)
    outline = {"none": None, "black": (0, 0, 0), "gray": (70, 70, 70)}[outline_color] if filled else fill
    if not filled:
        line = max(2, line, round(0.05 * side))
    for _ in range(30):
        left, top = rng.uniform(1, width - 2 - right), rng.uniform(1, height - 2 - bottom)
        if not others and rng.random() < 0.2:
            left, top = (width - right) / 2, (height - bottom) / 2
        points = tuple((x + left, y + top) for x, y in corners)
        shape = Shape(kind, color, fill, points, outline, line if outline else 0, filled, smooth)
        if all(_apart(shape.box, other.box, gap) for other in others):
            return shape
    return None


def _look(rng: random.Random) -> tuple[float, str, float, bool]:
    """Outline's width relative to the shape, its colour, whether only the outline is drawn, smooth edges."""
    smooth = rng.random() < 0.5
    chance = rng.random()
    if chance < 0.62:
        return 0.0, "none", False, smooth
    if chance < 0.93:
        return rng.uniform(0.005, 0.05), rng.choice(("black", "black", "gray")), False, smooth
    return rng.uniform(0.03, 0.1), "none", True, smooth


def _corners(rng: random.Random, kind: str, side: float) -> list[tuple[float, float]]:
    """Corners of a shape whose longer side is about `side`, moved to start at (0, 0)."""
    if kind == "circle":
        return [(0.0, 0.0), (side, side)]
    aspect = rng.uniform(0.4, 0.75) if kind == "rectangle" else 1.0
    if kind in ("square", "rectangle"):
        wide, tall = (side, side * aspect) if rng.random() < 0.5 else (side * aspect, side)
        points = [(0.0, 0.0), (wide, 0.0), (wide, tall), (0.0, tall)]
        turn = rng.uniform(-45, 45) if rng.random() < 0.22 else 0.0
    else:
        tall = side * rng.choice((1.0, 1.0, 0.866, 0.866, rng.uniform(0.75, 1.0)))
        apex = side * (0.5 if rng.random() < 0.85 else rng.uniform(0.0, 1.0))
        points = [(apex, 0.0), (side, tall), (0.0, tall)]
        turn = rng.choice((180.0, rng.uniform(0, 360))) if rng.random() < 0.25 else 0.0
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    points = [(cos * x - sin * y, sin * x + cos * y) for x, y in points]
    scale = side / max(max(p[i] for p in points) - min(p[i] for p in points) for i in (0, 1))
    left, top = min(x for x, _ in points), min(y for _, y in points)
    return [((x - left) * scale, (y - top) * scale) for x, y in points]


def paint(image: Image.Image, shape: Shape) -> None:
    """Draw a shape; smooth edges come from drawing the region larger and averaging."""
    if not shape.smooth:
        fill_shape(ImageDraw.Draw(image), shape, shape.points, shape.line)
        return
    left, top = math.floor(shape.box[0]) - 1, math.floor(shape.box[1]) - 1
    right, bottom = math.ceil(shape.box[2]) + 2, math.ceil(shape.box[3]) + 2
    scale = 4 if right - left < 100 else 2
    region = image.crop((left, top, right, bottom))
    region = region.resize((region.width * scale, region.height * scale), Image.Resampling.NEAREST)
    points = tuple(((x - left) * scale, (y - top) * scale) for x, y in shape.points)
    fill_shape(ImageDraw.Draw(region), shape, points, shape.line * scale)
    image.paste(region.reduce(scale), (left, top))


def fill_shape(pen: ImageDraw.ImageDraw, shape: Shape, points: tuple[tuple[float, float], ...], line: int) -> None:
    """Draw a shape with hard edges at `points`, its outline `line` pixels wide."""
    fill = shape.fill if shape.filled else None
    if shape.kind == "circle":
        pen.ellipse([*points[0], *points[1]], fill=fill, outline=shape.outline, width=line)
        return
    pen.polygon(points, fill=fill)
    if shape.outline and line:
        pen.line([*points, points[0], points[1]], fill=shape.outline, width=line, joint="curve")


def _apart(one: Box, other: Box, gap: float) -> bool:
    beside = one[2] + gap < other[0] or other[2] + gap < one[0]
    return beside or one[3] + gap < other[1] or other[3] + gap < one[1]


# --- Places, sizes, questions --------------------------------------------------------------------------------------


def _image_size(rng: random.Random, style: Style) -> tuple[int, int]:
    width = rng.randint(style.min_side, style.max_side)
    return (width, width) if rng.random() < 0.15 else (width, rng.randint(style.min_side, style.max_side))


def _place(rng: random.Random, free_width: int, free_height: int) -> tuple[int, int]:
    if rng.random() < 0.3:
        return free_width // 2, free_height // 2
    return rng.randint(0, max(0, free_width)), rng.randint(0, max(0, free_height))


def _question(task: str, rng: random.Random, style: Style) -> str:
    return rng.choice(PARAPHRASES[task]) if rng.random() < style.paraphrase else QUESTIONS[task]


def _shifted(box: Box, dx: float, dy: float) -> Box:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy


def _uniform(rng: random.Random, low: float, high: float) -> float:
    return rng.uniform(low, max(low, high))


def _log_uniform(rng: random.Random, low: float, high: float) -> float:
    return math.exp(rng.uniform(math.log(low), math.log(max(low, high))))
