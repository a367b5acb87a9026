# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Trainers that compare a model with a frozen reference: MPO with what it was, ViCO with the model that it imitates.

Their losses are their own, and `Trainer` is told to leave them as they are. A subclass calls `begin_comparing` at the
end of its `__init__`, and multiplies the mean over its own items with `share_of_step`.
"""

import copy
from abc import ABC
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ...conversion.files.folders import read_json, write_json
from .data_trainer import DataTrainer


class ReferenceTrainer(DataTrainer, ABC):
    """`DataTrainer` with a loss of its own and a frozen model beside the one that trains.

    Attributes:
        reference: the frozen model in evaluation mode, on the device; None where the subclass needs none.
        STATE_FILE: the file of a checkpoint that holds `own_state()`; empty where there is nothing to keep.
    """

    STATE_FILE: ClassVar[str] = ""
    reference: nn.Module | None = None

    def begin_comparing(self, reference: nn.Module | None, smoothing_instead: str) -> None:
        """Freeze the reference and put it on the device; tell `Trainer` that the loss is scaled by its class.

        Args:
            reference: the model; None: there is none. It is copied where it shares memory with what trains, as models
                of `add_resolution_router` do: it would change with every step.
            smoothing_instead: what the error on `label_smoothing_factor` says there is instead.

        Raises:
            ValueError: `label_smoothing_factor` is set.
        """
        self.refuse_smoothing(smoothing_instead)
        if reference is not None:
            trained = {p.data_ptr() for p in self.model.parameters() if p.requires_grad} - {0}
            shares = any(parameter.data_ptr() in trained for parameter in reference.parameters())
            frozen = (copy.deepcopy(reference) if shares else reference).requires_grad_(False)
            self.reference = self.accelerator.prepare_model(frozen, evaluation_mode=True).eval()
        self.model_accepts_loss_kwargs, self.loss_is_scaled_for_ga = False, True

    def frozen_copy(self, model: nn.Module) -> nn.Module:
        """A copy of the model as it is now, which shares the parameters that do not train.

        Sharded engines (FSDP, DeepSpeed) change what is shared, so that there the copy is a whole one.
        """
        spread = self.is_fsdp_enabled or self.is_deepspeed_enabled
        shared = [] if spread else [parameter for parameter in model.parameters() if not parameter.requires_grad]
        return copy.deepcopy(model, {id(parameter): parameter for parameter in shared})

    def share_of_step(self, count: int, num_items_in_batch: torch.Tensor | int | None) -> Any:
        """The factor that makes a mean over `count` items of a batch its part in the mean over a whole step.

        The items of all ranks were counted, and the gradients of the ranks are averaged. 1 outside of training, where
        nothing was counted.
        """
        if num_items_in_batch is None:
            return 1.0
        ranks = self.args.world_size // self._copies() if self.args.average_tokens_across_devices else 1
        return count * ranks / num_items_in_batch

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The loss of a batch for evaluation; there are no predictions to give."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    # What checkpoints keep beside the weights.

    def own_state(self) -> dict[str, Any]:
        """What a checkpoint keeps in `STATE_FILE`, as JSON has it."""
        return {}

    def take_state(self, state: dict[str, Any]) -> None:
        """Go on from `own_state()` of a checkpoint."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As `Trainer`'s, and the trainer's own state beside the weights."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save and self.STATE_FILE:
            write_json(Path(output_dir or self.args.output_dir) / self.STATE_FILE, self.own_state())

    def load_trainer_state(self, checkpoint: str) -> None:
        """The trainer's own state goes on where the checkpoint left it."""
        super().load_trainer_state(checkpoint)
        if self.STATE_FILE:
            self.take_state(read_json(Path(checkpoint) / self.STATE_FILE))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout and stochastic depth, and afterwards with every module as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


__all__ = ["ReferenceTrainer", "evaluating"]
