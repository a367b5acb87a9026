# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Trains stages, each once: what is trained lies in the cache folder under the digest of the stage.

A stage that was interrupted goes on from the last checkpoint of its `Trainer`. Recipes, trainers, encoder and
collators are those of `internvl train`; only learning rates and the optimizer are the lab's own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import (
    AutoModelForImageClassification,
    AutoModelForPreTraining,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
)
from transformers.utils import logging

from lab.nano.dual_encoder import ContrastiveTrainer
from transformers_internvl.conversion.files.folders import read_json, write_json
from transformers_internvl.training.adapted import merged
from transformers_internvl.training.data.collation import PaddingCollator
from transformers_internvl.training.data.pairs import ContrastiveCollator, PretrainingCollator
from transformers_internvl.training.recipes import Recipe, get_recipe
from transformers_internvl.training.trainers.checkpoints import last_checkpoint
from transformers_internvl.training.trainers.mpo_trainer import MPOTrainer, PairCollator
from transformers_internvl.training.trainers.trainer import InternVLTrainer

from . import models, preferences
from .data import NAMES, Named, Pairs, chat_dataset, encoded_mix
from .optimizer import MuonAndAdamW
from .stages import Stage

CHECKPOINTS = 4
"""How often a stage is saved on the way."""


class Bar(TrainerCallback):
    """A progress bar for the steps of a stage."""

    def __init__(self, name: str):
        self.name = name

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.name, unit="step", leave=False)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            self.bar.set_postfix(loss=f"{float(logs['loss']):.3f}", refresh=False)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


class Lab:
    """The stages that were trained, in a folder.

    Args:
        cache: the folder.
    """

    def __init__(self, cache: Path):
        self.cache = cache
        self.trained: list[str] = []  # the folders of stages that this process has trained

    def folder(self, stage: Stage) -> Path:
        """Where the model of a stage lies, once it is trained."""
        return self.cache / stage.folder / "model"

    def facts(self, stage: Stage) -> dict[str, Any]:
        """What is known of a trained stage: `seconds` of training, `trained` parameters, `losses` by step."""
        self.train(stage)
        return read_json(self.cache / stage.folder / "facts.json")

    def model(self, stage: Stage) -> Any:
        """The trained model of a stage, trained now if it is not."""
        folder = self.train(stage)
        with quiet():
            if stage.kind == "look":
                return AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
            if stage.kind in ("contrastive", "generative"):
                return AutoModelForPreTraining.from_pretrained(folder, dtype=torch.float32).eval()
            return models.load_chat_model(folder)

    def train(self, stage: Stage) -> Path:
        """Train a stage and those before it, unless they are; returns the folder of its model."""
        folder = self.folder(stage)
        if folder.is_dir():
            return folder
        for earlier in stage.before():
            self.train(earlier)
        work = self.cache / stage.folder
        work.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(dataclasses.asdict(stage)))
        write_json(work / "stage.json", settings)
        with quiet():
            model, facts = self._trained(stage, work)
            draft = work / "model.draft"
            shutil.rmtree(draft, ignore_errors=True)
            model.save_pretrained(draft)
        write_json(work / "facts.json", facts)
        draft.rename(folder)  # from here on it is trained
        shutil.rmtree(work / "run", ignore_errors=True)
        self.trained.append(stage.folder)
        return folder

    def _trained(self, stage: Stage, work: Path) -> tuple[Any, dict[str, Any]]:
        """The model of a stage after its training, and what is known of it."""
        recipe = get_recipe(stage.recipe, drop_path=0.0, learning_rate=stage.rate, **dict(stage.changes))
        model = self._untrained(stage)
        model = model if stage.kind == "look" else recipe.apply(model)  # recipes know no classifier: all of it trains
        trainer = self._trainer(stage, recipe, model, work / "run")
        started = time.process_time()
        trainer.train(resume_from_checkpoint=last_checkpoint(work / "run", with_optimizer=True))
        facts = {
            "seconds": round(time.process_time() - started, 1),
            "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "losses": [[row["step"], row["loss"]] for row in trainer.state.log_history if "loss" in row],
        }
        return (merged(model) if hasattr(model, "peft_config") else model), facts

    def _untrained(self, stage: Stage) -> Any:
        if stage.start is not None:
            return self.model(stage.start).train()
        if stage.kind == "look":
            return models.look_model(stage.seed, len(NAMES)).train()
        if stage.kind == "contrastive":
            return models.pair_model(stage.seed, None if stage.tower is None else self.model(stage.tower)).train()
        tower = None if stage.tower is None else self.model(stage.tower)
        language = None if stage.language is None else self.model(stage.language)
        return models.assembled(stage.size, stage.seed, tower, language).train()

    def _trainer(self, stage: Stage, recipe: Recipe, model: Any, folder: Path) -> Trainer:
        arguments = recipe.to_training_arguments(
            str(folder),
            per_device_train_batch_size=stage.batch,
            gradient_accumulation_steps=1,
            max_steps=stage.steps,
            warmup_steps=min(30, stage.steps // 5),
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            dataloader_drop_last=True,
            dataloader_pin_memory=False,
            save_strategy="steps",
            save_steps=max(1, stage.steps // CHECKPOINTS),
            save_total_limit=1,
            logging_steps=max(1, stage.steps // 50),
            report_to=[],
            seed=stage.seed,
        )
        optimizer = MuonAndAdamW(model.named_parameters(), stage.rate, recipe.weight_decay)
        kind, data, collator = self._data(stage)
        trainer = kind(model, arguments, train_dataset=data, data_collator=collator, optimizers=(optimizer, None))
        for callback in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(callback)
        trainer.add_callback(Bar(stage.name))
        return trainer

    def _data(self, stage: Stage) -> tuple[Any, Any, Any]:
        """Trainer, data and collator of a stage."""
        padding = models.tokenizer().pad_token_id
        if stage.kind == "look":
            return Trainer, Named(stage.mix), None
        if stage.kind == "contrastive":
            return ContrastiveTrainer, Pairs(stage.mix), ContrastiveCollator(models.pair_processor())
        if stage.kind == "generative":
            return Trainer, Pairs(stage.mix), PretrainingCollator(models.pair_processor())
        if stage.kind == "mpo":
            rows = self.preferences(stage)
            data = chat_dataset(rows, stage.mix)
            pairs = [data.encode(0, index, 0, index) for index in range(len(rows))]
            return MPOTrainer, pairs, PairCollator(padding)
        return InternVLTrainer, encoded_mix(stage.mix), PaddingCollator(padding)

    def preferences(self, stage: Stage) -> list[dict[str, Any]]:
        """The pairs of an MPO stage, from answers of the model that it starts from."""
        if stage.start is None:
            raise ValueError(f"Stage {stage.name!r} has kind 'mpo' and needs a `start`, whose answers are compared.")
        return preferences.pairs(self.model(stage.start), stage.mix, stage.seed)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and warnings of transformers, which would break ours."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


__all__ = ["Lab", "quiet"]
