# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Middleware: checks host names, limits bodies and requests, decodes JSON, and notices when a client leaves."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .generation import Cancelled
from .hosts import Hosts
from .requests import RequestError
from .slots import client_name

BODY_SECONDS = 60.0
SMALL_BODY = 64 << 10
"""Bodies up to this size do not count towards the limit of all bodies together."""
READ_HERE = 256 << 10
"""Bodies up to this size are decoded on the event loop; larger ones would block it."""
MOST_VALUES = 1_000_000
"""Maximum number of separators, brackets and escapes of a body: each takes time and memory."""
TOO_MANY_LARGE = "Too many large requests at a time: try again later."
_COUNTED = (b",", b":", b"[", b"{", b"\\")


@dataclass
class Client:
    """The client of the request that is being handled.

    Attributes:
        name: under which its requests are counted.
        body: the JSON object that it sent.
        left: set when the client has left, for other threads.
        gone: the same, for the event loop.
        forget: to be called when the body has been released.
    """

    name: str
    body: dict[str, Any] = field(default_factory=dict)
    left: threading.Event = field(default_factory=threading.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    forget: Callable[[], None] = lambda: None


client: ContextVar[Client] = ContextVar("client")


@dataclass(eq=False)
class _Body:
    """A body that is being received, or is in memory."""

    name: str
    size: int = 0
    complete: bool = False
    since: float = field(default_factory=time.monotonic)
    task: asyncio.Task | None = None
    pushed_out: bool = False


class Guard:
    """ASGI middleware.

    Args:
        app: the application behind it.
        hosts: the names that the server answers to.
        most_bytes: maximum number of bytes of a body.
        most_requests: maximum number of waiting requests; more get status 503.
        most_of_client: the same, of one client.
        all_bytes: maximum number of bytes of all bodies in memory.
        read: decodes a large body outside of the event loop.
    """

    def __init__(
        self,
        app: Any,
        hosts: Hosts,
        most_bytes: int,
        most_requests: int,
        most_of_client: int,
        all_bytes: int,
        read: Callable[[bytearray, Client], Awaitable[dict[str, Any]]],
    ):
        self.app, self.hosts, self.read = app, hosts, read
        self.most_bytes, self.most_requests, self.most_of_client = most_bytes, most_requests, most_of_client
        self.all_bytes = all_bytes
        self.waiting: Counter[str] = Counter()
        self.bodies: set[_Body] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self.hosts.check(scope)
            if scope["method"] != "POST":
                await self.app(scope, receive, send)
                return
            await self._post(scope, receive, send)
        except RequestError as error:
            await _refuse(error, scope, receive, send)

    async def _post(self, scope: Any, receive: Any, send: Any) -> None:
        body = _Body(client_name(scope))
        self.bodies.add(body)
        try:
            data = await self._data(body, receive)
            if data is None:
                return
            self._check_room(body.name)
            self.waiting[body.name] += 1
            try:
                asking = Client(body.name, forget=lambda: self.bodies.discard(body))
                await self._watched(scope, asking, [data], receive, send)
            finally:
                self.waiting[body.name] -= 1
                self.waiting += Counter()  # drops clients without requests
        finally:
            self.bodies.discard(body)

    def _check_room(self, name: str) -> None:
        if self.waiting.total() >= self.most_requests:
            raise RequestError(f"{self.most_requests} requests wait already: try again later.", status=503)
        if self.waiting[name] >= self.most_of_client:
            raise RequestError(f"{self.most_of_client} of your requests wait already: try again later.", status=503)

    async def _data(self, body: _Body, receive: Any) -> bytearray | None:
        """The body, within its time; None if the client has left."""
        body.task = asyncio.ensure_future(self._receive(body, receive))
        try:
            return await asyncio.wait_for(body.task, BODY_SECONDS)
        except TimeoutError as error:
            raise RequestError(f"The body took longer than {BODY_SECONDS:g} s.", status=408) from error
        except asyncio.CancelledError:
            if not body.pushed_out:
                raise
            raise RequestError(TOO_MANY_LARGE, status=503) from None

    async def _receive(self, body: _Body, receive: Any) -> bytearray | None:
        data = bytearray()
        while not body.complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            data += message.get("body", b"")
            body.complete = not message.get("more_body", False)
            body.size = len(data)
            if body.size > self.most_bytes:
                raise RequestError(f"The request has more than {self.most_bytes} bytes.", status=413)
            if body.size > SMALL_BODY:
                self._make_room(body)
        return data

    def _make_room(self, body: _Body) -> None:
        """Abort incomplete bodies, those of the client with most bytes first, and its oldest first."""
        large = self._large()
        of_client: Counter[str] = Counter()
        for other in large:
            of_client[other.name] += other.size
        for other in sorted(large, key=lambda other: (-of_client[other.name], other.since)):
            if sum(item.size for item in self._large()) <= self.all_bytes:
                return
            if other is not body and not other.complete and other.task is not None:
                other.pushed_out, other.size = True, 0
                other.task.cancel()
        if sum(item.size for item in self._large()) > self.all_bytes:
            raise RequestError(TOO_MANY_LARGE, status=503)

    def _large(self) -> list[_Body]:
        return [body for body in self.bodies if body.size > SMALL_BODY]

    async def _watched(self, scope: Any, asking: Client, held: list[bytearray], receive: Any, send: Any) -> None:
        """Decode the body and pass the request on, and watch for the client to leave."""

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue
            asking.left.set()
            asking.gone.set()

        pending = [{"type": "http.request", "body": b"{}", "more_body": False}]  # the content is in `asking`

        async def replay() -> Any:
            if pending:
                return pending.pop()
            await asking.gone.wait()
            return {"type": "http.disconnect"}

        client.set(asking)
        watcher = asyncio.create_task(watch())
        try:
            data = held.pop()
            asking.body = parse(data) if len(data) <= READ_HERE else await self.read(data, asking)
            del data
            await self.app(scope, replay, send)
        except Cancelled:
            return
        finally:
            watcher.cancel()


def parse(data: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of a body. Raises `RequestError` if it is none, or has too many values."""
    if sum(data.count(mark) for mark in _COUNTED) > MOST_VALUES:
        raise RequestError(f"The request has more than {MOST_VALUES} values and escapes in its JSON.", status=413)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        body = error
    if not isinstance(body, dict):
        raise RequestError("The body must be a JSON object, sent as application/json.")
    return body


async def _refuse(error: RequestError, scope: Any, receive: Any, send: Any) -> None:
    from fastapi.responses import JSONResponse

    await JSONResponse(error.body(), error.status)(scope, receive, send)
