# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Evaluation under `Trainer`: the data that are evaluated get the collator that fits them, not the training set's."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Subset
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from ..data.dataset import PackedDataset


class EvaluatesData(Trainer, ABC):
    """The half of `DataTrainer` that evaluates.

    Attributes:
        collator_is_given: whether `data_collator` is the user's.
        given_eval_collator: the user's for data that are evaluated, if there is one.
        scorer: model, arguments and state to further figures of an evaluation, such as `{"score": 71.2}`, which are
            logged as `eval_score` and may choose the best checkpoint. Every rank calls it.
    """

    scorer: Callable[[Any, Any, Any], dict[str, float]] | None = None

    data_collator: Any
    collator_is_given: bool
    given_eval_collator: Any
    _looked_through: dict[int, tuple[Any, Any]]

    @abstractmethod
    def default_collator(self, dataset: Any) -> Any:
        """The collator that fits a data set of ours; None for another one."""

    def default_eval_collator(self, dataset: Any) -> Any:
        """The same for data that are evaluated."""
        return self.default_collator(dataset)

    @abstractmethod
    def as_dataset(self, data: Any, name: str) -> Any:
        """A table of messages as a data set; anything else as it is."""

    def eval_collator(self, data: Any) -> Any:
        """The collator for data that are evaluated."""
        if self.given_eval_collator is not None:
            return self.given_eval_collator
        like_training = self.train_dataset is None or type(data) is type(self.train_dataset)
        if self.collator_is_given and like_training:
            return self.data_collator
        fitting = self.default_eval_collator(data)
        return self.data_collator if fitting is None else fitting

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As `Trainer`'s, with the collator that fits; of packs, in one process only.

        Raises:
            ValueError: packs on several ranks, which have no common number of them, or packs without end.
        """
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        data = self.as_dataset(self.eval_dataset[data] if isinstance(data, str) else data, "eval")
        if isinstance(data, PackedDataset):
            return self._packs_to_evaluate(data)
        usable = self._usable(data)
        with self._collating(data):
            return super().get_eval_dataloader(eval_dataset if isinstance(eval_dataset, str) else usable)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """As [`EvaluatesData.get_eval_dataloader`]."""
        data = self.as_dataset(test_dataset, "test")
        if isinstance(data, PackedDataset):
            return self._packs_to_evaluate(data)
        usable = self._usable(data)
        with self._collating(data):
            return super().get_test_dataloader(usable)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As `Trainer`'s, and the figures of the scorer."""
        found = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        if self.scorer is not None and found.metrics is not None:
            scores = self.scorer(self.model, self.args, self.state)
            found.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in scores.items()})
        return found

    def _usable(self, data: Any) -> Any:
        """Data without the samples that their policy leaves out: a batch may have no others, and ranks wait for all.

        They are checked once.

        Raises:
            ValueError: none is left.
        """
        if not getattr(getattr(data, "policy", None), "limit", 0):
            return data
        if id(data) not in self._looked_through:
            kept = [index for index in range(len(data)) if data[index] is not None]
            found = data if len(kept) == len(data) else Subset(data, kept)
            self._looked_through[id(data)] = (data, found)  # kept alive: no other data get its id
        _, found = self._looked_through[id(data)]
        if not len(found):
            raise ValueError(f"All {len(data)} samples to evaluate were left out: {data.policy.report()}")
        return found

    @contextmanager
    def _collating(self, data: Any) -> Iterator[None]:
        """`Trainer` makes its loaders of `data_collator`: here, of the one for data that are evaluated."""
        of_training, self.data_collator = self.data_collator, self.eval_collator(data)
        try:
            yield
        finally:
            self.data_collator = of_training

    def _packs_to_evaluate(self, data: PackedDataset) -> DataLoader:
        if self.args.world_size > 1 or data.endless:
            raise ValueError("Evaluate on the `ChatDataset` itself: ranks differ in how many packs they have.")
        options = {"num_workers": self.args.dataloader_num_workers, "batch_size": self.args.eval_batch_size}
        return DataLoader(data, collate_fn=self.eval_collator(data), **options)


__all__ = ["EvaluatesData"]
