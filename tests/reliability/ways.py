# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The other ways by which text reaches a model: names of files, transformers' pipeline, `internvl chat`.

Each is a function `(family, texts) -> Seen` for `check` of `tests.reliability.text`, with the places that it has. The
model that is asked gives an answer that is set here: compared is what reaches it.
"""

import argparse
import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from hypothesis import HealthCheck, given, seed, settings
from transformers import pipeline

from internvl_cli.arguments import VERB_ARGUMENTS
from tests.clips import write_clip
from tests.reliability.families import Family, controls_of, processor_of, tokenizer_of
from tests.reliability.spelling import typed_texts
from tests.reliability.text import HARMLESS, IMAGE, PLACES, Seen, Way, conversation
from tests.tiny import tiny_model
from transformers_internvl.cli import conversation as chat

FILES = ("first file", "second file", "clip", "before", "after")
COMMAND_LINE = ("--system", "--image", "--video", "question", "answer", "second question")


# --- files -----------------------------------------------------------------------------------------------------------


@lru_cache
def _originals() -> dict[str, Path]:
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    paths = {end: Path(folder.name, f"original{end}") for end in (".png", ".mp4")}
    IMAGE.save(paths[".png"])
    write_clip(paths[".mp4"], [10, 200], size=(32, 32))
    return paths


@contextmanager
def _named_files(**texts: str) -> Iterator[dict[str, str]]:
    """Images, and a `clip`, at paths that spell what was typed: whatever a file system takes, folders included."""
    with TemporaryDirectory() as folder:
        paths = {}
        for key, text in texts.items():
            parts = "".join(c for c in f"x{text}x".replace("..", ". .") if c != "\0").split("/")
            end = ".mp4" if key == "clip" else ".png"
            path = os.path.join(folder, key, *(part[:50] or "x" for part in parts)) + end
            os.makedirs(os.path.dirname(path))
            os.symlink(_originals()[end], path)
            paths[key] = path
        yield paths


def _captioned(template: str) -> str:
    """The template with the path of each image and video in front of it, as those do that number or name them."""
    marks = ("{{- image_placeholder", "{{- '<video>")
    for mark in marks:
        assert mark in template
        template = template.replace(mark, "{{- (item['path'] or '') }}" + mark)
    return template


def files(family: Family, texts: dict[str, str]) -> Seen:
    """Images and a video by their names, in a template that prints the names."""
    at = {place: texts.get(place, HARMLESS[0]) for place in FILES}
    processor = processor_of(family)
    with _named_files(first=at["first file"], second=at["second file"], clip=at["clip"]) as paths:
        items = [
            {"type": "image", "path": paths["first"]},
            {"type": "text", "text": f"x{at['before']}x"},
            {"type": "image", "url": paths["second"], "path": paths["second"]},
            {"type": "text", "text": f"x{at['after']}x"},
            {"type": "video", "path": paths["clip"]},
        ]
        batch = processor.apply_chat_template(
            [{"role": "user", "content": items[:-1] if family.llava else items}],
            chat_template=_captioned(processor.chat_template),
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
        )
    return Seen.of(family, batch["input_ids"][0], len(batch["pixel_values"]))


# --- transformers' pipeline ------------------------------------------------------------------------------------------


@lru_cache
def _model() -> Any:
    """A model that remembers what it was asked, `(ids, tiles)`, and gives the answer it was told to give."""
    model = tiny_model()
    model.asked, model.answer = [], torch.tensor([[0]])

    def generate(input_ids: torch.Tensor, pixel_values: Any = (), **_: Any) -> torch.Tensor:
        model.asked.append((input_ids[0].tolist(), len(pixel_values)))
        return torch.cat([input_ids, model.answer.expand(len(input_ids), -1)], dim=1)

    model.generate = generate
    return model


@lru_cache
def pipeline_of(family: Family) -> Any:
    """transformers' pipeline on a family's processor."""
    return pipeline("image-text-to-text", model=_model(), processor=processor_of(family))


def _asked(family: Family) -> Seen:
    ids = [index for row, _ in _model().asked for index in row]
    seen = Seen.of(family, ids, sum(tiles for _, tiles in _model().asked))
    _model().asked.clear()
    return seen


def piped(family: Family, texts: dict[str, str], **options: Any) -> Seen:
    """A conversation for the pipeline, and the same to be continued in the assistant's last turn."""
    messages = conversation(family, texts)
    _model().asked.clear()
    asked = [messages, messages[:5]]
    for given_, record in zip(asked, pipeline_of(family)(asked, **options), strict=True):
        assert record[0]["input_text"] == given_
    return _asked(family)


def check_plain_prompts(family: Family, cases: int, start: int, **options: Any) -> None:
    """Without a conversation a prompt writes tokens, as `processor(text=...)` does; it cannot shift images."""
    pipe, tokens = pipeline_of(family), ("<image>", "<IMG_CONTEXT>", "<video>")
    image = processor_of(family).image_token_id

    @seed(start)
    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(typed_texts(controls_of(family)))
    def hold(typed: str) -> None:
        _model().asked.clear()
        prompt = f"a<image>x{typed}x<image>"
        try:
            pipe(images=[IMAGE, IMAGE], text=prompt)
        except ValueError:
            # InternLM2's further spellings of added tokens: the processor of InternVL-Chat v1 refuses them.
            refused = (*tokens, *getattr(pipe.tokenizer, "spare_pieces", ())) if family.llava else tokens
            assert any(token in typed for token in refused), f"{family}: {typed!r} is no picture"
            return
        assert not any(token in typed for token in tokens), f"{family}: {typed!r} stands for a picture"
        ids, tiles = _model().asked[0]
        assert ids.count(image) == tiles == 2
        assert ids == processor_of(family)(images=[IMAGE, IMAGE], text=prompt)["input_ids"][0]

    hold()


# --- internvl chat ---------------------------------------------------------------------------------------------------


def command_line(family: Family, texts: dict[str, str]) -> Seen:
    """`internvl chat` with a system message, an image and a video, and two questions; its model writes tokens."""
    at = {place: f"x{texts.get(place, HARMLESS[0])}x" for place in COMMAND_LINE}
    model = _model()
    model.asked.clear()
    # Trusted text: the model says what the tokenizer makes of it, control tokens included.
    said = tokenizer_of(family.tokenizer)(at["answer"], add_special_tokens=False)["input_ids"]
    parser = argparse.ArgumentParser()
    VERB_ARGUMENTS["chat"](parser)
    with (
        _named_files(image=at["--image"], clip=at["--video"]) as paths,
        mock.patch.object(chat, "load_processor", lambda _: processor_of(family)),
        mock.patch.object(chat, "load_chat_model", lambda *_: model),
        mock.patch.object(model, "answer", torch.tensor([said])),
    ):
        arguments = [at["question"], f"--system={at['--system']}", f"--image={paths['image']}"]
        arguments += [] if family.llava else [f"--video={paths['clip']}"]
        given_ = parser.parse_args([*arguments, "--model=any", "--device=cpu"])
        talk = chat.Conversation(given_)
        talk.ask(given_.question)
        talk.ask(at["second question"])
    return _asked(family)


WAYS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "files": (files, FILES),
    "pipeline": (piped, PLACES),
    "internvl chat": (command_line, COMMAND_LINE),
}
