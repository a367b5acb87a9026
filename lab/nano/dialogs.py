# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Dialogs for the last stage: pictures of `drawing` and of `lab.world`, questions in two languages, refusals.

A dialog is about one picture, two, the four frames of a clip, or none. Of a picture with shapes several things may be
asked in turn; a tile is expensive and a question is not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image

from lab.world import Look, draw_sample
from lab.world.phrases import ZH
from transformers_internvl.processing.text.grounding import format_box

from .drawing import Drawing, Mark, Style, draw
from .examples import PATCHES, Example, patch_classes, patch_edges, split
from .model import IMAGE_END, IMAGE_START, IMAGE_TOKEN, MAX_TILES, SYSTEM_MESSAGES, TILE_SIZE, TOKENS_PER_TILE
from .palette import COLORS
from .questions import QUESTIONS, SHAPES
from .refusals import REFUSALS, refused
from .wordings import WORDINGS

TASKS = ("number", "color", "count", "shape", "position", "box", "pair", "clip", "refusal")
"""What is asked first in a dialog."""
ABOUT_SHAPES = ("color", "count", "shape", "position", "box")
"""What can be asked of one picture with shapes."""
BRIEF = "\nAnswer the question using a single word or phrase."
APART = 0.25
"""By how much, relative to the side, a shape must be nearer to an edge than others to be the one at the left."""


@dataclass(frozen=True)
class DialogMix:
    """What the last stage draws.

    Attributes:
        shares: of `TASKS`.
        chinese: share of dialogs in Chinese.
        style, look: how pictures of `drawing` and of `lab.world` vary; `easy` and `easy_look`: those of one tile.
        one_tile: share of dialogs whose pictures stay one tile.
        further: probability of a further question, after each of the first two.
        no_picture: share of the refusals without a picture.
        still: share of single pictures that are shown as the frames of a clip, all alike.
        spelled: share of questions whose `<ref>` is written in characters, as a user types it, not as a token.
        beside: share of single pictures that have one of another task beside them, before or after.
        brief: share of English dialogs whose questions end with the request of evaluations, `BRIEF`.
        labels: share of pairs whose pictures are numbered, `Image-1: `.
    """

    shares: tuple[float, ...] = (0.27, 0.06, 0.16, 0.03, 0.11, 0.14, 0.14, 0.05, 0.04)
    chinese: float = 0.4
    style: Style = field(default_factory=Style)
    look: Look = Look(side=(100, 340), shape=0.16)
    easy: Style = field(default_factory=Style)
    easy_look: Look = Look(side=(90, 220), shape=0.22)
    max_tiles: int = MAX_TILES
    one_tile: float = 0.5
    further: float = 0.65
    no_picture: float = 0.6
    still: float = 0.03
    beside: float = 0.06
    spelled: float = 0.25
    brief: float = 0.1
    labels: float = 0.5
    image_last: float = 0.1
    system: float = 0.08


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Dialog:
    """Pictures (RGB), what is in each of them, and what is asked and answered; `task` is that of the first turn."""

    task: str
    images: tuple[Image.Image, ...]
    marks: tuple[tuple[Mark, ...], ...]
    turns: tuple[Turn, ...]
    is_clip: bool = False


# --- What is asked ---------------------------------------------------------------------------------------------------


def said(word: str, language: str) -> str:
    """An English word of the world in a language."""
    return ZH.get(word, word) if language == "zh" else word


def asked(task: str, rng: random.Random, language: str, **blanks: str) -> str:
    """A question of training; in English, half of the time in the plain wording if there is one."""
    if language == "en" and task in QUESTIONS and rng.random() < 0.5:
        text = QUESTIONS[task]
    else:
        text = rng.choice(WORDINGS[task][language])
    return text.format(**{name: said(word, language) for name, word in blanks.items()})


def turn_about(
    task: str, marks: tuple[Mark, ...], size: tuple[int, int], rng: random.Random, language: str
) -> Turn | None:
    """A question about shapes; None where the picture has no clear answer. `size` is (width, height)."""
    if task == "count":
        return Turn(asked(task, rng, language), str(len(marks)))
    kinds, colors = [mark.kind for mark in marks], [mark.color for mark in marks]
    if task == "shape":
        choice = [mark for mark in marks if mark.kind in SHAPES and mark.color and colors.count(mark.color) == 1]
        if not choice or None in colors:
            return None
        mark = rng.choice(choice)
        return Turn(asked(task, rng, language, color=str(mark.color)), said(mark.kind, language))
    choice = [mark for mark in marks if mark.kind in SHAPES and kinds.count(mark.kind) == 1]
    if task == "position":
        sides = {side: mark for side, mark in _at_sides(marks, size).items() if mark in choice}
        if not sides:
            return None
        side = rng.choice(list(sides))
        return Turn(asked(task, rng, language, side=side), said(sides[side].kind, language))
    if task == "color":
        choice = [mark for mark in choice if mark.color]
    if not choice:
        return None
    mark = rng.choice(choice)
    question = asked(task, rng, language, kind=mark.kind)
    if task == "color":
        return Turn(question, said(str(mark.color), language))
    return Turn(question, format_box(mark.box, (size[1], size[0]), label=said(mark.kind, language)))


def _at_sides(marks: tuple[Mark, ...], size: tuple[int, int]) -> dict[str, Mark]:
    """The mark at each side, where it is nearer to it than all others by `APART`."""
    found = {}
    for axis, (low, high) in enumerate((("left", "right"), ("top", "bottom"))):
        places = sorted(((mark.box[axis] + mark.box[axis + 2]) / 2 / size[axis], i) for i, mark in enumerate(marks))
        if len(places) > 1 and places[1][0] - places[0][0] > APART:
            found[low] = marks[places[0][1]]
        if len(places) > 1 and places[-1][0] - places[-2][0] > APART:
            found[high] = marks[places[-1][1]]
    return found


# --- Dialogs ---------------------------------------------------------------------------------------------------------


def draw_dialog(rng: random.Random, mix: DialogMix, *, one_tile: bool = False) -> Dialog:
    """A dialog of the mix; pictures are easy ones if they stay `one_tile`."""
    task = rng.choices(TASKS, mix.shares)[0]
    language = "zh" if rng.random() < mix.chinese else "en"
    if task == "refusal":
        return _refusal(rng, mix, language, one_tile)
    dialog = _first_turn(task, rng, mix, language, one_tile)
    if task in ("number", "color", "count", "shape") and rng.random() < mix.beside:
        return _with_another(dialog, rng, mix.easy if one_tile else mix.style)
    dialog = replace(dialog, turns=(*dialog.turns, *_further(dialog, rng, mix, language)))
    if len(dialog.images) == 1 and rng.random() < mix.still:
        return replace(dialog, images=dialog.images * 4, marks=dialog.marks * 4, is_clip=True)
    return dialog


def _first_turn(task: str, rng: random.Random, mix: DialogMix, language: str, one_tile: bool) -> Dialog:
    if task in QUESTIONS:
        drawing = draw(task, rng, mix.easy if one_tile else mix.style)
        turn = Turn(drawing.question, drawing.answer)
        if language == "zh" or rng.random() < 0.25:
            named = [kind for kind in SHAPES if kind in drawing.question]
            blanks = {"kind": named[0]} if task == "color" else {}
            turn = Turn(asked(task, rng, language, **blanks), said(drawing.answer, language))
        return Dialog(task, (drawing.image,), (drawing.marks,), (turn,))
    look = mix.easy_look if one_tile else mix.look
    sample = draw_sample(task, "train", rng.getrandbits(48), look, language)
    turn = Turn(sample.question, sample.answer)
    if task in ("pair", "clip"):
        turn = Turn(asked(task, rng, language), sample.answer)
    else:
        turn = turn_about(task, sample.marks[0], sample.images[0].size, rng, language) or turn
    return Dialog(task, sample.images, sample.marks, (turn,), sample.is_clip)


def _with_another(dialog: Dialog, rng: random.Random, style: Style) -> Dialog:
    """The dialog with a picture of shapes beside its number, or of a number beside its shapes."""
    other = draw(rng.choice(("color", "count")) if dialog.task == "number" else "number", rng, style)
    images, marks = (*dialog.images, other.image), (*dialog.marks, other.marks)
    turned = slice(None, None, rng.choice((1, -1)))
    return replace(dialog, images=images[turned], marks=marks[turned])


def _further(dialog: Dialog, rng: random.Random, mix: DialogMix, language: str) -> list[Turn]:
    """Up to two more questions about a single picture."""
    turns: list[Turn] = []
    if len(dialog.images) > 1:
        return turns
    about_number = dialog.task == "number"
    tasks = [] if about_number else [task for task in ABOUT_SHAPES if task != dialog.task]
    rng.shuffle(tasks)
    while len(turns) < 2 and rng.random() < mix.further:
        if rng.random() < (0.2 if about_number else 0.05):
            return [*turns, Turn(refused(rng, "picture", language), REFUSALS[language])]
        if about_number and rng.random() < 0.25:
            turns.append(Turn(asked("number", rng, language), dialog.turns[0].answer))
        turn = turn_about(tasks.pop(), dialog.marks[0], dialog.images[0].size, rng, language) if tasks else None
        turns += [turn] if turn else []
    return turns


def _refusal(rng: random.Random, mix: DialogMix, language: str, one_tile: bool) -> Dialog:
    """Text alone, or a picture of another task with a question that was not trained, or a trained one after that."""
    if rng.random() < mix.no_picture:
        return Dialog("refusal", (), (), tuple(_without_picture(rng, language) for _ in range(rng.choice((1, 1, 2)))))
    task = rng.choice(TASKS[:-1])
    about = _first_turn(task, rng, mix, language, one_tile or task == "pair")
    turn = Turn(refused(rng, "picture", language), REFUSALS[language])
    return replace(about, task="refusal", turns=(turn, *about.turns) if rng.random() < 0.4 else (turn,))


def _without_picture(rng: random.Random, language: str) -> Turn:
    chance = rng.random()
    if chance < 0.2:  # a question that would be answered with a picture
        task = rng.choice(TASKS[:-1])
        blanks = {"kind": rng.choice(SHAPES), "color": "red", "side": rng.choice(("left", "right", "top", "bottom"))}
        question = asked(task, rng, language, **blanks)
    else:
        question = refused(rng, "plain" if chance < 0.75 else "picture", language)
    return Turn(question, REFUSALS[language])


# --- Examples --------------------------------------------------------------------------------------------------------


class Dialogs(torch.utils.data.Dataset):
    """Dialog `i` of a stream of `length` as an `Example`, the same every time: (seed, i) decides all of it."""

    def __init__(self, tokenizer, mix: DialogMix, seed: str, length: int, start: int = 0):
        self.tokenizer, self.mix, self.seed, self.length, self.start = tokenizer, mix, seed, length, start

    def __len__(self) -> int:
        return max(0, self.length - self.start)

    def __getitem__(self, index: int) -> Example:
        rng = random.Random(f"{self.seed}-{index + self.start}")
        one_tile = rng.random() < self.mix.one_tile
        dialog = draw_dialog(rng, self.mix, one_tile=one_tile)
        mix = replace(self.mix, max_tiles=1) if one_tile else self.mix
        return build_dialog(dialog, self.tokenizer, mix, rng)


def build_dialog(dialog: Dialog, tokenizer, mix: DialogMix, rng: random.Random) -> Example:
    """Split the pictures, label their patches, and write the dialog as the chat template does."""
    max_tiles = 1 if dialog.is_clip else mix.max_tiles
    parts, patches, edges, counts = [], [], [], []
    for image, marks in zip(dialog.images, dialog.marks, strict=True):
        tiles, regions = split(image, max_tiles)
        drawn = Drawing(image, dialog.task, "", "", marks)
        classes = [patch_classes(drawn, region, whole=region == regions[-1]) for region in regions]
        patches += classes
        edges += [patch_edges(drawn, each) for each in classes]
        parts.append(tiles)
        counts.append(len(tiles))
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    hint_at = None
    for text, part in dialog_text(dialog, counts, mix, rng):
        spelled = part == "question" and "<ref>" in text and rng.random() < mix.spelled
        piece = tokenizer(text, add_special_tokens=False, split_special_tokens=spelled)["input_ids"]
        if part == "answer":
            spans.append((len(ids), len(ids) + len(piece)))
        elif part == "question" and not spans and tokenizer.context_image_token_id in ids:
            hint_at = _named_at(dialog.task, text, piece, tokenizer, len(ids))
        ids += piece
    first = dialog.turns[0]
    image = dialog.images[0] if dialog.images else Image.new("RGB", (1, 1))
    marks = dialog.marks[0] if dialog.marks else ()
    return Example(
        Drawing(image, dialog.task, first.question, first.answer, marks),
        np.concatenate(parts) if parts else np.zeros((0, TILE_SIZE, TILE_SIZE, 3), dtype=np.uint8),
        np.stack(patches) if patches else np.zeros((0, PATCHES * PATCHES, 5), dtype=np.int64),
        np.stack(edges) if edges else np.zeros((0, PATCHES * PATCHES, 4), dtype=np.float32),
        ids=ids,
        answer_start=spans[0][0],
        hint_at=hint_at,
        spans=tuple(spans),
    )


def _named_at(task: str, question: str, piece: list[int], tokenizer, start: int) -> int | None:
    """The place of the (last) token of the word that says which shape is meant; None in other tasks."""
    words = {"color": SHAPES, "shape": COLORS, "position": ("left", "right", "top", "bottom")}.get(task, ())
    for word in (name for english in words for name in (english, ZH[english])):
        if word in question:
            ahead = tokenizer(question[: question.index(word) + len(word)], add_special_tokens=False)["input_ids"]
            return start + len(ahead) - 1 if piece[: len(ahead)] == ahead else None
    return None


def dialog_text(dialog: Dialog, counts: list[int], mix: DialogMix, rng: random.Random) -> list[tuple[str, str]]:
    """The text in pieces, each a `"frame"`, `"question"` or `"answer"`; `counts`: tiles of each picture."""
    tokens = [IMAGE_START + IMAGE_TOKEN * (TOKENS_PER_TILE * count) + IMAGE_END for count in counts]
    numbered = len(tokens) > 1 and rng.random() < mix.labels
    label = "Frame{}: " if dialog.is_clip else "Image-{}: " if numbered else ""
    media = "".join(f"{label.format(number)}{text}\n" for number, text in enumerate(tokens, start=1))
    system = rng.choice(SYSTEM_MESSAGES) if rng.random() < mix.system else None
    last = len(tokens) == 1 and rng.random() < mix.image_last
    before, behind = ("", media) if last else (media, "")
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    brief = BRIEF if rng.random() < mix.brief and dialog.turns[0].question.isascii() else ""
    pieces = []
    for turn in dialog.turns:
        pieces.append((f"{head}<|im_start|>user\n{before}", "frame"))
        pieces.append((turn.question + brief, "question"))
        pieces.append((f"{behind}<|im_end|>\n<|im_start|>assistant\n", "frame"))
        pieces.append((f"{turn.answer}<|im_end|>", "answer"))
        head, before, behind = "\n", "", ""
    return pieces


__all__ = ["ABOUT_SHAPES", "TASKS", "Dialog", "DialogMix", "Dialogs", "Turn", "build_dialog", "draw_dialog"]
