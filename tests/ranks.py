# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Several processes on this machine, with gloo between them: what `torchrun -m MODULE` would start."""

import socket
from pathlib import Path

from tests.forked import PACKAGE

ROOT = Path(__file__).resolve().parents[1]


def run(ranks: int, folder: Path, module: str, *arguments: str, seconds: float = 600) -> list[int]:
    """Run a module's `__main__` once a rank; the exit codes. Ranks log into `folder/log.RANK.txt`.

    When one fails, or when time is over, all are ended.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"TRANSFORMERS_VERBOSITY": "error", "GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "localhost"}
    shared |= {"MASTER_PORT": str(port)}
    runs = []
    for rank in range(ranks):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)} if ranks > 1 else {}
        log = folder / f"log.{rank}.txt"
        runs.append((log, log, shared | own))
    return PACKAGE.start(["-m", module, *arguments], runs, seconds, ROOT)


def launch(ranks: int, folder: Path, module: str, *arguments: str, seconds: float = 600) -> None:
    """As `run`.

    Raises:
        RuntimeError: a rank failed; with the ends of all logs.
    """
    codes = run(ranks, folder, module, *arguments, seconds=seconds)
    if any(codes):
        logs = [(folder / f"log.{rank}.txt").read_text(errors="replace")[-3000:] for rank in range(ranks)]
        raise RuntimeError("\n".join([f"Ranks ended with {codes}.", *logs]))


__all__ = ["launch", "run"]
