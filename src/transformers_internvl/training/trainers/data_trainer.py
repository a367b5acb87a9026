# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`Trainer` on our data sets: shares of ranks and workers, ends of epochs, places in checkpoints.

Ranks have different numbers of batches, unknown in advance for packs. So with every optimizer
step the ranks tell each other, in one exchange, their part of the loss's denominator, whether they have more, and how
far they are:

    rank 0     pack  pack    pack  pack    pack  -
    rank 1     pack  pack    pack  -       -     -          - a batch without samples, of weight 0
               step 1        step 2        step 3, the last of the epoch: none has more

`Trainer` runs its own loop, and is informed by a callback where an epoch ends.
"""

import math
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...conversion.files.folders import read_json, write_json
from ..adapted import check_adapters
from ..data.dataloader import EpochBatches, PackLoader, TrainingLoader, training_loader
from ..data.dataset import ChatDataset, PackedDataset
from ..data.records import DataSet, TableRows
from ..data.samples import SampleEncoder
from ..data.streamed import StreamedDataset
from ..data.streamed_tables import TableShards, columns_of
from ..data.streams import StreamSet
from .checkpoints import DATA_STATE, TRAINER_STATE_NAME, check_checkpoint, last_checkpoint
from .evaluation import EvaluatesData
from .saving import SavesModels

Batch = dict[str, Any]


class DataTrainer(EvaluatesData, SavesModels, ABC):
    """`Trainer` for our data sets and tables of messages; other data go `Trainer`'s own way.

    Ours are `ChatDataset`, `StreamedDataset`, and `PackedDataset` of either.

    Of our data sets each rank and worker reads a share. Every sample of an epoch comes once: ranks that have run out
    compute on batches without samples, whose gradient is zero, until all have. Checkpoints hold the place in the data,
    and `train(resume_from_checkpoint=...)` continues there, without reading what came before; with
    `ignore_data_skip=True` it begins the epoch again. `resume_from_checkpoint=True` takes the last checkpoint that was
    written to its end.

    How many steps an epoch of packs has is estimated from a few samples. Training ends with the data all the same,
    and the learning rate follows the data, not the number of steps, to the end of its schedule. With `max_steps` both
    follow the steps.

    Args:
        model, args, data_collator: `Trainer`'s; without a collator, one that fits the data set.
        eval_collator: of the data that are evaluated. None: `data_collator` where the training set is of the same kind
            (a `ChatDataset`, a `PackedDataset`, ...), else one that fits.
        train_dataset, eval_dataset: a table of `datasets` with the columns of [`rows`] (`messages`, `images`, ...)
            becomes a `ChatDataset`; a streamed one, which is for training only, a `StreamedDataset`.
        processing_class: the processor, for such tables.
        **kwargs: `Trainer`'s.

    Raises:
        ValueError: a table of messages without a processor; when training begins, options that contradict the data.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        eval_collator: Any = None,
        **kwargs: Any,
    ):
        own = _is_table(train_dataset) or isinstance(train_dataset, (ChatDataset, PackedDataset, StreamedDataset))
        kwargs |= {"eval_dataset": eval_dataset, "processing_class": processing_class}
        # `Trainer` would ask packs for their number before anyone can know it.
        super().__init__(model, args, data_collator, None if own else train_dataset, **kwargs)
        self.train_dataset = self.as_dataset(train_dataset, "train")
        if isinstance(eval_dataset, Mapping):
            self.eval_dataset = {name: self.as_dataset(data, name) for name, data in eval_dataset.items()}
        else:
            self.eval_dataset = self.as_dataset(eval_dataset, "eval")
        self.collator_is_given, self.given_eval_collator = data_collator is not None, eval_collator
        self._looked_through = {}
        if data_collator is None and (fitting := self.default_collator(self.train_dataset)) is not None:
            self.data_collator = fitting
        self._loader: TrainingLoader | None = None
        self._checkpoint: str | None = None  # from which training continues
        self._ignore_data_skip = False  # what the user set for `ignore_data_skip`
        self._epochs = math.inf  # after which training ends, unless `max_steps` is set
        self._planned_steps = 0
        self._progress, self._ended = 0.0, False  # epochs that are through after this step; whether one ends with it
        self.add_callback(EpochEndCallback(self))

    # What kinds of training differ in.

    @abstractmethod
    def empty_batch(self) -> Batch:
        """A batch without samples, which the model can compute on. `compute_loss` pops `is_empty` and gives 0."""

    @abstractmethod
    def step_weight(self, batches: list[Batch]) -> torch.Tensor | None:
        """What the batches of an optimizer step on this rank count in the denominator of its loss."""

    def load_trainer_state(self, checkpoint: str) -> None:
        """Read what a trainer of its own kind keeps in a checkpoint, besides weights, optimizer and data."""

    def refuse_smoothing(self, instead: str) -> None:
        """Refuse `label_smoothing_factor`, where no mean over next tokens is trained on.

        Raises:
            ValueError: it is set; with what there is instead.
        """
        if self.args.label_smoothing_factor:
            raise ValueError(
                f"`label_smoothing_factor={self.args.label_smoothing_factor}` smooths a loss of next tokens alone, "
                f"which this is not: leave it at 0; {instead}."
            )

    # The data.

    def as_dataset(self, data: Any, name: str) -> Any:
        """A table of messages as a data set; anything else as it is."""
        if not _is_table(data):
            return data
        streamed = not hasattr(data, "__len__")
        if streamed and name != "train":
            raise ValueError(
                f"The {name} table is streamed, but what is evaluated is read by number: load it as a whole."
            )
        if self.processing_class is None or not hasattr(self.processing_class, "image_processor"):
            raise ValueError(
                f"The {name} table has rows that a processor turns into samples: pass `processing_class=processor`."
            )
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if streamed:
            shards = TableShards(name, data)
            return StreamedDataset([StreamSet(name, shards)], SampleEncoder(self.processing_class), seed=seed)
        return ChatDataset([DataSet(name, TableRows(name, data))], SampleEncoder(self.processing_class), seed=seed)

    def get_train_dataloader(self) -> DataLoader | TrainingLoader:
        """Batches of this rank, at the place where the checkpoint left them.

        Raises:
            ValueError: options that contradict the data set, or a checkpoint of other data.
        """
        args, copies = self.args, self._copies()
        self._loader = loader = training_loader(
            self.train_dataset,
            self.data_collator,
            self._train_batch_size,
            args.process_index // copies,
            args.world_size // copies,
            drop_last=args.dataloader_drop_last,
            # Workers end with an epoch (no `persistent_workers`): they begin each with the place they are given.
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
        )
        if loader is None:
            return super().get_train_dataloader()
        if args.train_sampling_strategy in ("group_by_length", "batch_rebalance") or not args.dataloader_in_order:
            raise ValueError(
                "Samples come in the order of their mixture: leave `train_sampling_strategy` and "
                "`dataloader_in_order` as they are. For rows of like lengths there are packs."
            )
        if self._checkpoint is not None and self._ignore_data_skip:
            loader.epoch = int(self._saved_state().epoch or 0)
        elif self._checkpoint is not None:
            place = _read_place(self._checkpoint, args.process_index)
            try:
                loader.load_state_dict(place)
            except (KeyError, IndexError, TypeError, AttributeError) as error:
                raise ValueError(f"{self._checkpoint} has no place in data such as these: {error!r}.") from error
        return loader

    def _copies(self) -> int:
        """How many ranks compute on the same batch."""
        return self.get_tp_size() * self.get_cp_size() * self.get_sp_size()

    # An optimizer step.

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor | int | None]:
        """The pieces of an optimizer step on this rank, and the denominator of its loss: the weights of all ranks."""
        if isinstance(epoch_iterator, EpochBatches):
            return self._own_batches(epoch_iterator, num_batches, device)
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        weight = self.step_weight(batches) if batches else None
        if weight is None:
            return batches, count
        total = weight.to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return batches, total / self._copies()  # ranks that share a batch have counted the same weights

    def _own_batches(
        self, iterator: EpochBatches, number: int, device: torch.device
    ) -> tuple[list[Batch], torch.Tensor | None]:
        taken: list[Batch | None] = list(islice(iterator, number))
        filled = [*taken, *[None] * (number - len(taken))]
        batches = [self.empty_batch() if batch is None else batch for batch in filled]
        weight = self.step_weight(batches)
        if weight is None:
            raise ValueError(f"A batch of the collator has no labels, but {', '.join(batches[0])}.")
        out = self._loader.entries_out()  # type: ignore[union-attr]
        gathered = torch.tensor(
            [weight.item(), len(taken), not iterator.ended, out], dtype=torch.float64, device=device
        )
        if self.args.world_size > 1:
            gathered = self.accelerator.gather(gathered)
        weights, counts, more, outs = gathered.view(-1, 4).cpu().unbind(dim=1)
        self._set_progress(not more.any(), outs.sum().item() / self._copies())
        if not counts.any():  # on any rank: there is nothing to learn from
            return [], None
        total = weights.sum() if self.args.average_tokens_across_devices else weight
        return batches, total.to(device, torch.float32) / self._copies()

    def _set_progress(self, ended: bool, entries: float) -> None:
        """Where all ranks together will be after this step, and whether it is the last one."""
        loader: TrainingLoader = self._loader  # type: ignore[assignment]
        if loader.entries is None:  # nobody knows how far it is
            entries_per_epoch, entries = 1.0, float(loader.epoch + ended)
        else:
            entries_per_epoch = loader.entries
        self._ended, self._progress = ended, entries / entries_per_epoch
        if self._epochs == math.inf:
            return
        last = ended and loader.epoch + 1 >= self._epochs
        if loader.counts_entries or self._epochs % 1:  # else the stream may be longer than was said
            last = last or self._progress >= self._epochs
        step = self.state.global_step
        self.state.max_steps = step + 1 if last else max(self.state.max_steps, step + 2)

    def set_initial_training_values(self, args: TrainingArguments, dataloader: Any) -> tuple:
        """As `Trainer`'s. An epoch of ours ends when its data do, and not after a number of steps.

        Raises:
            ValueError: endless packs without `max_steps`.
        """
        if not isinstance(dataloader, TrainingLoader):
            return super().set_initial_training_values(args, dataloader)
        per_step, step_size = args.gradient_accumulation_steps, self.get_total_train_batch_size(args)
        if args.max_steps > 0:
            self._epochs, self._planned_steps = math.inf, args.max_steps
            epochs, samples = sys.maxsize, args.max_steps * step_size
        elif isinstance(dataloader, PackLoader) and dataloader.data.endless:
            raise ValueError("Endless packs have no last epoch: set `max_steps`, or leave `endless` out.")
        elif dataloader.entries is None:
            raise ValueError(
                "How many rows are streamed is not known, so that epochs cannot be counted: set `max_steps`, "
                "or give each set the number of its rows (`length` in a meta file or of `StreamSet`) and no `weight`."
            )
        else:
            self._epochs = args.num_train_epochs
            steps = math.ceil(dataloader.batches_per_epoch() / per_step)
            self._planned_steps = max(1, math.ceil(self._epochs * steps))
            epochs, samples = math.ceil(self._epochs), int(self._epochs * dataloader.entries)
        left = epochs - dataloader.epoch - dataloader.finished
        if self._checkpoint is not None:
            saved = self._saved_state()
            if (saved.epoch or 0) >= self._epochs or saved.global_step >= args.max_steps > 0:
                left = 0
        # The loader is where it should be: `Trainer` must not skip batches, and counts its epochs from there.
        args.ignore_data_skip = True
        planned, endless = self._planned_steps, sys.maxsize
        entries = int(dataloader.entries or samples)
        return max(0, left), endless, entries, samples, step_size, planned * per_step, planned

    def on_train_begin(self, state: TrainerState) -> None:
        """Restore the options that were changed for the start of `Trainer`."""
        self.args.ignore_data_skip = self._ignore_data_skip
        if self._loader is not None and self._epochs < math.inf:
            state.num_train_epochs = math.ceil(self._epochs)
        if self._checkpoint is not None:
            self._set_rates()

    def _set_rates(self) -> None:
        """The learning rates of the schedule as it is now: a run that goes further has another than the checkpoint."""
        schedule = self.lr_scheduler
        if isinstance(schedule, LambdaLR) and self.optimizer is not None:
            pairs = zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
            rates = [base * factor(schedule.last_epoch) for base, factor in pairs]
            for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            schedule._last_lr = rates

    def on_optimizer_step(self) -> None:
        """Before the scheduler's step: let it count data, where the number of steps is not known."""
        unknown = self._loader is not None and not self._loader.counts_steps and self._epochs < math.inf
        if unknown and isinstance(self.lr_scheduler, LambdaLR):
            done = min(1.0, self._progress / self._epochs)
            self.lr_scheduler.last_epoch = round(done * self._planned_steps) - 1

    def on_step_end(self, state: TrainerState, control: TrainerControl) -> None:
        """Tell `Trainer` how far the data are, and where an epoch ends."""
        if self._loader is not None:
            state.epoch = self._progress
            self._loader.finished = control.should_epoch_stop = self._ended

    # Checkpoints.

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As `Trainer`'s; resumed, the data go on where the checkpoint left them.

        Raises:
            ValueError: there is no complete checkpoint, or a file of it is broken, or would be unpickled and is not
                below `output_dir`; or data, ranks or workers are others than in mid-epoch; or weights train that are
                not saved with the adapters of the model.
        """
        check_adapters(self.accelerator.unwrap_model(self.model))
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ValueError(f"There is no complete checkpoint in {self.args.output_dir}.")
        self._checkpoint = os.fspath(resume_from_checkpoint) if resume_from_checkpoint else None
        self._ignore_data_skip = self.args.ignore_data_skip
        if self._checkpoint is not None:
            check_checkpoint(self._checkpoint, self.args.output_dir)
            self.load_trainer_state(self._checkpoint)
        try:
            return super().train(resume_from_checkpoint=self._checkpoint, **kwargs)
        finally:
            self.args.ignore_data_skip = self._ignore_data_skip

    def _saved_state(self) -> TrainerState:
        return TrainerState.load_from_json(os.path.join(self._checkpoint or "", TRAINER_STATE_NAME))

    def _save_rng_state(self, output_dir: str) -> None:
        """With the random numbers, the place in the data. Then all ranks have written what the checkpoint needs."""
        super()._save_rng_state(output_dir)
        if self._loader is not None:
            name = DATA_STATE.format(rank=self.args.process_index)
            write_json(Path(output_dir) / name, self._loader.state_dict())
        self.accelerator.wait_for_everyone()


class EpochEndCallback(TrainerCallback):
    """Hands the events of the training loop to the trainer."""

    def __init__(self, trainer: DataTrainer):
        self.trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.trainer.on_train_begin(state)

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.trainer.on_optimizer_step()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.trainer.on_step_end(state, control)


def _is_table(data: Any) -> bool:
    """Whether a data set is a table of rows of `parse_row`, and not of tokens."""
    names = columns_of(data)
    if names & {"input_ids", "chosen_input_ids"}:
        return False
    forms = ({"messages"}, {"conversations"}, {"question", "chosen", "rejected"}, {"__key__", "json"})
    return any(names >= form for form in forms)


def _read_place(checkpoint: str, rank: int) -> Any:
    """The place of a rank. Between two epochs, and in rows, the first rank's holds for all."""
    for name in (DATA_STATE.format(rank=rank), DATA_STATE.format(rank=0)):
        if (path := Path(checkpoint) / name).is_file():
            return read_json(path)
    raise ValueError(
        f"{checkpoint} has no {DATA_STATE.format(rank=0)}: the place in the data was not saved. Train on from its "
        "weights, or set `ignore_data_skip=True` to begin the epoch again."
    )


__all__ = ["DataTrainer"]
