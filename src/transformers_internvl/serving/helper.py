# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The process that prepares inputs beside the server: it holds the processors, and forks for each request.

Untrusted data are decoded in a process with limits of its own, which can be ended at any moment, also within a
decoder: by a timer, by its memory limit, and when the other end of its connection is closed. The processes exchange
JSON and raw bytes, so a compromised one cannot make the server run code.

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
from .requests import FAILED, RequestError

HEAD = struct.Struct("!Q")
"""The length of the JSON object that comes first. The object has the lengths of the raw bytes that follow."""


def main() -> None:
    """Load the processors that the first line names, report that, and fork for every connection received."""
    import torch
    from transformers import AutoProcessor

    from ..training.adapted import processor_source

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server handles Ctrl-C, and this process ends with it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the system
    torch.set_num_threads(1)
    control = socket.socket(fileno=int(sys.argv[1]))
    sources = json.loads(control.makefile("rb").readline())
    processors = {name: AutoProcessor.from_pretrained(processor_source(source)) for name, source in sources.items()}
    for processor in processors.values():
        _warm(processor)
    gc.collect()
    gc.freeze()  # so that the collector does not write to shared pages
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
                signal.raise_signal(signal.SIGKILL)  # skip all cleanup; the answer has been sent
        os.close(descriptors[0])


def _work(connection: socket.socket, processors: dict[str, Any]) -> None:
    """One job: a body to messages, or messages to tensors. Errors are answers, too."""
    with _Failures(connection) as failures:
        job, data = _receive(connection)
        failures.light = job.get("light", False)
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
    """Answers errors: too much memory, or a bug, whose traceback is in the server's log only.

    Attributes:
        light: whether the job may be done again with more memory.
    """

    def __init__(self, connection: socket.socket):
        self.connection, self.light = connection, False

    def __enter__(self) -> "_Failures":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, ConnectionError):  # the server has closed the connection
            return
        # torch has no own error type for CPU memory.
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            refusal = _refusal("The request takes too much memory.", 413, "messages")
            _answer(self.connection, {"heavy": True} if self.light else refusal)
            return
        traceback.print_exception(error)
        _answer(self.connection, _refusal(FAILED, 500))


def _refusal(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "status": status, "param": param, "code": code}}


def _answer(connection: socket.socket, answer: dict[str, Any], raw: Iterable[Any] = ()) -> None:
    _end_with(None)
    head = json.dumps(answer).encode()
    connection.sendall(HEAD.pack(len(head)) + head)
    for part in raw:
        connection.sendall(part)


def _warm(processor: Any) -> None:
    """Prepare an example, so that no request has to import modules and compile templates."""
    image = BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    parts = [{"type": "image", "data": image.getvalue()}, {"type": "text", "text": "?"}]
    try:
        prepare(processor, 1 << 20, [{"role": "user", "content": parts}], {}, Limits())
    except RequestError:
        return  # each request will get this error


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
                raise ConnectionResetError("the server has closed the connection")
            return data

        (length,) = HEAD.unpack(read(HEAD.size))
        job = json.loads(read(length))
        return job, [read(size) for size in job["sizes"]]


def _bound(seconds: float, memory: int) -> None:
    """Limit this process to `seconds` of CPU time, six times as many in all (or a minute), and `memory` more bytes."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, size + memory),
        (resource.RLIMIT_CPU, int(seconds) + 1),  # if the signal below were ignored
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of CPU time; the default action of its signal ends the process
    signal.setitimer(signal.ITIMER_REAL, max(6 * seconds, 60))
    Path("/proc/self/oom_score_adj").write_text("1000")  # this process is killed before the server


def _end_with(connection: socket.socket | None) -> None:
    """End this process when the other end of the connection is closed; None: no longer.

    The signal is sent for any event on the connection, and there is none until the answer. Its default action ends the
    process.
    """
    if connection is None:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        return
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETFL, fcntl.fcntl(connection, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([connection], [], [], 0)[0]:  # already closed
        raise ConnectionResetError("the server has closed the connection")


if __name__ == "__main__":
    main()
