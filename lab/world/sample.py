# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A sample of the world: pictures, a question about them, its answer, and a caption; and its row for training."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lab.nano.drawing import Box, Mark

from .drawing import DRAWERS, Look, Pen, Scene
from .phrases import CAPTIONS, LANGUAGES, QUESTIONS, SPLITS, ZH

TASKS = tuple(DRAWERS)

CAPTION_ZH = {
    "the number": "数字", "the word": "单词", "a receipt:": "收据：", "a chart:": "图表：", "shapes": "个形状",
    "then": "然后", "moves": "移动", "up": "上", "down": "下",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What is drawn and asked.

    Attributes:
        task: of `TASKS`.
        language: `"en"` or `"zh"`.
        images: RGB; one, two that are compared, or the frames of a clip.
        question, answer: without placeholders for images.
        caption: a sentence on the pictures.
        boxes: of what is asked for, in pixels of the first image.
        marks: the shapes of each image, from left to right, with English names; empty where there is text.
    """

    task: str
    language: str
    images: tuple[Image.Image, ...]
    question: str
    answer: str
    caption: str
    boxes: tuple[Box, ...] = ()
    marks: tuple[tuple[Mark, ...], ...] = ()

    @property
    def is_clip(self) -> bool:
        """Whether the images are frames of a clip."""
        return self.task == "clip"

    def prompt(self, question: str | None = None) -> str:
        """The question with placeholders for the pictures in front of it."""
        asked = self.question if question is None else question
        if self.is_clip:
            return f"<video>\n{asked}"
        if len(self.images) == 1:
            return f"<image>\n{asked}"
        return "".join(f"Image-{index}: <image>\n" for index in range(1, len(self.images) + 1)) + asked

    def row(self, question: str | None = None, answer: str | None = None) -> dict[str, Any]:
        """The sample as a row of training data in the original form; with another question and answer if given."""
        media: dict[str, Any] = {"video": [list(self.images)]} if self.is_clip else {"image": list(self.images)}
        answer = self.answer if answer is None else answer
        turns = [{"from": "human", "value": self.prompt(question)}, {"from": "gpt", "value": answer}]
        return {**media, "conversations": turns}


def draw_sample(
    task: str, split: str, index: int | str, look: Look | None = None, language: str | None = None
) -> Sample:
    """The sample `index` of a task, the same for the same arguments; the language is drawn if it is not given.

    The two splits share no font, no wording, no word and no number of several digits, and no seed.

    Raises:
        ValueError: an unknown task, split or language.
    """
    for name, value, known in (("task", task, TASKS), ("split", split, SPLITS)):
        if value not in known:
            raise ValueError(f"`{name}` is one of {', '.join(known)}, got {value!r}.")
    if language not in (None, *LANGUAGES):
        raise ValueError(f"`language` is one of {', '.join(LANGUAGES)} or None, got {language!r}.")
    rng = random.Random(f"world-{split}-{task}-{index}")
    spoken = rng.choice(LANGUAGES)
    scene = DRAWERS[task](Pen(rng, split, look or Look()))
    return _in_words(task, split, language or spoken, scene, rng)


def _in_words(task: str, split: str, language: str, scene: Scene, rng: random.Random) -> Sample:
    def said(word: str) -> str:
        return ZH.get(word, CAPTION_ZH.get(word, word)) if language == "zh" else word

    blanks = {name: said(value) for name, value in scene.blanks.items()}
    question = rng.choice(QUESTIONS[task][language][split]).format(**blanks)
    answer = scene.answer.format(**blanks) if task == "box" else said(scene.answer)
    caption = rng.choice(CAPTIONS[language][split]).format(
        what=_joined([said(part) for part in scene.caption], language)
    )
    return Sample(task, language, scene.images, question, answer, caption, scene.boxes, scene.marks)


def _joined(parts: list[str], language: str) -> str:
    """Words to a phrase: in English with spaces, in Chinese without, but between two parts of Latin letters."""
    text = parts[0]
    for before, part in zip(parts, parts[1:], strict=False):
        apart = language == "en" or (before[-1].isascii() and part[0].isascii())
        text += f" {part}" if apart else part
    return text


def caption_question(sample: Sample, split: str, rng: random.Random) -> str:
    """A request to describe the pictures of a sample, in its language."""
    return rng.choice(QUESTIONS["caption"][sample.language][split])


class World(Sequence[Sample]):
    """A sequence of samples of some tasks, drawn when asked for; sample `i` is the same every time.

    Args:
        split: `"train"` or `"test"`.
        length: number of samples.
        tasks: which are mixed: task `i % len(tasks)` of sample `i`.
        seed: other seeds give other samples.
        look: how large things are.
        language: of all samples; None: drawn.

    Raises:
        ValueError: an unknown task or split, when a sample is drawn.
    """

    def __init__(
        self,
        split: str,
        length: int,
        tasks: Sequence[str] = TASKS,
        seed: int = 0,
        look: Look | None = None,
        language: str | None = None,
    ):
        self.split, self.length, self.tasks, self.seed = split, length, tuple(tasks), seed
        self.look, self.language = look or Look(), language

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.length))]
        if not 0 <= index < self.length:
            raise IndexError(f"Sample {index} of {self.length}.")
        task = self.tasks[index % len(self.tasks)]
        return draw_sample(task, self.split, f"{self.seed}-{index}", self.look, self.language)


__all__ = ["TASKS", "Sample", "World", "caption_question", "draw_sample"]
