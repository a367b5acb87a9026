# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`internvl chat`: one answer, or a conversation where no question is given; from a local model or a server."""

import argparse
import base64
import mimetypes
import os
import sys
from typing import Any

from ..processing.fetching import is_url
from .errors import UserError, user_errors
from .loading import (
    load_chat_model,
    load_processor,
    model_name,
    no_bars_without_terminal,
    place,
)
from .names import server_url


def run(arguments: argparse.Namespace) -> None:
    """Load the model, or ask the server, and answer."""
    conversation = Conversation(arguments) if arguments.url is None else RemoteConversation(arguments)
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
    """A local model and the messages so far; answers are written to stdout as they are generated."""

    def __init__(self, arguments: argparse.Namespace):
        no_bars_without_terminal()
        name = model_name(arguments)
        self.processor = load_processor(name)
        with user_errors(f"cannot load the model {name}"):
            device, dtype = place(arguments.device, arguments.dtype)
        self.model = load_chat_model(name, device, dtype)
        if not arguments.no_prefix_cache:
            self.model.keep_prefixes()
        self.options = {"max_new_tokens": arguments.max_new_tokens, "do_sample": False}
        if arguments.v2pe_stride is not None:
            self.options["v2pe_stride"] = arguments.v2pe_stride
        self.processor_kwargs = {} if arguments.max_patches is None else {"max_patches": arguments.max_patches}
        self.messages: list[dict[str, Any]] = []
        if arguments.system is not None:
            self.messages.append({"role": "system", "content": [{"type": "text", "text": arguments.system}]})
        self.media = [_item("image", source) for source in arguments.image]
        self.media += [_item("video", source) for source in arguments.video]

    def ask(self, question: str) -> None:
        """Write the answer to `question`; the images and videos are sent with the first question."""
        from transformers import TextStreamer

        content = [*self.media, {"type": "text", "text": question}]
        self.media = []
        self.messages.append({"role": "user", "content": content})
        with user_errors("cannot use what was given"):
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
        with user_errors("cannot answer"):
            ids = self.model.generate(**inputs, **self.options, streamer=streamer)
        answer = self.processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        self.messages.append({"role": "assistant", "content": [{"type": "text", "text": answer.strip()}]})


class RemoteConversation:
    """The same with an OpenAI-compatible server; local images and videos are sent as data URIs."""

    def __init__(self, arguments: argparse.Namespace):
        with user_errors("asking a server needs `pip install 'transformers_internvl[serve]'`"):
            import openai
        self.errors = openai.OpenAIError
        # The client requires a key; a server without keys accepts any.
        key = os.environ.get("OPENAI_API_KEY", "none")
        self.client = openai.OpenAI(base_url=server_url(arguments.url), api_key=key)
        self.model = arguments.model
        self.options: dict[str, Any] = {"max_tokens": arguments.max_new_tokens, "temperature": 0}
        if arguments.max_patches is not None:
            self.options["extra_body"] = {"chat_template_kwargs": {"max_patches": arguments.max_patches}}
        self.messages: list[Any] = []
        if arguments.system is not None:
            self.messages.append({"role": "system", "content": arguments.system})
        with user_errors("cannot use what was given"):
            self.media = [_sent("image_url", source) for source in arguments.image]
            self.media += [_sent("video_url", source) for source in arguments.video]

    def ask(self, question: str) -> None:
        """Write the answer to `question` as it is received."""
        self.messages.append({"role": "user", "content": [*self.media, {"type": "text", "text": question}]})
        self.media = []
        answer = ""
        try:
            if self.model is None:
                self.model = self._only_model()
            stream = self.client.chat.completions.create(
                model=self.model, messages=self.messages, stream=True, **self.options
            )
            for chunk in stream:
                piece = chunk.choices[0].delta.content if chunk.choices else None
                print(piece or "", end="", flush=True)
                answer += piece or ""
        except self.errors as error:
            raise UserError(f"the server at {self.client.base_url} gave no answer: {error}") from error
        print()
        self.messages.append({"role": "assistant", "content": answer.strip()})

    def _only_model(self) -> str:
        names = [model.id for model in self.client.models.list()]
        if len(names) != 1:
            raise UserError(f"The server has several models: choose one with --model ({', '.join(names)}).")
        return names[0]


def _sent(kind: str, source: str) -> dict[str, Any]:
    """The content part of an image or video: its URL, or a data URI of the file."""
    if os.path.isdir(source):
        raise UserError(f"{source} is a folder: a server takes one file a video; encode the frames.")
    if not is_url(source) and not source.startswith("data:"):
        mime = mimetypes.guess_type(source)[0] or "application/octet-stream"
        with open(source, "rb") as file:
            source = f"data:{mime};base64,{base64.b64encode(file.read()).decode()}"
    return {"type": kind, kind: {"url": source}}


def _item(kind: str, source: str) -> dict[str, str]:
    return {"type": kind, "url" if is_url(source) else "path": source}
