# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Prepares inputs: in processes beside the server on Linux (see `helper`), elsewhere in threads.

Only Linux forks safely in a process with PyTorch, and can signal a process that the other end of a connection is
closed. Threads cannot be ended, so limits of time and memory do not apply there.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from .bodies import read_body, with_data
from .inputs import Heavy, prepare
from .media import Limits
from .requests import RequestError

NICE = {"heavy": 5, "video": 5, "body": 5}
"""Niceness of the processes of slow requests, by kind: the server and quick requests go first."""

LIGHT_KINDS = ("text", "image")
"""Kinds whose slow requests are prepared as heavy ones, see `Heavy`: also those that exceed the bounds below."""

MEMORY = {"text": 256 << 20, "image": 256 << 20, "heavy": 768 << 20, "video": 768 << 20, "body": 768 << 20}
"""Maximum number of bytes for the preparation of one request, beyond the shared ones, by kind."""

SECONDS = {"text": 1.0, "image": 0.5, "heavy": 20.0, "video": 30.0, "body": 10.0}
"""Maximum CPU time to prepare a request, by kind. Others of its kind wait for it."""

_THREADS = 4
_LONGEST_ANSWER = 1 << 20  # bytes, without tensors, texts and images


def kind_of(messages: list[dict]) -> str:
    """The kind of messages by their slowest content: `video`, `image` or `text`. The latter two can become `heavy`."""
    kinds = {part["type"] for message in messages for part in message["content"]}
    return next((kind for kind in ("video", "image") if kind in kinds), "text")


class InThreads:
    """Prepares in threads of this process, without limits of time and memory."""

    def __init__(self, processors: dict[str, Any], limits: Limits):
        self.processors, self.limits = processors, limits
        self.pool = ThreadPoolExecutor(_THREADS, "preparing")

    async def __call__(
        self, model: str, context: int, messages: list[dict], options: dict[str, Any], kind: str
    ) -> Any:
        """The inputs of `model` for `messages`. Raises `RequestError`, and `Heavy` unless `kind` allows it."""
        arguments = (self.processors[model], context, messages, options, self.limits, kind in LIGHT_KINDS)
        return await asyncio.get_running_loop().run_in_executor(self.pool, prepare, *arguments)

    async def read(self, data: bytearray, most_text: int) -> dict[str, Any]:
        """The JSON object of a body. Raises `RequestError`, as `read_body`."""
        loop = asyncio.get_running_loop()
        return with_data(*await loop.run_in_executor(self.pool, read_body, data, most_text, self.limits))

    def wait_until_ready(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Wait for nothing."""
        self.pool.shutdown(wait=False, cancel_futures=True)


class InProcesses:
    """Prepares each request in a process of its own, with limits, which ends when the client leaves.

    Args:
        sources: the ids or folders of the processors, by the names of their models.
        limits: of requests.
    """

    def __init__(self, sources: dict[str, str], limits: Limits):
        self.sources, self.limits = sources, limits
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        self.control, theirs = socket.socketpair()
        command = [sys.executable, "-m", f"{__package__}.helper", str(theirs.fileno())]
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        with theirs:
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
            )
        self.control.sendall(json.dumps(self.sources).encode() + b"\n")

    def wait_until_ready(self) -> None:
        """Wait until the processors are loaded. Raises `RuntimeError` if they cannot be."""
        try:
            ready = self.control.recv(1)
        except OSError:
            ready = b""
        if not ready:
            raise RuntimeError("The process that prepares inputs has ended; the log has the reason.")

    async def __call__(
        self, model: str, context: int, messages: list[dict], options: dict[str, Any], kind: str
    ) -> Any:
        """The inputs of `model` for `messages`.

        Raises:
            Heavy: `kind` is a light one, and the images or texts take long, or it took too much time or memory.
            RequestError: as `prepare`, or it took too much time or memory, or the process crashed.
        """
        import torch

        job, data = self._job(model, context, messages, options, kind)
        del messages
        async with self._asked(kind, job, data) as (answer, connection):
            inputs = {}
            for name, dtype, shape in answer["tensors"]:
                inputs[name] = torch.empty(shape, dtype=getattr(torch, dtype))
                if inputs[name].numel():
                    await _fill(connection, memoryview(inputs[name].numpy()).cast("B"))
            return inputs

    async def read(self, data: bytearray, most_text: int) -> dict[str, Any]:
        """The JSON object of a body, with the bytes of data URIs.

        Args:
            data: the body.
            most_text: maximum number of bytes of its texts.

        Raises:
            RequestError: it cannot be served, or takes too much time or memory.
        """
        job = {"task": "read", "most_text": most_text, "bytes": self.limits.bytes}
        async with self._asked("body", job, [data], 6 * most_text) as (answer, connection):
            found = []
            for size in answer["data"]:
                held = bytearray(size)
                await _fill(connection, memoryview(held))
                found.append(bytes(held))
            return with_data(answer["body"], found)

    @asynccontextmanager
    async def _asked(
        self, kind: str, job: dict[str, Any], data: list[Any], more: int = 0
    ) -> AsyncIterator[tuple[dict[str, Any], socket.socket]]:
        """Send a job to a process. Yields the answer, up to `more` bytes longer than usual, and the connection."""
        bounds = {"seconds": SECONDS[kind], "memory": MEMORY[kind], "nice": NICE.get(kind, 0)}
        head = json.dumps({**job, **bounds, "sizes": [len(item) for item in data]}).encode()
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await loop.run_in_executor(None, self._hand_over, theirs)
            ours.setblocking(False)
            for part in (len(head).to_bytes(8, "big"), head, *data):
                await loop.sock_sendall(ours, part)
            del part
            data.clear()
            yield await self._answer(ours, more), ours
        except (ConnectionError, EOFError) as error:
            if kind in LIGHT_KINDS:
                raise Heavy from error  # it gets more time and memory, and delays heavy requests only
            raise RequestError(
                "The request cannot be prepared: it takes too long or too much memory, or an image or video of it is "
                "broken.",
                param="messages",
            ) from error
        finally:
            ours.close()  # which ends the process

    def close(self) -> None:
        """End the process, and those that prepare."""
        self.control.close()
        self.process.terminate()
        self.process.wait()

    def _job(
        self, model: str, context: int, messages: list[dict], options: dict, kind: str
    ) -> tuple[dict[str, Any], list[bytes]]:
        data: list[bytes] = []
        numbered = []
        for message in messages:
            content = []
            for part in message["content"]:
                if "data" in part:
                    data.append(part["data"])
                    part = {**part, "data": len(data) - 1}
                content.append(part)
            numbered.append({**message, "content": content})
        job = {
            **{"task": "prepare", "model": model, "context": context, "messages": numbered, "options": options},
            **{"pixels": self.limits.pixels, "all_pixels": self.limits.all_pixels, "light": kind in LIGHT_KINDS},
        }
        return job, data

    def _hand_over(self, connection: socket.socket) -> None:
        """Give a connection to the process that forks; restart that process if it has ended."""
        with self._lock:
            try:
                socket.send_fds(self.control, [b"?"], [connection.fileno()])
            except OSError:
                self.control.close()
                self.process.wait()
                self._start()
                self.wait_until_ready()
                socket.send_fds(self.control, [b"?"], [connection.fileno()])

    async def _answer(self, connection: socket.socket, more: int) -> dict[str, Any]:
        head = bytearray(8)
        await _fill(connection, memoryview(head))
        length = int.from_bytes(head, "big")
        if length > _LONGEST_ANSWER + more:  # the process may be compromised
            raise EOFError
        text = bytearray(length)
        await _fill(connection, memoryview(text))
        answer = json.loads(text)
        if "error" in answer:
            raise RequestError(**answer["error"])
        if "heavy" in answer:
            raise Heavy
        return answer


async def _fill(connection: socket.socket, place: memoryview) -> None:
    loop = asyncio.get_running_loop()
    done = 0
    while done < len(place):
        got = await loop.sock_recv_into(connection, place[done:])
        if not got:
            raise EOFError
        done += got


def preparer(sources: dict[str, str], processors: dict[str, Any], limits: Limits) -> "InThreads | InProcesses":
    """The way to prepare on this system: processes on Linux, else threads."""
    return InProcesses(sources, limits) if sys.platform == "linux" else InThreads(processors, limits)
