# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""What stands before the server: it bounds bodies and numbers of requests, and notices when a client leaves."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

from .requests import RequestError

BODY_SECONDS = 60.0

# Set when the client of the request that is being handled has left.
client_left: ContextVar[threading.Event] = ContextVar("client_left")


class Guard:
    """ASGI middleware.

    Args:
        app: the application behind it.
        most_bytes: most bytes of a body.
        most_requests: most requests at a time that wait for answers; more are asked to come again.
    """

    def __init__(self, app: Any, most_bytes: int, most_requests: int):
        self.app, self.most_bytes, self.most_requests = app, most_bytes, most_requests
        self.waiting = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        self.waiting += 1
        try:
            if self.waiting > self.most_requests:
                raise RequestError(f"{self.most_requests} requests wait already: try again later.", status=503)
            try:
                body = await asyncio.wait_for(self._body(receive), BODY_SECONDS)
            except TimeoutError as error:
                raise RequestError(f"The body took longer than {BODY_SECONDS:g} s.", status=408) from error
            if body is not None:
                await self._watched(scope, body, receive, send)
        except RequestError as error:
            await _refuse(error, scope, receive, send)
        finally:
            self.waiting -= 1

    async def _body(self, receive: Any) -> bytes | None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.most_bytes:
                raise RequestError(f"The request has more than {self.most_bytes} bytes.", status=413)
        return bytes(body)

    async def _watched(self, scope: Any, body: bytes, receive: Any, send: Any) -> None:
        """Hand the request on; once its body is read, the only thing that still comes from a client is its leaving."""
        left, gone = threading.Event(), asyncio.Event()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                continue
            left.set()
            gone.set()

        pending = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            if pending:
                return pending.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        client_left.set(left)
        watcher = asyncio.create_task(watch())
        try:
            await self.app(scope, replay, send)
        finally:
            watcher.cancel()


async def _refuse(error: RequestError, scope: Any, receive: Any, send: Any) -> None:
    from fastapi.responses import JSONResponse

    await JSONResponse(error.body(), error.status)(scope, receive, send)
