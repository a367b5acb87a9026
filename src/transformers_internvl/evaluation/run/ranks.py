# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The processes that share a run, as `torchrun` and `accelerate launch` start them."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_LONGEST_WAIT = timedelta(days=30)
"""A rank that is done waits for the others: long answers may take days."""


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Attributes:
        rank, count: its number, and how many there are.
        state: accelerate's state; None where there is one process.
    """

    rank: int = 0
    count: int = 1
    state: Any = None

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.state is not None:
            self.state.wait_for_everyone()

    @property
    def device(self) -> str | None:
        """The device of this rank; None where accelerate does not choose."""
        return None if self.state is None else str(self.state.device)


def join_ranks(cpu: bool = False) -> Ranks:
    """This process's place, from the environment that the launcher has set.

    Args:
        cpu: whether the model runs on the CPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Ranks()
    from accelerate import PartialState

    state = PartialState(cpu=cpu, timeout=_LONGEST_WAIT)
    return Ranks(state.process_index, state.num_processes, state)


__all__ = ["Ranks", "join_ranks"]
