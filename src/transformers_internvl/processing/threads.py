# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Threads: work on images in as many threads as torch is set to use, each of them on a part of its own.

torch would split every single operation over its threads. Those here take microseconds, so that meeting after each
costs more than it gains, and far more where other work keeps a core busy. Large parts need to meet only once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier, Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch

_MOST = 16  # more threads than this have no use for one image
_creation = Lock()
_tokenizer_locks: WeakKeyDictionary[Any, RLock] = WeakKeyDictionary()


def lock_of(tokenizer: Any) -> RLock:
    """The lock to hold while a tokenizer encodes: it is set to each call's padding and truncation, and then runs.

    Kept beside the tokenizers, since what has a lock can be neither copied nor pickled.
    """
    with _creation:
        return _tokenizer_locks.setdefault(tokenizer, RLock())


def thread_count() -> int:
    """How many threads `run_all` uses: those of torch (`torch.set_num_threads`; one in workers of a DataLoader)."""
    return min(torch.get_num_threads(), _MOST)


def run_all(tasks: Iterable[Callable[[], None]]) -> None:
    """Run all tasks, which must not depend on each other nor call `run_all`, and raise the first error, if any."""
    tasks = list(tasks)
    count = thread_count()
    if count == 1 or len(tasks) < 2:
        for task in tasks:
            task()
        return
    with _creation:
        pool = _pool(count, os.getpid())  # a forked process has no threads but its own
    inference = torch.is_inference_mode_enabled()  # such modes are each thread's own
    done = [pool.submit(_run, task, inference) for task in tasks]
    wait(done)  # for all of them, before an error frees what they write to
    for future in done:
        future.result()


def _run(task: Callable[[], None], inference: bool) -> None:
    with torch.inference_mode(inference):
        task()


@cache
def _pool(count: int, process: int) -> ThreadPoolExecutor:
    """Threads in which torch does not start more."""
    configured = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "images", initializer=_keep_to_one)
    all_started = Barrier(count)
    wait([pool.submit(all_started.wait) for _ in range(count)])
    # The number is each thread's own, but threads to come begin with the one that was set last, anywhere.
    torch.set_num_threads(configured)
    return pool


def _keep_to_one() -> None:
    torch.get_num_threads()  # a thread's first question sets its number, and would overwrite ours if asked later
    torch.set_num_threads(1)
