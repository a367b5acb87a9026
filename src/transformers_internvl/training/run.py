# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run of training from beginning to end: what `internvl train` does, and a notebook can.

    run = prepare(read_options("internvl2.5-1b-lora", {"model": …, "data": "meta.json", "output": "out"}))
    result = run.train()

What lies in the output folder, beside `checkpoint-N` of `Trainer`:

    run.yaml       what was run: `internvl train out/run.yaml` does it again
    log.jsonl      an object a step
    loss.png       the curve, where matplotlib is installed
    the trained model in the layout it came from, or its adapters, and the processor
"""

import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, PrinterCallback, ProgressCallback, Trainer, TrainingArguments

from .adapted import load_with_adapter, processor_source
from .checkpoints import PREFIX_CHECKPOINT_DIR, is_complete, last_checkpoint
from .objectives import Data, objective_of
from .report import RunReport
from .run_options import RunOptions, read_options, write_options

RUN_FILE = "run.yaml"
SAVING = ".saving"  # where the trained model is written before it takes its place
# Fields that may differ when a run goes on: they change what is kept, where and how shown, not what is learned.
FREE_FIELDS = ("output", "save_steps", "save_strategy", "save_total_limit", "logging_steps", "report_to", "run_name")


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        steps: optimizer steps that are done, in all.
        loss: the last that was logged.
        skipped: `(where, reason)` of samples that were left out by this process.
        notes: what could not be done, in sentences.
        adapters: whether the output holds adapters only.
    """

    steps: int
    loss: float | None
    skipped: list[tuple[str, str]]
    notes: list[str]
    adapters: bool


class Run:
    """A run that is ready; made by [`prepare`].

    Attributes:
        options, model, processor, data, trainer: its parts.
        checkpoint: where it goes on, or None.
    """

    def __init__(
        self, options: RunOptions, model: Any, processor: Any, data: Data, trainer: Trainer, checkpoint: Path | None
    ):
        self.options, self.model, self.processor, self.data = options, model, processor, data
        self.trainer, self.checkpoint, self.report = trainer, checkpoint, RunReport(Path(options.output))
        for callback in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(callback)
        trainer.add_callback(self.report)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.options.output)

    @property
    def adapters(self) -> bool:
        """Whether only adapters are trained and saved."""
        return hasattr(self.model, "peft_config")

    def train(self) -> RunResult:
        """Train, and save what was learned.

        Raises:
            KeyboardInterrupt: after Ctrl-C; nothing half-written is left, [`checkpoints.last_checkpoint`] is whole.
            Everything that reading data and training raises.
        """
        folder = self.folder
        if self.trainer.args.should_save:
            folder.mkdir(parents=True, exist_ok=True)
            write_options(self.options, folder / RUN_FILE, _comment(folder))
        try:
            with self.report.watching(self.trainer.model):
                self.trainer.train(resume_from_checkpoint=None if self.checkpoint is None else str(self.checkpoint))
            self._save(folder)
        finally:
            if self.trainer.args.should_save:
                discard_unfinished(folder)
        losses = [row["loss"] for row in self.trainer.state.log_history if "loss" in row]
        skipped = list(self.data.samples.policy.skipped)
        steps = self.trainer.state.global_step
        return RunResult(steps, losses[-1] if losses else None, skipped, self.report.notes, self.adapters)

    def _save(self, folder: Path) -> None:
        """The model and its processor, which take their places when they are complete."""
        saving = folder / SAVING
        self.trainer.save_model(str(saving))
        if self.trainer.args.should_save:
            self.processor.save_pretrained(saving)
            for file in sorted(saving.iterdir()):
                os.replace(file, folder / file.name)


def prepare(options: RunOptions, resume: bool = False) -> Run:
    """Load model, processor and data, and make a run of them.

    Args:
        options: what to run.
        resume: go on from the last checkpoint of the output folder, if there is one.

    Raises:
        ValueError: the output folder holds a run that is not to be resumed, or another one; a recipe that the model
            or the data cannot follow.
        OSError: model or data cannot be read.
    """
    row = objective_of(options)
    checkpoint = check_output(options, resume)
    processor, size = load_processor(options)
    data = row.read(options, processor, int(options.arguments.get("seed", 42)))
    on_device = torch.accelerator.is_available()
    defaults: dict[str, Any] = {
        "bf16": uses_bf16(options),
        "report_to": "none",
        "use_cpu": not on_device,  # asked for, it runs on several ranks, too
        "dataloader_pin_memory": on_device,
    }
    arguments = {**defaults, **data.arguments, **options.arguments}
    training = options.recipe.to_training_arguments(options.output, **arguments)
    _check_batch(training, data)
    model = load_with_adapter(row.auto_class, options.model, dtype=getattr(torch, weights_dtype(options)))
    if size is not None and hasattr(model, "set_image_size"):
        model.set_image_size(size)
    model = options.recipe.apply(model)
    rates: dict[str, Any] = {}
    if options.recipe.part_learning_rates or options.recipe.layer_decay:
        rates = {
            "part_learning_rates": options.recipe.part_learning_rates,
            "layer_decay": options.recipe.layer_decay,
        }
    trainer = row.trainer(model, training, train_dataset=data.stream, data_collator=data.collator, **rates)
    return Run(options, model, processor, data, trainer, checkpoint)


def load_processor(options: RunOptions) -> tuple[Any, int | None]:
    """The processor, and the side of images that the recipe sets, where it does: with dual encoders."""
    source = processor_source(options.model)
    if objective_of(options).chats:
        return AutoProcessor.from_pretrained(source), None
    size = options.recipe.image_size
    square = {"height": size, "width": size}
    return AutoProcessor.from_pretrained(source, size={"shortest_edge": size}, crop_size=square), size


def weights_dtype(options: RunOptions) -> str:
    """In which dtype the weights are kept."""
    only_adapters = options.recipe.lora_rank is not None
    return options.dtype or ("bfloat16" if only_adapters and uses_bf16(options) else "float32")


def uses_bf16(options: RunOptions) -> bool:
    """Whether products are computed in bfloat16: as the recipes have it, unless `bf16` or `fp16` say otherwise."""
    return options.arguments.get("bf16", not options.arguments.get("fp16", False))


def check_output(options: RunOptions, resume: bool) -> Path | None:
    """The checkpoint to go on from, or None to begin.

    Raises:
        ValueError: the folder holds another run, or one that is not to be resumed.
    """
    folder = Path(options.output)
    file, found = folder / RUN_FILE, last_checkpoint(folder)
    checkpoint = None if found is None else Path(found)
    if not file.is_file():
        if checkpoint is not None:
            raise ValueError(f"{folder} holds checkpoints that were not made by this command: give another output.")
        return None
    if changed := _changes(read_options(file).as_mapping(), options.as_mapping()):
        raise ValueError(
            f"{folder} holds another run ({'; '.join(changed)}): give another output, or the same fields."
        )
    if not resume:
        reached = "has begun" if checkpoint is None else f"reached step {_step(checkpoint)}"
        raise ValueError(f"{folder} holds this run, which {reached}: --resume goes on with it.")
    return checkpoint


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    names = [name for name in {**before, **now} if name not in FREE_FIELDS and before.get(name) != now.get(name)]
    return [f"{name}: {before.get(name)} there, {now.get(name)} now" for name in names]


def discard_unfinished(folder: Path) -> None:
    """Remove what was being written when a run was stopped."""
    for path in [*folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"), folder / SAVING]:
        if path.is_dir() and not is_complete(path):
            shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _check_batch(arguments: TrainingArguments, data: Data) -> None:
    """Raise `ValueError` where an epoch would have no batch."""
    needed = arguments.per_device_train_batch_size * arguments.world_size
    if arguments.dataloader_drop_last and len(data.stream) < needed:
        raise ValueError(
            f"There are {len(data.stream)} samples, but a batch of {needed} is compared at once: give more, or a "
            "smaller `per_device_train_batch_size`."
        )


def _comment(folder: Path) -> str:
    names = ("transformers_internvl", "transformers", "torch")
    return f"internvl train {folder / RUN_FILE} --output NEW; {', '.join(f'{name} {version(name)}' for name in names)}"


__all__ = ["Run", "RunResult", "check_output", "load_processor", "prepare", "weights_dtype"]
