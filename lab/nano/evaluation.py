# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How often the nano model answers exactly: `python -m lab.nano.evaluation --images 300`.

Images are fresh (their seeds are apart from those of training) and go the whole way of a user's: processor, chat
template, greedy generation, decoding. The answer must equal the expected one, character for character.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from tqdm.auto import tqdm
from transformers import AutoModelForImageTextToText, AutoProcessor, BatchFeature

from transformers_internvl.nano import nano_path

from .drawing import Drawing, Style, draw
from .fonts import common_families, font_families
from .questions import TASKS
from .training import HELD_OUT_FAMILIES


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


def main(arguments: list[str] | None = None) -> None:
    """Command line of the evaluation; writes the report as JSON to `--out`, or shows it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=nano_path())
    parser.add_argument("--images", type=int, default=300, help="images per task")
    parser.add_argument("--out", type=Path, help="JSON file for the report")
    options = parser.parse_args(arguments)
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.float32).eval()
    report = evaluate(model, AutoProcessor.from_pretrained(options.model), options.images)
    text = json.dumps(report, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    tqdm.write(text)


if __name__ == "__main__":
    main()
