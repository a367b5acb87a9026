# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""A run of training from beginning to end: what `internvl train` does, and a notebook can.

    run = prepare(read_options("internvl2.5-1b-lora", {"model": …, "data": "meta.json", "output": "out"}))
    result = run.train()

What lies in the output folder, beside `checkpoint-N` of `Trainer`:

    run.yaml       what was run: `internvl train out/run.yaml` does it again
    log.jsonl      an object a step, and one an evaluation
    answers.jsonl  answers to some questions of the evaluation data
    loss.png       the curve, where matplotlib is installed
    the trained model in the layout it came from, or its adapters, and the processor
"""

import copy
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoProcessor, PrinterCallback, ProgressCallback, Trainer, TrainingArguments

from ...hub.model_card import create_model_card
from ..adapted import adapter_config, load_with_adapter, processor_source
from ..trainers.checkpoints import writing
from ..trainers.trainer import check_context_ranks
from .answers import AnswerLog, check_metric
from .folder import RUN_FILE, SAVING, check_output, discard_unfinished, put_in_place
from .objectives import Data, objective_of
from .option_checks import check_image_size, check_options
from .options import RunOptions, write_options
from .report import RunReport


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        steps: optimizer steps that are done, in all.
        loss: the last that was logged.
        eval_loss: of the last evaluation; None without one.
        skipped: `(where, reason)` of samples that were left out by this process.
        notes: what could not be done, in sentences.
        adapters: whether the output holds adapters only.
    """

    steps: int
    loss: float | None
    eval_loss: float | None
    skipped: list[tuple[str, str]]
    notes: list[str]
    adapters: bool


class Run:
    """A run that is ready; made by [`prepare`].

    Attributes:
        options, model, processor, data, trainer: its parts.
        checkpoint: where it continues, or None.
    """

    def __init__(
        self, options: RunOptions, model: Any, processor: Any, data: Data, trainer: Trainer, checkpoint: Path | None
    ):
        self.options, self.model, self.processor, self.data = options, model, processor, data
        self.trainer, self.checkpoint = trainer, checkpoint
        self.report = RunReport(Path(options.output), bar=not options.arguments.get("disable_tqdm"))
        for callback in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(callback)
        trainer.add_callback(self.report)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.options.output)

    @property
    def begins_with_adapter(self) -> str:
        """What happens to the adapter that the run begins with, as text; empty where there is none."""
        return fate_of_adapter(self.options)

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
                if self.trainer.eval_dataset is not None and not self._is_evaluated():
                    self.trainer.evaluate()
            self._save(folder)
        finally:
            if self.trainer.args.should_save:
                discard_unfinished(folder)
        evaluated = getattr(self.trainer.eval_dataset, "policy", None)
        skipped = [*self.data.samples.policy.skipped, *(evaluated.skipped if evaluated else [])]
        steps, notes = self.trainer.state.global_step, [*self.report.notes, *_left_out(self.trainer)]
        return RunResult(steps, self._last("loss"), self._last("eval_loss"), skipped, notes, self.adapters)

    def _last(self, name: str) -> float | None:
        """What was logged last under a name."""
        values = [row[name] for row in self.trainer.state.log_history if name in row]
        return values[-1] if values else None

    def _is_evaluated(self) -> bool:
        state = self.trainer.state
        return any("eval_loss" in row and row["step"] == state.global_step for row in state.log_history)

    def _save(self, folder: Path) -> None:
        """The model and its processor, which take their places when they are complete."""
        saving = folder / SAVING
        with writing(saving):
            if self.trainer.args.should_save:
                shutil.rmtree(saving, ignore_errors=True)  # of a run that was killed when it saved
            self.trainer.save_model(str(saving))
            if self.trainer.args.should_save:
                self._describe(saving / "README.md")
                put_in_place(saving, folder)

    def _describe(self, card: Path) -> None:
        """The model card, with how the model was trained."""
        if not card.is_file():
            create_model_card(self.model, self.trainer.repository()).save(card)
        recipe, losses = self.options.recipe, {"loss": self._last("loss"), "evaluation loss": self._last("eval_loss")}
        facts = {
            "recipe": recipe.name,
            "data": Path(self.options.data).name,
            "steps": self.trainer.state.global_step,
            "samples in a step": self.trainer.get_total_train_batch_size(self.trainer.args),
            "learning rate": f"{recipe.learning_rate:g}",
            "rank of the adapters": recipe.lora_rank,
            **{name: None if loss is None else f"{loss:.4f}" for name, loss in losses.items()},
        }
        rows = [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
        table = "\n".join(["| | |", "|---|---|", *rows])
        text = card.read_text(encoding="utf-8").rstrip()
        card.write_text(f"{text}\n\n## Training\n\nBy `internvl train`:\n\n{table}\n", encoding="utf-8")


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
    check_options(options)
    check_context_ranks(options.context_parallel_size, int(os.environ.get("WORLD_SIZE", "1")))
    checkpoint = check_output(options, resume)
    config = load_config(options)
    check_image_size(options, config)
    row.check(options, config)
    check_metric(options.eval_metric)
    processor, size = load_processor(options)
    data = row.read(options, processor, data_seed(options))
    evaluated = row.evaluates(options, processor, data_seed(options)) if options.eval_data else None
    on_device = torch.accelerator.is_available()
    defaults: dict[str, Any] = {
        "bf16": uses_bf16(options),
        "report_to": "none",
        "use_cpu": not on_device,  # asked for, it runs on several ranks, too
        "dataloader_pin_memory": on_device,
    }
    arguments = {**defaults, **data.arguments, **_when_to_evaluate(options), **options.arguments}
    readers = int(os.environ.get("WORLD_SIZE", "1")) // options.context_parallel_size
    training = options.recipe.to_training_arguments(options.output, readers, **arguments)
    _check_batch(training, data.stream, training.per_device_train_batch_size)
    if evaluated is not None:
        _check_batch(training, evaluated, training.per_device_eval_batch_size)
    model = load_with_adapter(row.auto_class, options.model, dtype=getattr(torch, weights_dtype(options)))
    if size is not None and hasattr(model, "set_image_size"):
        model.set_image_size(size)
    model = options.recipe.apply(model)
    if row.chats:
        keep_tile_limit(options.recipe.max_tiles, processor, model.config)
    asked = copy.copy(evaluated)  # gives pixels, with a feature cache, too
    both = {"train_dataset": data.stream, "eval_dataset": evaluated}
    collators = {"data_collator": data.collator, "eval_collator": data.eval_collator}
    own = {**_own_arguments(options), **row.own_arguments(options, processor)}
    trainer = row.trainer(model, training, **collators, **both, **own)
    trainer.saved_beside = processor
    if row.chats and row.logs_answers and evaluated is not None and (options.eval_answers or options.eval_metric):
        some = options.eval_metric is None or "eval_answers" in options.given
        count = options.eval_answers if some else len(evaluated)
        answers = AnswerLog(Path(options.output), processor, asked, count, options.eval_metric)
        trainer.add_callback(answers)
        trainer.scorer = None if options.eval_metric is None else answers.score
    return Run(options, model, processor, data, trainer, checkpoint)


def _own_arguments(options: RunOptions) -> dict[str, Any]:
    """The arguments of `InternVLTrainer` alone that the run sets."""
    recipe = options.recipe
    arguments = {
        "part_learning_rates": recipe.part_learning_rates,
        "layer_decay": recipe.layer_decay,
        "feature_cache": options.feature_cache,
        "context_parallel_size": options.context_parallel_size if options.context_parallel_size > 1 else None,
    }
    return {name: value for name, value in arguments.items() if value}


def load_config(options: RunOptions) -> Any:
    """The config of the model, or of the one that its adapter belongs to."""
    adapter = adapter_config(options.model)
    return AutoConfig.from_pretrained(options.model if adapter is None else adapter.base_model_name_or_path)


def fate_of_adapter(options: RunOptions) -> str:
    """What happens to the adapter in the folder of the model, as text; empty where there is none."""
    if adapter_config(options.model) is None:
        return ""
    return "is merged into its model" if options.recipe.lora_rank is None else "is trained on"


def data_seed(options: RunOptions) -> int:
    """The seed of the data's order."""
    seeds = (options.arguments.get(name) for name in ("data_seed", "seed"))
    return next((seed for seed in seeds if seed is not None), 42)


def keep_tile_limit(tiles: int, processor: Any, config: Any) -> None:
    """Write the number of tiles in training where the original code writes it, for the processor of the result."""
    if getattr(processor.image_processor, "max_patches", None) is not None:
        processor.image_processor.max_patches = tiles
    if hasattr(config, "max_dynamic_patch"):
        config.max_dynamic_patch = tiles


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


def _when_to_evaluate(options: RunOptions) -> dict[str, Any]:
    """By default whenever a checkpoint is saved, in batches as large as those of training."""
    if not options.eval_data:
        return {}
    given = options.arguments
    saved = str(getattr(given.get("save_strategy"), "value", given.get("save_strategy", "steps")))
    strategy = "steps" if "eval_steps" in given or saved == "best" else saved
    steps = {"eval_steps": given.get("save_steps", 500)} if strategy == "steps" else {}
    size = {"per_device_eval_batch_size": given.get("per_device_train_batch_size", 1)}
    return {"eval_strategy": strategy, **steps, **size}


def _check_batch(arguments: TrainingArguments, data: Any, size: int) -> None:
    """Raise `ValueError` where an epoch, or an evaluation, would have no batch."""
    needed = size * arguments.world_size
    if arguments.dataloader_drop_last and hasattr(data, "__len__") and len(data) < needed:
        raise ValueError(
            f"There are {len(data)} samples, but a batch of {needed} is compared at once: give more, or a smaller "
            "`per_device_train_batch_size` (or `per_device_eval_batch_size`)."
        )


def _left_out(trainer: Trainer) -> list[str]:
    """A sentence on samples that were not evaluated, where batches have to be whole."""
    data, arguments = trainer.eval_dataset, trainer.args
    if data is None or not arguments.dataloader_drop_last:
        return []
    rest = len(data) % (arguments.per_device_eval_batch_size * arguments.world_size)
    return [f"{rest} of {len(data)} samples were not evaluated: they fill no batch."] if rest else []


def _comment(folder: Path) -> str:
    names = ("transformers_internvl", "transformers", "torch")
    return f"internvl train {folder / RUN_FILE} --output NEW; {', '.join(f'{name} {version(name)}' for name in names)}"


__all__ = [
    "Run",
    "RunResult",
    "check_output",
    "data_seed",
    "fate_of_adapter",
    "load_config",
    "load_processor",
    "prepare",
    "weights_dtype",
]
