# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How often the nano model answers exactly: `python -m lab.nano.evaluation --images 300`.

Images are fresh (their seeds are apart from those of training) and go the whole way of a user's: processor, chat
template, greedy generation, decoding. The answer must equal the expected one, character for character; of a box, the
label must, and the intersection over union be at least 0.5. The tasks of `lab.world` are asked in its test wordings,
and refusals are of sentences that training never saw.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor, BatchFeature

from lab.world import Look, draw_sample
from lab.world.phrases import LANGUAGES, QUESTIONS, ZH
from transformers_internvl.nano import nano_path
from transformers_internvl.processing.text.grounding import parse_grounding

from .drawing import Drawing, Style, draw
from .fonts import common_families, font_families
from .questions import SHAPES, TASKS
from .refusals import REFUSALS, refused
from .training import HELD_OUT_FAMILIES

WORLD_TASKS = ("shape", "position", "box", "pair", "clip")
LOOK = Look(side=(100, 300), shape=0.2)
"""How large the pictures and shapes of these tasks are."""
LEAST_IOU = 0.5


@dataclass(frozen=True)
class Reply:
    """A drawing and what the model said of it."""

    drawing: Drawing
    text: str

    @property
    def exact(self) -> bool:
        return self.text == self.drawing.answer


def fresh_drawings(task: str, n_images: int, style: Style, seed: str = "fresh") -> Iterator[Drawing]:
    """Images of `task` that training has not seen: it draws from other seeds."""
    return (draw(task, f"{seed}-{index}", style) for index in range(n_images))


def batches(processor, asked: Iterable[tuple[Image.Image, str]], batch_size: int = 16) -> Iterator[BatchFeature]:
    """Inputs of the model for questions about one image each."""
    asked = list(asked)
    for start in tqdm(range(0, len(asked), batch_size), leave=False, disable=len(asked) <= batch_size):
        conversations = [
            [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}]
            for image, question in asked[start : start + batch_size]
        ]
        yield processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )


def answers(model, processor, inputs: BatchFeature, **options) -> list[str]:
    """The model's greedy answers to a batch; `options` are further arguments of `generate`."""
    inputs = inputs.to(model.device)
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options)
    return processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def answer(model, processor, asked: Iterable[tuple[Image.Image, str]], batch_size: int = 16) -> Iterator[str]:
    """The model's greedy answers to questions about one image each."""
    for inputs in batches(processor, asked, batch_size):
        yield from answers(model, processor, inputs)


def replies(model, processor, drawings: Iterable[Drawing]) -> list[Reply]:
    """What the model says of each drawing."""
    drawings = list(drawings)
    texts = answer(model, processor, [(drawing.image, drawing.question) for drawing in drawings])
    return [Reply(drawing, text) for drawing, text in zip(drawings, texts, strict=True)]


def accuracy(results: list[Reply]) -> float:
    """Share of exact answers; 0 for none."""
    return sum(reply.exact for reply in results) / max(1, len(results))


def size_bands(results: list[Reply]) -> dict[str, str]:
    """Exact answers by the height of the lowest mark, relative to the image's: `exact/all` of each band."""
    bands = {"to 15 %": (0.0, 0.15), "15 to 25 %": (0.15, 0.25), "25 to 40 %": (0.25, 0.4), "over 40 %": (0.4, 9.0)}
    table = {}
    for name, (low, high) in bands.items():
        inside = [reply for reply in results if low <= _smallest(reply.drawing) < high]
        table[name] = f"{sum(reply.exact for reply in inside)}/{len(inside)}"
    return table


def _smallest(drawing: Drawing) -> float:
    return min(mark.box[3] - mark.box[1] for mark in drawing.marks) / drawing.image.height


def styles() -> dict[str, Style]:
    """The styles to judge by: all fonts of this machine, and only those that training never saw."""
    families = font_families()
    held_out = tuple(families[name] for name in HELD_OUT_FAMILIES if name in families)
    table = {"all fonts": Style(families=common_families(families))}
    if held_out:
        table["held-out fonts"] = Style(families=held_out, built_in_font=0.0)
    return table


def evaluate(model, processor, n_images: int = 300) -> dict[str, dict]:
    """Accuracy per task (numbers also with held-out fonts) and per size of what is drawn."""
    report = {}
    for style_name, style in styles().items():
        for task in TASKS if style_name == "all fonts" else ("number",):
            results = replies(model, processor, fresh_drawings(task, n_images, style))
            report[f"{task}, {style_name}"] = {"exact": round(accuracy(results), 4), "by size": size_bands(results)}
    return report


# --- Further tasks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A question, its answer, and its pictures: none, one, two, or the frames of a clip."""

    question: str
    answer: str
    images: tuple[Image.Image, ...] = ()
    is_clip: bool = False

    def conversation(self) -> list[dict]:
        """The question as a user's message; `<ref>` marks a region."""
        items: list[dict] = [{"type": "image", "image": image} for image in self.images]
        if self.is_clip:
            items = [{"type": "video", "video": list(self.images), "num_frames": len(self.images)}]
        for place, text in enumerate(re.split("<ref>(.*?)</ref>", self.question)):
            items += [{"type": "ref" if place % 2 else "text", "text": text}] if text else []
        return [{"role": "user", "content": items}]


def asked_of_world(task: str, language: str, n_questions: int) -> Iterator[Asked]:
    """Questions of `lab.world`, of its test split."""
    for index in range(n_questions):
        sample = draw_sample(task, "test", f"fresh-{index}", LOOK, language)
        yield Asked(sample.question, sample.answer, sample.images, sample.is_clip)


def asked_in_chinese(task: str, n_questions: int, style: Style) -> Iterator[Asked]:
    """Questions in Chinese about drawings of `task`."""
    rng = random.Random(f"chinese-{task}")
    for drawing in fresh_drawings(task, n_questions, style):
        kind = next((ZH[kind] for kind in SHAPES if kind in drawing.question), "")
        question = rng.choice(QUESTIONS[task]["zh"]["test"]).format(kind=kind)
        yield Asked(question, ZH.get(drawing.answer, drawing.answer), (drawing.image,))


def asked_in_vain(kind: str, language: str, n_questions: int, style: Style) -> Iterator[Asked]:
    """What was not trained for: `"plain"`, without a picture, or `"picture"`, about drawings of all tasks in turn."""
    rng = random.Random(f"in-vain-{kind}-{language}")
    for index in range(n_questions):
        question = refused(rng, kind, language, held_out=True)
        images = (draw(TASKS[index % 3], f"in-vain-{index}", style).image,) if kind == "picture" else ()
        yield Asked(question, REFUSALS[language], images)


def ask(model, processor, questions: list[Asked], batch_size: int = 16) -> list[str]:
    """The model's greedy answers, with the tags of regions."""
    texts: list[str] = []
    for start in tqdm(range(0, len(questions), batch_size), leave=False, disable=len(questions) <= batch_size):
        inputs = processor.apply_chat_template(
            [asked.conversation() for asked in questions[start : start + batch_size]],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(model.device)
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        texts += processor.decode_grounding(output[:, inputs["input_ids"].shape[1] :])
    return texts


def overlap(asked: Asked, text: str) -> float:
    """Intersection over union of the first box of an answer and the expected one; 0 for none, or another label."""
    size = (asked.images[0].height, asked.images[0].width)
    (wanted,) = parse_grounding(asked.answer, size)
    found = [region for region in parse_grounding(text, size) if region.get("boxes")]
    if not found or found[0]["label"] != wanted["label"]:
        return 0.0
    one, other = wanted["boxes"][0], found[0]["boxes"][0]
    sides = [min(one[axis + 2], other[axis + 2]) - max(one[axis], other[axis]) for axis in (0, 1)]
    inside = max(0.0, sides[0]) * max(0.0, sides[1])
    areas = [max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]) for box in (one, other)]
    return inside / max(sum(areas) - inside, 1e-9)


def judge(model, processor, questions: Iterable[Asked], *, boxes: bool = False) -> dict[str, float]:
    """Share of right answers; of `boxes`, with the mean overlap."""
    questions = list(questions)
    texts = ask(model, processor, questions)
    pairs = list(zip(questions, texts, strict=True))
    if not boxes:
        return {"exact": round(sum(text == asked.answer for asked, text in pairs) / len(pairs), 4)}
    overlaps = [overlap(asked, text) for asked, text in pairs]
    right = sum(value >= LEAST_IOU for value in overlaps)
    return {"IoU >= 0.5": round(right / len(pairs), 4), "mean IoU": round(sum(overlaps) / len(pairs), 4)}


def evaluate_further(model, processor, n_questions: int = 300) -> dict[str, dict]:
    """Scores of the tasks of `lab.world` in both languages, of Chinese questions about drawings, and of refusals."""
    style, report = styles()["all fonts"], {}
    for task in TASKS:
        report[f"{task}, zh"] = judge(model, processor, asked_in_chinese(task, n_questions, style))
    for language in LANGUAGES:
        for task in WORLD_TASKS:
            questions = asked_of_world(task, language, n_questions)
            report[f"{task}, {language}"] = judge(model, processor, questions, boxes=task == "box")
        for kind, name in (("plain", "no picture"), ("picture", "a picture")):
            questions = asked_in_vain(kind, language, n_questions, style)
            report[f"refusal, {name}, {language}"] = judge(model, processor, questions)
    return report


PARTS = {"drawings": evaluate, "further": evaluate_further}


def main(arguments: list[str] | None = None) -> None:
    """Command line of the evaluation; writes the report as JSON to `--out`, or shows it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=nano_path())
    parser.add_argument("--images", type=int, default=300, help="images per task")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, help="JSON file for the report")
    options = parser.parse_args(arguments)
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(options.model)
    report: dict[str, dict] = {}
    for part in options.parts:
        report |= PARTS[part](model, processor, options.images)
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    tqdm.write(text)


if __name__ == "__main__":
    main()
