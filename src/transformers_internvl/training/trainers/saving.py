# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""How a trainer saves: checkpoints that are whole or known to be incomplete, and model cards with content."""

from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer
from transformers.trainer_utils import rotate_checkpoints

from ...hub.model_card import complete_model_card, create_model_card
from ..adapted import has_adapters
from .checkpoints import PREFIX_CHECKPOINT_DIR, TRAINER_STATE_NAME, writing


class SavesModels(Trainer):
    """The part of `DataTrainer` that saves.

    Attributes:
        saved_beside: such as a processor, whose files go into every checkpoint.
    """

    saved_beside: Any = None
    _card = ""  # of adapters
    _saves_checkpoint = False

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """As `Trainer`'s, which deletes the checkpoints of the earliest times: here, those of the fewest steps.

        A clock that was put back would make it delete the one that was just written.

        Raises:
            OSError: it cannot be written, such as on a full disk.
        """
        args, folder = self.args, self._get_output_dir(trial=trial)
        limit, self._saves_checkpoint = args.save_total_limit, True
        try:
            with writing(Path(folder) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"):
                super()._save_checkpoint(model, trial)
        finally:
            args.save_total_limit, self._saves_checkpoint = limit, False
        if args.should_save:
            rotate_checkpoints(folder, limit, self.state.best_model_checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As `Trainer`'s. A checkpoint that is written once more is incomplete until that is done."""
        if _internal_call and output_dir is not None and self.args.should_save:
            (Path(output_dir) / TRAINER_STATE_NAME).unlink(missing_ok=True)
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            model = self.accelerator.unwrap_model(self.model)
            if self.saved_beside is not None:
                self.saved_beside.save_pretrained(folder)
            if has_adapters(model):  # peft's own card has no content
                self._card = self._card or create_model_card(model, self.repository()).content
                (folder / "README.md").write_text(self._card, encoding="utf-8")
        if self._saves_checkpoint:  # the arguments are written: what follows in `Trainer` must delete nothing
            self.args.save_total_limit = None

    def repository(self) -> str:
        """What the snippet of a card loads: the repository, or the output folder."""
        return self.args.hub_model_id or self.args.output_dir

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """As `Trainer`'s, with what the card of a pushed model has: its task, its base model, a snippet that runs."""
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            model = self.accelerator.unwrap_model(self.model)
            complete_model_card(folder / "README.md", model, self.args.hub_model_id or folder.name)


__all__ = ["SavesModels"]
