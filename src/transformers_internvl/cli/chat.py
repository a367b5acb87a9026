# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl chat`: one answer, or a conversation where no question is given."""

import argparse
import sys
from typing import Any

from .errors import blame_user
from .loading import (
    add_model_argument,
    add_place_arguments,
    load_processor,
    model_name,
    place,
    positive,
    quiet_unless_watched,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    add("question", nargs="?", help="the question; without one, questions are read from stdin, a line each")
    add_model_argument(parser)
    add("--image", action="append", default=[], metavar="PATH_OR_URL", help="a picture; may be given several times")
    add("--video", action="append", default=[], metavar="PATH_OR_URL", help="a video (needs the extra `video`)")
    add("--system", metavar="TEXT", help="the system message instead of the template's own")
    add("--max-new-tokens", type=positive, default=512, metavar="N", help="most tokens of an answer (%(default)s)")
    add("--max-patches", type=positive, metavar="N", help="most tiles of a picture (default: the checkpoint's)")
    add_place_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Load the model and answer."""
    conversation = Conversation(arguments)
    if arguments.question is not None:
        conversation.ask(arguments.question)
        return
    for line in _questions():
        conversation.ask(line)


def _questions():
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        print(prompt, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


class Conversation:
    """A model and what was said so far; answers are written to stdout as they come."""

    def __init__(self, arguments: argparse.Namespace):
        from transformers import AutoModelForImageTextToText

        quiet_unless_watched()
        name = model_name(arguments)
        self.processor = load_processor(name)
        with blame_user(f"cannot load the model {name}"):
            device, dtype = place(arguments.device, arguments.dtype)
            self.model = AutoModelForImageTextToText.from_pretrained(name, dtype=dtype).to(device).eval()
        self.max_new_tokens = arguments.max_new_tokens
        self.processor_kwargs = {} if arguments.max_patches is None else {"max_patches": arguments.max_patches}
        self.messages: list[dict[str, Any]] = []
        if arguments.system is not None:
            self.messages.append({"role": "system", "content": [{"type": "text", "text": arguments.system}]})
        self.media = [_item("image", source) for source in arguments.image]
        self.media += [_item("video", source) for source in arguments.video]

    def ask(self, question: str) -> None:
        """Write the answer to `question`; pictures and videos belong to the first question."""
        from transformers import TextStreamer

        content = [*self.media, {"type": "text", "text": question}]
        self.media = []
        self.messages.append({"role": "user", "content": content})
        with blame_user("cannot use what was given"):
            inputs = self.processor.apply_chat_template(
                self.messages,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=self.processor_kwargs,
            )
        inputs = inputs.to(self.model.device, dtype=self.model.dtype)
        streamer = TextStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        ids = self.model.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False, streamer=streamer)
        answer = self.processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        self.messages.append({"role": "assistant", "content": [{"type": "text", "text": answer.strip()}]})


def _item(kind: str, source: str) -> dict[str, str]:
    return {"type": kind, "url" if source.startswith(("http://", "https://")) else "path": source}
