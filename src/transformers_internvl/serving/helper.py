# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The process beside the server in which inputs are prepared: it holds the processors, and forks for each request.

What strangers send is decoded in a process that has bounds of its own and can be ended at any moment, also in the
middle of a decoder: by a timer, by its memory, and when the other end of its connection is closed. Two processes
speak in JSON and raw bytes, so that one that was taken over cannot make the server run code.

`python -m transformers_internvl.serving.helper FD` is started by `preparing`, on Linux.
"""

import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from .bodies import read_body
from .inputs import Heavy, prepare
from .media import Limits
from .requests import RequestError

HEAD = struct.Struct("!Q")
"""The length of the JSON object that comes first; the raw bytes follow, whose lengths it tells."""


def main() -> None:
    """Load the processors that the first line names, say so, and fork for every connection that is handed over."""
    import torch
    from transformers import AutoProcessor

    from ..training.adapted import processor_source

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, whose end is the end here
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever has ended is gone
    torch.set_num_threads(1)
    control = socket.socket(fileno=int(sys.argv[1]))
    sources = json.loads(control.makefile("rb").readline())
    processors = {name: AutoProcessor.from_pretrained(processor_source(source)) for name, source in sources.items()}
    for processor in processors.values():
        _warm(processor)
    gc.collect()
    gc.freeze()  # what is shared is not to be written to
    control.sendall(b"+")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        try:
            forked = os.fork()
        except OSError:
            traceback.print_exc()
            forked = -1
        if forked == 0:
            control.close()
            try:
                _work(socket.socket(fileno=descriptors[0]), processors)
            finally:
                signal.raise_signal(signal.SIGKILL)  # nothing is to be tidied up; the answer is on its way
        os.close(descriptors[0])


def _work(connection: socket.socket, processors: dict[str, Any]) -> None:
    """One request, from its body to messages, or from these to tensors, or to a sentence."""
    with _Failures(connection):
        job, data = _receive(connection)
        os.nice(job["nice"])
        _bound(job["seconds"], job["memory"])
        _end_with(connection)
        try:
            answer, raw = _read(job, data) if job["task"] == "read" else _prepared(job, data, processors)
        except RequestError as error:
            answer, raw = _refusal(str(error), error.status, error.param, error.code), []
        except Heavy:
            answer, raw = {"heavy": True}, []
        _answer(connection, answer, raw)


class _Failures:
    """Answers for what was raised: too much memory, or a fault of ours, which only the server's log tells."""

    def __init__(self, connection: socket.socket):
        self.connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, ConnectionError):  # nobody waits any more
            return
        # torch has no error of its own for memory on CPUs.
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            _answer(self.connection, _refusal("The request takes too much memory.", 413, "messages"))
            return
        traceback.print_exception(error)
        _answer(self.connection, _refusal("The server failed on this request; its log says why.", 500))


def _refusal(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "status": status, "param": param, "code": code}}


def _answer(connection: socket.socket, answer: dict[str, Any], raw: Iterable[Any] = ()) -> None:
    _end_with(None)
    head = json.dumps(answer).encode()
    connection.sendall(HEAD.pack(len(head)) + head)
    for part in raw:
        connection.sendall(part)


def _warm(processor: Any) -> None:
    """Prepare something, so that no request has to import modules and compile templates."""
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    parts = [{"type": "image", "data": picture.getvalue()}, {"type": "text", "text": "?"}]
    try:
        prepare(processor, 1 << 20, [{"role": "user", "content": parts}], {}, Limits())
    except RequestError:
        return  # each request will be told


def _read(job: dict[str, Any], data: list[bytes]) -> tuple[dict, list[bytes]]:
    body, found = read_body(data.pop(), job["most_text"], Limits(bytes=job["bytes"]))
    return {"body": body, "data": [len(item) for item in found]}, found


def _prepared(job: dict[str, Any], data: list[bytes], processors: dict[str, Any]) -> tuple[dict, list[Any]]:
    import torch

    for message in job["messages"]:
        for part in message["content"]:
            if "data" in part:
                part["data"] = data[part["data"]]
    limits = Limits(pixels=job["pixels"], all_pixels=job["all_pixels"])
    processor = processors[job["model"]]
    inputs = prepare(processor, job["context"], job["messages"], job["options"], limits, job["light"])
    tensors = {name: value.contiguous() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    described = [[name, str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in tensors.items()]
    return {"tensors": described}, [memoryview(t.numpy()).cast("B") for t in tensors.values() if t.numel()]


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    with connection.makefile("rb") as file:

        def read(size: int) -> bytes:
            data = file.read(size)
            if len(data) < size:
                raise ConnectionResetError("nobody waits for an answer")
            return data

        (length,) = HEAD.unpack(read(HEAD.size))
        job = json.loads(read(length))
        return job, [read(size) for size in job["sizes"]]


def _bound(seconds: float, memory: int) -> None:
    """End this process after `seconds` of computing, or six times as many by the clock, and bound its memory."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, size + memory),
        (resource.RLIMIT_CPU, max(int(seconds), 1)),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.setitimer(signal.ITIMER_REAL, 6 * seconds)
    Path("/proc/self/oom_score_adj").write_text("1000")  # rather this one than the server


def _end_with(connection: socket.socket | None) -> None:
    """End this process when the other end of the connection is closed; None: not any more.

    The signal comes whatever happens on the connection, and nothing does until the answer. Nobody handles it.
    """
    if connection is None:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        return
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([connection], [], [], 0)[0]:  # closed before
        raise ConnectionResetError("nobody waits for an answer")


if __name__ == "__main__":
    main()
