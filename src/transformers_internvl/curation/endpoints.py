# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Steps that ask a language model through an OpenAI-compatible endpoint: requests, replies on disk, what they cost.

A reply is on disk before anything is done with it, in `replies/` of the output folder, in a file of the task. A run
that was killed reads it there and asks nothing twice. A row whose replies cannot be read goes to the review file.
"""

import hashlib
import json
import os
import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, Self, TypeVar

from datatrove.data import Document

from ..evaluation.run.answers import LineFile
from ..evaluation.run.connection import Connection
from .documents import Check, StepOptions, StepPlace
from .files import read_lines
from .heuristics import Finding

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class EndpointOptions(StepOptions):
    """Options of steps that ask a model.

    Attributes:
        url: of the API, such as `http://127.0.0.1:8000/v1`.
        model: its name there.
        key_variable: the environment variable with the server's key; the key itself is written nowhere.
        requests: maximum number of requests of a task at the same time.
        timeout: seconds to wait for one reply.
        attempts: how often a model is asked until its reply can be read.
        max_tokens: of a reply; None = as many as the server allows.
        refusals: so many requests of a task may be refused (status 400 and the like): their rows go to the review
            file. The next refusal ends the task, since then it is the server or the key.
        input_price, output_price: of a million tokens, for the report.
        extra: further fields of every request, such as {"chat_template_kwargs": {"enable_thinking": false}}.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    requests: int = 8
    timeout: float = 300.0
    attempts: int = 3
    max_tokens: int | None = None
    refusals: int = 5
    input_price: float = 0.0
    output_price: float = 0.0
    extra: dict | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"`url` should be an http(s) address such as http://127.0.0.1:8000/v1, got {self.url!r}.")
        for name in ("requests", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` should be 1 or more, got {getattr(self, name)}.")
        if self.timeout <= 0:
            raise ValueError(f"`timeout` should be above 0 seconds, got {self.timeout:g}.")


class Unanswered(Exception):
    """No reply to a row could be used. The finding says why."""

    def __init__(self, finding: Finding):
        super().__init__(finding.detail)
        self.finding = finding


@dataclass(frozen=True)
class Question(Generic[Value]):
    """What a model is asked.

    Attributes:
        system: the system message; None = none.
        user: the text.
        read: from a reply to what is wanted; raises `ValueError` with what is wrong about the reply.
    """

    user: str
    read: Callable[[str], Value]
    system: str | None = None

    def messages(self) -> list[dict[str, str]]:
        """As the API takes them."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.user}]


class Endpoint:
    """A model, and its replies on disk. Use as a context manager, in one process; threads share it.

    Args:
        options: of the step.
        path: of the file of replies.
        client: an `httpx.Client` instead of one of its own.
    """

    def __init__(self, options: EndpointOptions, path: str | Path, client: Any = None):
        self.options, self._client = options, client
        self._file, self._lock, self._refused = LineFile(path), threading.Lock(), 0
        self._asking: dict[str, threading.Lock] = {}

    def __enter__(self) -> Self:
        self._file.__enter__()
        try:
            self._known: dict[str, str] = {line["key"]: line["reply"] for line in self._file.read()}
        except (KeyError, TypeError, ValueError) as error:
            self._file.__exit__()
            raise ValueError(f"{self._file.path} holds something else than replies of a model: {error!r}") from error
        options = self.options
        self.connection = Connection(
            options.url,
            key=os.environ.get(options.key_variable) or "none",
            requests=options.requests,
            timeout=options.timeout,
            client=self._client,
        )
        return self

    def __exit__(self, *_: Any) -> None:
        self.connection.stop.set()
        self._file.__exit__()

    def ask(self, question: Question[Value]) -> Value:
        """What the first reply that can be read says. Later attempts have a higher temperature.

        Raises:
            Unanswered: no reply can be read, or the server refuses the request.
            ValueError: it refused more requests than `refusals`.
            OSError: the server gave no answer at all.
        """
        wrong = ""
        for attempt in range(self.options.attempts):
            reply = self._reply(question, attempt)
            try:
                return question.read(reply)
            except ValueError as error:
                wrong = str(error)
        raise Unanswered(Finding("unusable reply", f"after {self.options.attempts} attempts: {wrong}"))

    def _reply(self, question: Question, attempt: int) -> str:
        """A reply, from the disk where there is one. Rows with the same text wait for the first of them."""
        body = {
            "model": self.options.model,
            "messages": question.messages(),
            "temperature": 0.0 if attempt == 0 else min(1.0, 0.3 * attempt),
            **({} if self.options.max_tokens is None else {"max_tokens": self.options.max_tokens}),
            **(self.options.extra or {}),
        }
        key = hashlib.sha256(json.dumps([body, attempt], sort_keys=True).encode()).hexdigest()
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            if key not in self._known:
                self._keep(key, body)
            return self._known[key]

    def _keep(self, key: str, body: dict[str, Any]) -> None:
        """Ask the server, and write the reply down."""
        try:
            answer = self.connection.chat(body, "a question on a row")
        except ValueError as error:
            self._refuse(error)
        choice = answer["choices"][0]
        text, usage = choice["message"].get("content"), answer.get("usage") or {}
        reply = text if isinstance(text, str) and choice.get("finish_reason") != "length" else ""
        line = {
            "key": key,
            "reply": reply,
            "tokens_in": _whole(usage.get("prompt_tokens")),
            "tokens_out": _whole(usage.get("completion_tokens")),
        }
        with self._lock:
            self._file.append([line])
            self._known[key] = reply
            self._asking.pop(key, None)

    def _refuse(self, error: ValueError) -> NoReturn:
        """Raise what a refusal means: one of a row, or of the server or the key."""
        with self._lock:
            self._refused += 1
            refused = self._refused
        if refused > self.options.refusals:
            raise ValueError(f"{refused} requests were refused, {self.options.refusals} may be: {error}") from error
        raise Unanswered(Finding("refused request", str(error))) from error


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


class AskingCheck(Check):
    """A check that asks a model, with several rows under way. Rows stay in order."""

    options: EndpointOptions

    def __init__(self, place: StepPlace, options: EndpointOptions):
        super().__init__(place, options)
        self.client: Any = None

    @abstractmethod
    def examine_by(self, document: Document, endpoint: Endpoint) -> Finding | None:
        """What is wrong with a row; None = nothing. May write into `scores`, or change the row."""

    def findings(self, data: Iterable[Document], rank: int) -> Iterator[tuple[Document, Finding | None]]:
        """The documents in order, each with what [`examine_by`] says."""
        path = Path(self.place.output) / "replies" / self.place.folder / f"{rank:05d}.jsonl"
        with Endpoint(self.options, path, self.client) as endpoint, ThreadPoolExecutor(self.options.requests) as pool:
            waiting: deque[tuple[Document, Future | None]] = deque()
            try:
                for document in data:
                    asked = self.options.concerns(document)
                    waiting.append((document, pool.submit(self._examined, document, endpoint) if asked else None))
                    while len(waiting) >= 2 * self.options.requests:
                        yield _finished(waiting)
                while waiting:
                    yield _finished(waiting)
            finally:
                endpoint.connection.stop.set()  # no further attempts where a question failed
                for _, future in waiting:
                    if future is not None:
                        future.cancel()

    def _examined(self, document: Document, endpoint: Endpoint) -> Finding | None:
        try:
            return self.examine_by(document, endpoint)
        except Unanswered as error:
            return error.finding


def _finished(waiting: deque[tuple[Document, Future | None]]) -> tuple[Document, Finding | None]:
    document, future = waiting.popleft()
    return document, None if future is None else future.result()


@dataclass(frozen=True)
class Cost:
    """What a step asked.

    Attributes:
        step: its folder name.
        model: on the server.
        replies: of all tasks and all runs.
        tokens_in, tokens_out: as the server counts them.
        price: of them.
    """

    step: str
    model: str
    replies: int
    tokens_in: int
    tokens_out: int
    price: float


def cost_of(output: str | Path, place: StepPlace, options: EndpointOptions) -> Cost:
    """What a step cost until now, by the replies on disk."""
    replies = tokens_in = tokens_out = 0
    for path in sorted((Path(output) / "replies" / place.folder).glob("*.jsonl")):
        for line in read_lines(path):
            replies += 1
            tokens_in += line["tokens_in"]
            tokens_out += line["tokens_out"]
    price = (tokens_in * options.input_price + tokens_out * options.output_price) / 1e6
    return Cost(place.folder, options.model, replies, tokens_in, tokens_out, price)


__all__ = ["AskingCheck", "Cost", "Endpoint", "EndpointOptions", "Question", "Unanswered", "cost_of"]
