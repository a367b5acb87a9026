# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Stands in for a module that the source distribution lacks: processes that share a model, on this machine's CPUs.

They are forked from a process that has imported what all of them need, and started no thread: one that forks while a
thread looks up an address leaves the lock of that to processes that wait for it without end.
"""

import multiprocessing
import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

DRIVER = "tests.internvl.test_parallel"  # it changes names of the suites, for the processes too


def _get_distributed_backend() -> str:
    return "gloo"


def _get_distributed_device_type() -> str:
    return "cpu"


def _get_rank_device(rank: int) -> torch.device:
    return torch.device("cpu")


def _set_rank_device(rank: int) -> None:
    """CPUs need no choice."""


def _start_rank_processes(fn: Callable, args: tuple = (), nprocs: int = 1) -> None:
    multiprocessing.set_forkserver_preload([DRIVER])
    start_processes(fn, args=args, nprocs=nprocs, join=True, start_method="forkserver")


def run_distributed(world_size: int = 2) -> Callable[[Callable], Callable]:
    """Wrap a function of a rank and arguments: called with the arguments, it runs on all ranks."""

    def wrap(fn: Callable) -> Callable:
        def run(*args: Any) -> None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            _start_rank_processes(_in_group, (fn, world_size, port, args), world_size)

        return run

    return wrap


def _in_group(rank: int, fn: Callable, world_size: int, port: int, args: tuple) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=world_size)
    try:
        fn(rank, *args)
        dist.barrier()
    finally:
        dist.destroy_process_group()
