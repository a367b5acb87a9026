# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Conversations of `internvl chat`, with a local model or a server. Answers are written as they are generated."""

import argparse
import base64
import mimetypes
import os
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import torch
from transformers import TextStreamer

from ..processing.fetching import is_url
from ..processing.sources import DECODING_ERRORS, load_image
from .errors import UserError, user_errors
from .loading import load_chat_model, load_processor, model_name, no_bars_without_terminal, place
from .names import server_url


class Conversation:
    """The messages so far, and the images and videos that go with the next question; here with a local model."""

    def __init__(self, arguments: argparse.Namespace):
        self.system = arguments.system
        self.stats = sys.stderr.isatty() if arguments.stats is None else arguments.stats
        self.reset()
        self._connect(arguments)
        for kind in ("image", "video"):
            for source in getattr(arguments, kind):
                self.attach(kind, source)

    def _connect(self, arguments: argparse.Namespace) -> None:
        """Load the model, and read the options of generation."""
        no_bars_without_terminal()
        name = model_name(arguments)
        self.processor = load_processor(name)
        with user_errors(f"cannot load the model {name}"):
            device, dtype = place(arguments.device, arguments.dtype)
        self.model = load_chat_model(name, device, dtype)
        if not arguments.no_prefix_cache:
            self.model.keep_prefixes()
        self.seed = arguments.seed
        self.options: dict[str, Any] = {"max_new_tokens": arguments.max_new_tokens, "do_sample": False}
        if arguments.temperature:
            self.options |= {"do_sample": True, "temperature": arguments.temperature}
        for option in ("top_p", "top_k", "repetition_penalty", "v2pe_stride"):
            if getattr(arguments, option) is not None:
                self.options[option] = getattr(arguments, option)
        self.processor_kwargs = {} if arguments.max_patches is None else {"max_patches": arguments.max_patches}

    def reset(self) -> None:
        """Forget the questions and answers, and what is attached. The system message stays."""
        self.media: list[dict[str, Any]] = []
        self.messages: list[Any] = [] if self.system is None else [self._message("system", [], self.system)]

    def attach(self, kind: str, source: str) -> None:
        """Send an image or a video with the next question.

        Args:
            kind: "image" or "video".
            source: a path or a URL.

        Raises:
            UserError: there is no such file, or it is no image.
        """
        with user_errors(f"cannot use the {kind} {source}"):
            self.media.append(self._item(kind, source))

    def ask(self, question: str) -> None:
        """Write the answer to `question`, with what is attached, to stdout.

        A question that was not answered, because of an error or an interruption, is taken back: the conversation is
        what it was before.
        """
        media, messages = self.media, list(self.messages)
        self.messages.append(self._message("user", media, question))
        self.media = []
        try:
            answer = self._answer()
        except BaseException:
            self.media, self.messages = media, messages
            raise
        self.messages.append(self._message("assistant", [], answer.strip()))

    def _answer(self) -> str:
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
        streamer = _TimedStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        if self.seed is not None:
            torch.manual_seed(self.seed)
        with user_errors("cannot answer"):
            ids = self.model.generate(**inputs, **self.options, streamer=streamer)
        if self.stats:
            streamer.watch.report(streamer.tokens)
        return self.processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    def _message(self, role: str, media: list[dict[str, Any]], text: str) -> dict[str, Any]:
        return {"role": role, "content": [*media, {"type": "text", "text": text}]}

    def _item(self, kind: str, source: str) -> dict[str, Any]:
        """The content item of an image or a video; files are looked at here, URLs when the question is asked."""
        if is_url(source):
            return {"type": kind, "url": source}
        if kind == "image":
            try:
                load_image(source)
            except DECODING_ERRORS as error:
                raise ValueError(f"it cannot be decoded: {error}") from error
        elif not os.path.exists(source):
            raise FileNotFoundError("there is no such file or folder.")
        return {"type": kind, "path": source}


class RemoteConversation(Conversation):
    """The same with an OpenAI-compatible server; local images and videos are sent as data URIs."""

    def _connect(self, arguments: argparse.Namespace) -> None:
        with user_errors("asking a server needs `pip install 'transformers_internvl[serve]'`"):
            import openai
        self.errors = openai.OpenAIError
        # The client requires a key; a server without keys accepts any.
        key = os.environ.get("OPENAI_API_KEY", "none")
        self.client = openai.OpenAI(base_url=server_url(arguments.url), api_key=key)
        self.model_name = arguments.model
        self.options = {"max_tokens": arguments.max_new_tokens, "temperature": arguments.temperature or 0}
        for option in ("top_p", "seed"):
            if getattr(arguments, option) is not None:
                self.options[option] = getattr(arguments, option)
        if arguments.max_patches is not None:
            self.options["extra_body"] = {"chat_template_kwargs": {"max_patches": arguments.max_patches}}

    def _answer(self) -> str:
        watch, answer, tokens = _Watch(), "", None
        try:
            for piece, count in self._chunks():
                tokens = tokens if count is None else count
                if piece:
                    watch.tick()
                print(piece, end="", flush=True)
                answer += piece
        except self.errors as error:
            raise UserError(f"the server at {self.client.base_url} gave no answer: {error}") from error
        print()
        if self.stats:
            watch.report(tokens)
        return answer

    def _chunks(self) -> Iterator[tuple[str, int | None]]:
        """Pieces of the answer, and how many tokens it has where the server says so, in the last one."""
        if self.model_name is None:
            self.model_name = self._only_model()
        stream = self.client.chat.completions.create(
            model=self.model_name, messages=self.messages, stream=True, **self.options
        )
        for chunk in stream:
            piece = chunk.choices[0].delta.content if chunk.choices else None
            yield piece or "", chunk.usage.completion_tokens if chunk.usage else None

    def _only_model(self) -> str:
        names = [model.id for model in self.client.models.list()]
        if len(names) != 1:
            raise UserError(f"The server has several models: choose one with --model ({', '.join(names)}).")
        return names[0]

    def _message(self, role: str, media: list[dict[str, Any]], text: str) -> dict[str, Any]:
        return super()._message(role, media, text) if role == "user" else {"role": role, "content": text}

    def _item(self, kind: str, source: str) -> dict[str, Any]:
        """The content part of an image or video: its URL, or a data URI of the file."""
        if os.path.isdir(source):
            raise UserError(f"{source} is a folder: a server takes one file a video; encode the frames.")
        if not is_url(source) and not source.startswith("data:"):
            mime = mimetypes.guess_type(source)[0] or "application/octet-stream"
            with open(source, "rb") as file:
                source = f"data:{mime};base64,{base64.b64encode(file.read()).decode()}"
        return {"type": f"{kind}_url", f"{kind}_url": {"url": source}}


class _Watch:
    """When an answer was asked for, began and ended."""

    def __init__(self) -> None:
        self.started = perf_counter()
        self.first: float | None = None

    def tick(self) -> None:
        """Note that a piece of the answer arrived."""
        if self.first is None:
            self.first = perf_counter()

    def report(self, tokens: int | None) -> None:
        """Write tokens, tokens per second after the first, and the seconds before it to stderr."""
        ended = perf_counter()
        first = ended if self.first is None else self.first
        parts = ["tokens unknown" if tokens is None else f"{tokens} token{'s' * (tokens != 1)}"]
        if tokens is not None and tokens > 1 and ended > first:
            parts.append(f"{(tokens - 1) / (ended - first):.1f} tokens/s")
        parts.append(f"first after {first - self.started:.2f} s")
        print(f"[{', '.join(parts)}]", file=sys.stderr, flush=True)


class _TimedStreamer(TextStreamer):
    """Writes an answer to stdout, counts its tokens, and notes when the first one came."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.watch, self.tokens = _Watch(), 0

    def put(self, value: Any) -> None:
        """Take the prompt, or further tokens."""
        if not self.next_tokens_are_prompt:
            self.watch.tick()
            self.tokens += value.numel()
        super().put(value)


__all__ = ["Conversation", "RemoteConversation"]
