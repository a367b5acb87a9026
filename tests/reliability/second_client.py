# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A second client of `internvl serve`: how long it waits, and how much memory the server takes, while others ask."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from lab.nano.drawing import draw
from tests.reliability.hostile import image, requests, text
from tests.reliability.serving import png, post, running_server

SERVED = 2.0
"""Seconds for a second client, as many times as computing takes longer than on a machine at rest."""

PAUSE = 0.1
"""Seconds between an answer and the next question of a second client, which is no attack itself."""


def memory(process: psutil.Process) -> int:
    """Bytes of the server and of those it has started; what they share is counted once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended
            continue
    return total


class Busy:
    """How many times longer than at rest computing takes, since others compute, too: the mean of all samples."""

    def __init__(self) -> None:
        self.wall = self.computed = 0.0

    def sample(self) -> None:
        wall, computed = time.perf_counter(), time.thread_time()
        while time.thread_time() - computed < 0.004:
            pass
        self.wall += time.perf_counter() - wall
        self.computed += time.thread_time() - computed

    @property
    def times(self) -> float:
        return self.wall / self.computed if self.computed else 1.0


@dataclass
class Measured:
    """`slowest`: seconds of the slowest answer to the second client; `count`: its answers; `statuses`: of these;
    `bytes`: what the server took beyond what it had; `busy`: see [`Busy`]."""

    slowest: float = 0.0
    count: int = 0
    statuses: frozenset[int] = frozenset()
    bytes: int = 0
    busy: float = 1.0


@contextmanager
def second_client(url: str, process: psutil.Process) -> Iterator[Measured]:
    """While something is asked: others send a text, and an image, again and again. The figures come at the end."""
    bodies = (text("Hi"), image(png(draw("number", 5).image)))
    if [post(url, body)[0] for body in bodies] != [200, 200]:
        raise RuntimeError("The server does not answer harmless requests.")
    before, stop, peaks, times, busy = memory(process), threading.Event(), [0], [], Busy()
    measured = Measured()

    def look() -> None:
        while not stop.wait(0.05):
            peaks.append(memory(process))
            busy.sample()

    def talk(body: bytes) -> None:
        while not stop.is_set():
            start = time.monotonic()
            status, _ = post(url, body)
            times.append((time.monotonic() - start, status))
            stop.wait(PAUSE)

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(look), *(pool.submit(talk, body) for body in bodies)]
        time.sleep(0.2)
        try:
            yield measured
        finally:
            stop.set()
            for one in running:
                one.result()
            measured.slowest, measured.count = max(seconds for seconds, _ in times), len(times)
            measured.statuses = frozenset(status for _, status in times)
            measured.bytes, measured.busy = max(peaks) - before, busy.times


def attack(url: str, process: psutil.Process, body: bytes, times: int) -> tuple[Measured, list[tuple[int, Any]]]:
    """One body several times at once, beside a second client: what that met, and the answers to the bodies."""
    with second_client(url, process) as measured, ThreadPoolExecutor(times) as pool:
        answers = list(pool.map(lambda _: post(url, body, timeout=600), range(times)))
    return measured, answers


def measure(times: int, only: str) -> list[str]:
    """Every request of `hostile`, `times` times at once: what went wrong. Prints a line for each."""
    wrong, slowest, largest = [], 0.0, 0
    with running_server() as (url, process):
        for name, make in requests().items():
            if only not in name:
                continue
            start = time.monotonic()
            measured, answers = attack(url, process, make(), times)
            statuses = sorted({status for status, _ in answers})
            fine = measured.slowest < SERVED * measured.busy and measured.bytes < 2 << 30
            fine &= measured.statuses == {200} and all(200 <= status < 500 or status == 503 for status in statuses)
            line = (
                f"{name:45} {statuses} second client {measured.slowest:.2f} s ({measured.count} answers, computing "
                f"{measured.busy:.1f} times as long), {measured.bytes >> 20} MiB, {time.monotonic() - start:.1f} s"
            )
            print(line if fine else f"{line}  <--- {json.dumps(answers[0][1])[:200]}", flush=True)
            wrong += [] if fine else [line]
            slowest, largest = max(slowest, measured.slowest), max(largest, measured.bytes)
    print(f"slowest answer to the second client: {slowest:.2f} s; most memory beyond the model: {largest >> 20} MiB")
    return wrong
