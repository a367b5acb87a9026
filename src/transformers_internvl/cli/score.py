# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl score`: how good the steps of solutions are, as a reward model judges them, and which solution is best.

A line of the input has `question`, `responses` (or one `response`), and `image` or `images`, paths that count from the
file's folder. A line of the output has what the input had, and

    "scores": [{"steps": [{"step": "...", "score": 0.98}, ...], "overall": 0.91}, ...]     one for each response
    "ranking": [2, 0, 1]                                                                  best first
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError, user_errors
from .loading import load_chat_model, load_processor, log_errors_only, model_name, place
from .tables import table


@dataclass(frozen=True)
class Solutions:
    """A line of the input.

    Attributes:
        where: file and line.
        fields: as they stand there.
        images: paths.
        responses: what is judged.
    """

    where: str
    fields: dict[str, Any]
    images: list[Path]
    responses: list[str]


def run(arguments: argparse.Namespace) -> None:
    """Score, write the file, and print means."""
    from ..conversion.files.folders import write_whole

    log_errors_only()
    source: Path = arguments.solutions
    output = arguments.output or source.with_suffix(".scores.jsonl")
    with user_errors("cannot score"):
        questions = list(read_solutions(source))
        if output.exists() and output.samefile(source):
            raise UserError(f"--output {output} is the input: give another file.")
        if not output.parent.is_dir():
            raise UserError(f"the folder {output.parent} of the output does not exist.")
        lines = list(_scored(questions, arguments))
    with user_errors(f"cannot write {output}"):
        write_whole(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    overall = [one["overall"] for line in lines for one in line["scores"]]
    best = [line["scores"][line["ranking"][0]]["overall"] for line in lines]
    rows = [("all responses", str(len(overall)), f"{sum(overall) / len(overall):.4f}")]
    rows += [("best of each question", str(len(best)), f"{sum(best) / len(best):.4f}")]
    print(table(("overall score", "number", "mean"), rows))
    print(f"\nscores  {output}")


def read_solutions(source: Path) -> Iterator[Solutions]:
    """The lines of a file, checked.

    Raises:
        ValueError: the file is missing or holds nothing, or a line has another form; with file and line.
    """
    from ..evaluation.data import read_entries

    found = False
    for where, fields in read_entries(source):
        found = True
        yield _solutions(where, fields, source.parent)
    if not found:
        raise ValueError(f"{source} holds nothing.")


def _solutions(where: str, fields: Any, folder: Path) -> Solutions:
    if not isinstance(fields, dict) or not isinstance(fields.get("question"), str):
        raise ValueError(f'{where}: expected an object with "question", a text, got {fields!r:.80}.')
    for one, several in (("response", "responses"), ("image", "images")):
        if one in fields and several in fields:
            raise ValueError(f'{where}: "{one}" and "{several}" exclude each other.')
    for name in ("scores", "ranking"):
        if name in fields:
            raise ValueError(f'{where}: the line has "{name}" already, which the output would replace.')
    responses = fields.get("responses", [fields["response"]] if "response" in fields else [])
    if not isinstance(responses, list) or not responses or not all(isinstance(text, str) for text in responses):
        raise ValueError(f'{where}: "responses" must be a list of at least one text, got {responses!r:.80}.')
    images = fields.get("images", [fields["image"]] if fields.get("image") else [])
    if not isinstance(images, list) or not all(isinstance(path, str) and path for path in images):
        raise ValueError(f'{where}: "image" must be a path and "images" a list of paths, got {images!r:.80}.')
    paths = [folder / path for path in images]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{where}: the image {path} does not exist.")
    return Solutions(where, fields, paths, responses)


def _scored(questions: list[Solutions], arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of the output."""
    from tqdm.auto import tqdm

    from ..evaluation.step_scores import StepScorer, read_tiles
    from ..processing.text.solution_steps import PRM_SYSTEM_PROMPT

    name = model_name(arguments)
    processor = load_processor(name)
    model = load_chat_model(name, *place(arguments.device, arguments.dtype))
    message = PRM_SYSTEM_PROMPT if arguments.system_message == "prm" else arguments.system_message
    options = {"system_message": message, "batch_size": arguments.batch_size}
    scorer = StepScorer(model, processor, template=arguments.template, **options)
    with tqdm(total=sum(len(one.responses) for one in questions), unit="response", disable=None) as bar:
        for one in questions:
            try:
                tiles = read_tiles(processor, [str(path) for path in one.images])
                found = scorer.score(
                    one.fields["question"], one.responses, *tiles, mode=arguments.mode, max_steps=arguments.max_steps
                )
            except (ValueError, OSError) as error:
                raise ValueError(f"{one.where}: {error}") from error
            bar.update(len(found))
            ranking = sorted(range(len(found)), key=lambda place: found[place].overall, reverse=True)
            scores = [
                {
                    "steps": [{"step": s, "score": n} for s, n in zip(each.steps, each.scores, strict=True)],
                    "overall": each.overall,
                }
                for each in found
            ]
            yield {**one.fields, "scores": scores, "ranking": ranking}
