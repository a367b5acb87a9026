# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Several processes on this machine, with gloo between them: what `torchrun -m MODULE` would start.

Processes are forked from one that has imported what all of them need, once in a session of tests.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = ["transformers.modeling_utils", "transformers.generation", "transformers_internvl.modeling.internvl.model"]
_IMPORTED += ["transformers_internvl.training.trainers.trainer", "transformers_internvl.training.data.dataset"]
_IMPORTED += ["torch.distributed.tensor", "torch.distributed.fsdp", "torch.distributed.checkpoint.state_dict"]


def run(ranks: int, folder: Path, module: str, *arguments: str, seconds: float = 600) -> list[int]:
    """Run a module's `__main__` once a rank; the exit codes. Ranks log into `folder/log.RANK.txt`.

    When one fails, or when time is over, all are ended.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    processes = []
    for rank in range(ranks):
        if ranks > 1:
            environment |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
        log = str(folder / f"log.{rank}.txt")
        processes.append(context.Process(target=_rank, args=(environment, log, module, arguments)))
        processes[-1].start()
    end = time.monotonic() + seconds
    while None in (codes := [process.exitcode for process in processes]):
        if any(codes) or time.monotonic() > end:
            for process in processes:  # the others wait for the one that is gone
                process.kill()
        time.sleep(0.02)
    return codes


def launch(ranks: int, folder: Path, module: str, *arguments: str, seconds: float = 600) -> None:
    """As `run`.

    Raises:
        RuntimeError: a rank failed; with the ends of all logs.
    """
    codes = run(ranks, folder, module, *arguments, seconds=seconds)
    if any(codes):
        logs = [(folder / f"log.{rank}.txt").read_text(errors="replace")[-3000:] for rank in range(ranks)]
        raise RuntimeError("\n".join([f"Ranks ended with {codes}.", *logs]))


def _rank(environment: dict[str, str], log: str, module: str, arguments: tuple[str, ...]) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    with open(log, "a", encoding="utf-8") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    import torch

    torch.set_num_threads(1)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


__all__ = ["ROOT", "launch", "run"]
