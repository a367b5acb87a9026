# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Clients of `internvl serve` that leave in every phase of a request, between others who ask about images and
videos: every answer is right, and what the server holds afterwards is what it held before.
"""

import json
import random
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from tests.clips import clip_bytes
from tests.reliability.serving import cases, data_uri, load, png, post, running_server

HEAD = "POST {path}/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def said(*parts: Any, **options: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 1} | options).encode()


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def _media(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}


@lru_cache
def _heavy() -> bytes:
    return said(_media("image_url", data_uri(png(Image.new("RGBA", (7000, 7000), (1, 2, 3, 4))))))


@lru_cache
def _large() -> bytes:
    return said(_text("?"), _media("image_url", data_uri(b"\0" * (3 << 20))))


@lru_cache
def _film() -> bytes:
    return said(_media("video_url", data_uri(clip_bytes(range(0, 250), size=(640, 480)), "video/mp4")))


def _picture(port: int) -> bytes:
    return said(_media("image_url", f"http://localhost:{port}/x.png"))


# Phase -> the body, how much of the request is sent, and the longest time (s) until the client leaves.
PHASES: dict[str, tuple[Callable[[int], bytes], float, float]] = {
    "header": (lambda _: said(_text("Hi")), 0.1, 0.05),
    "body": (lambda _: _large(), 0.6, 0.1),
    "read": (lambda _: _large(), 1, 0.1),
    "fetch": (_picture, 1, 0.5),
    "prepare": (lambda _: _heavy(), 1, 0.5),
    "prepare a video": (lambda _: _film(), 1, 0.5),
    "queue": (lambda _: said(_text("Hi"), max_tokens=50), 1, 0.05),
    "prefill": (lambda _: said(_text("word " * 3900)), 1, 0.5),
    "answer": (lambda _: said(_text("?"), max_tokens=500, temperature=1.5), 1, 0.5),
    "stream": (lambda _: said(_text("?"), max_tokens=500, temperature=1.5, stream=True), 1, 0.5),
}


@contextmanager
def silent_host() -> Any:
    """Takes connections and says nothing: its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener.getsockname()[1]


def leave(url: str, phase: str, port: int, chance: random.Random) -> None:
    """Ask, and close the connection in the phase or somewhat later; a stream after its first bytes.

    Args:
        url: of the server.
        phase: one of `PHASES`.
        port: of a host that says nothing.
        chance: of the moment.
    """
    body, share, longest = PHASES[phase]
    parts = urlsplit(url)
    data = body(port)
    request = f"{HEAD.format(path=parts.path)}Content-Length: {len(data)}\r\n\r\n".encode() + data
    with socket.create_connection((parts.hostname, parts.port), timeout=120) as connection:
        try:
            connection.sendall(request[: 40 if phase == "header" else int(share * len(request))])
            if phase == "stream":
                connection.recv(20)
            time.sleep(chance.uniform(0, longest))
        except ConnectionError:  # refused in the middle of the body
            return


def held(process: Any) -> dict[str, Any]:
    """What a watched server holds: see `watched.held`; its files, its connections, and the processes below it."""
    process.send_signal(signal.SIGUSR1)
    found = json.loads(process.said.readline())
    found["connections"] = sum(one.status == "ESTABLISHED" for one in process.net_connections())
    return found | {"files": process.num_fds(), "processes": len(process.children(recursive=True))}


def leftovers(process: Any, before: dict[str, Any], seconds: float = 60) -> str | None:
    """What a server still holds after all clients have left, and after `seconds`, that it did not hold `before`."""
    end = time.monotonic() + seconds
    while (now := held(process)) != before:
        if time.monotonic() > end:
            return f"held before: {before}; now: {now}"
        time.sleep(0.2)
    return None


def mixed(requests: int, leavers: int, clients: int, seed: int) -> tuple[list[str], dict[str, float]]:
    """Ask and leave at one server: what went wrong, and figures.

    Args:
        requests: images, videos and texts that are asked about, with all answers compared.
        leavers: clients that leave, in all phases.
        clients: at a time, of both together.
        seed: of cases, phases and moments.
    """
    asked = cases(requests, seed, videos=True)
    expected = [case.expected() for case in asked]
    chance = random.Random(seed)
    phases = [list(PHASES)[index % len(PHASES)] for index in range(leavers)]
    chance.shuffle(phases)
    seeds = [chance.random() for _ in phases]
    wrong: list[str] = []
    with (
        silent_host() as port,
        running_server("--allow-host", "localhost", module="tests.reliability.watched") as (url, process),
        ThreadPoolExecutor(2) as pool,
    ):

        def leaving(some: slice) -> None:
            with ThreadPoolExecutor(clients // 2) as those:
                args = zip(phases[some], seeds[some], strict=True)
                list(those.map(lambda one: leave(url, one[0], port, random.Random(one[1])), args))

        def both(cases_: slice, leavers_: slice) -> None:
            gone = pool.submit(leaving, leavers_)
            answers, _ = load(url, asked[cases_], max(clients // 2, 1), rubbish=False)
            gone.result()
            pairs = zip(asked[cases_], answers, expected[cases_], strict=True)
            wrong.extend(f"{case.question}: {got!r}, not {right!r}" for case, got, right in pairs if got != right)

        both(slice(0, 6), slice(0, 2 * len(PHASES)))  # threads and tables that stay are there now
        time.sleep(1)
        before = held(process)
        both(slice(0, requests), slice(0, leavers))
        wrong.extend(filter(None, [leftovers(process, before)]))
        memory = process.memory_info().rss
        both(slice(0, requests), slice(0, leavers))
        wrong.extend(filter(None, [leftovers(process, before)]))
        wrong.extend([] if post(url, said(_text("Hi")))[0] == 200 else ["the last request was not answered"])
        figures = {
            "answers": 2 * requests,
            "different": len(set(expected)),
            "growth_MiB": (process.memory_info().rss - memory) / 2**20,
            "threads": process.num_threads(),
            "files": process.num_fds(),
        }
    return wrong, figures
