# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The optimizer of the lab: Muon for the matrices inside the blocks, AdamW for everything else, as one optimizer.

The recipes have AdamW alone, for a hundred thousand steps. Runs of a few hundred steps need this one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lab.nano.muon import Muon

MATRIX_RATE = 15.0
"""Learning rate of Muon relative to that of AdamW."""


class MuonAndAdamW(torch.optim.Optimizer):
    """Two optimizers behind the interface of one; schedulers see the groups of both.

    Args:
        named: names and parameters; those without gradients are left out.
        learning_rate: of AdamW; Muon's is `MATRIX_RATE` times as large.
        weight_decay: of both.
        betas: of AdamW.

    Raises:
        ValueError: nothing trains.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        learning_rate: float,
        weight_decay: float,
        betas: tuple[float, float] = (0.9, 0.98),
    ):
        trained = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        if not trained:
            raise ValueError("No parameter trains: choose some with `freezing.set_trainable` first.")
        inside = [p for name, p in trained if p.ndim == 2 and (".layer." in name or ".layers." in name)]
        chosen = {id(parameter) for parameter in inside}
        others = [parameter for _, parameter in trained if id(parameter) not in chosen]
        self.parts: list[torch.optim.Optimizer] = []
        if inside:
            self.parts.append(Muon(inside, lr=MATRIX_RATE * learning_rate, weight_decay=weight_decay))
        if others:
            self.parts.append(torch.optim.AdamW(others, lr=learning_rate, betas=betas, weight_decay=weight_decay))
        super().__init__([p for part in self.parts for p in part.param_groups], {})
        self._share()

    def _share(self) -> None:
        """The groups of the parts are those of the whole."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """As `torch.optim.Optimizer` has it, with the states of the parts under `state`."""
        states = {index: part.state_dict() for index, part in enumerate(self.parts)}
        return {"state": states, "param_groups": [{"params": []} for _ in self.param_groups]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for index, part in enumerate(self.parts):
            part.load_state_dict(state_dict["state"][index])
        self._share()


__all__ = ["MATRIX_RATE", "MuonAndAdamW"]
