# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`Trainer` with the original loss weights, exact however a batch is split, and with learning rates by part and depth.

A batch of an optimizer step is spread over ranks and accumulation steps. The weighted mean over it is

    sum(weights * entropies) / sum(weights)        both sums over the whole batch

and not the mean of the means of its pieces, which would favor labels in pieces that have few (the original scripts
average over ranks, and do not normalize over accumulation steps). So the denominator is made before the first piece.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from ...modeling.internvl.model import InternVLModel
from ...modeling.losses import IGNORE_INDEX, predicted, token_weights
from ...modeling.pretrained.context_parallel import ContextGroup
from ..data.collation import PackingCollator, PaddingCollator
from ..data.dataset import ChatDataset, PackedDataset
from ..data.streamed import StreamedDataset
from ..feature_cache.model import FeatureCache, FeatureCollator
from ..feature_cache.store import NEW_TILES
from ..parameters import parameter_groups
from .data_trainer import Batch, DataTrainer


class InternVLTrainer(DataTrainer):
    """transformers' `Trainer` for chat models, on our data sets as [`DataTrainer`] says, with two additions.

    The loss is weighted as `model.config.loss_reduction` says ("token", "sample" or "square"), or as `loss_weight`
    `(B, L)` of a batch says, where a collator puts several samples in a row. Evaluation reports the token mean over
    all batches, of any sizes, or the weighted mean, if they carry weights. `label_smoothing_factor` smooths
    the next tokens, with the same weights, in evaluation, too, as `Trainer` has it. A loss of the user's own
    (`compute_loss_func`, `model.loss_function`) gets no weights: its `num_items_in_batch` is the number of labels of
    the step.

    Args:
        part_learning_rates, layer_decay: as for [`parameter_groups`]; without them, transformers' own groups.
        feature_cache: a folder. With a frozen tower and projector, every tile is encoded once and its features are
            kept there; a `ChatDataset` or `PackedDataset` skips images that were. See [`FeatureCache`].
        feature_cache_bytes: maximum number of bytes of the folder; None = as many as the disk has.
        context_parallel_size: how many ranks that follow each other share the positions of a batch, and its tiles; see
            `modeling/pretrained/context_parallel.py`. They read the same data; for evaluation each its own again.
        Everything else is `DataTrainer`'s.

    Raises:
        ValueError: with several devices in one process (`torch.nn.DataParallel`): start one process per device. With
            a feature cache, what [`FeatureCache`] and `ChatDataset.use_features` refuse. A `label_smoothing_factor`
            that would have no effect.
    """

    def __init__(
        self,
        *args: Any,
        part_learning_rates: Mapping[str, float] | None = None,
        layer_decay: Mapping[str, float] | None = None,
        feature_cache: str | os.PathLike | None = None,
        feature_cache_bytes: int | None = None,
        context_parallel_size: int = 1,
        **kwargs: Any,
    ):
        self.context_parallel_size = context_parallel_size
        super().__init__(*args, **kwargs)
        if self.args.n_gpu > 1:
            raise ValueError(
                f"{self.args.n_gpu} devices in one process split a batch where its loss cannot be made exact: start "
                "with torchrun or `accelerate launch`, or show one device (CUDA_VISIBLE_DEVICES)."
            )
        self._take_over_smoothing()
        self._evaluated: list[torch.Tensor] | None = None  # of each batch: the weighted sum and the weight
        self.part_learning_rates, self.layer_decay = part_learning_rates, layer_decay
        self.feature_cache = None if feature_cache is None else self._open_cache(feature_cache, feature_cache_bytes)
        if context_parallel_size != 1:
            self._share_context(context_parallel_size)

    def _share_context(self, size: int) -> None:
        """Let groups of ranks share the positions of a batch.

        Raises:
            ValueError: the ranks, the options, the data or the model do not suit it.
        """
        check_context_ranks(size, self.args.world_size)
        if not self.args.average_tokens_across_devices:
            raise ValueError(
                "Under context parallelism ranks hold parts of a loss: leave `average_tokens_across_devices`."
            )
        if self.feature_cache is not None:
            raise ValueError("A feature cache is not for context parallelism, which shares the tower's work.")
        if not isinstance(self.train_dataset, (ChatDataset, PackedDataset, StreamedDataset)):
            raise ValueError(
                f"Context parallelism reads the data sets of this package and tables of messages, got "
                f"{type(self.train_dataset).__name__}: other data are shared out by `Trainer`, one part a rank."
            )
        model: Any = self.model
        body = getattr(model.get_base_model() if hasattr(model, "get_base_model") else model, "model", None)
        if not isinstance(body, InternVLModel):
            raise ValueError(f"Context parallelism is for chat models, got {type(self.model).__name__}.")
        group, _ = torch.distributed.new_subgroups(size)
        body.set_context_group(ContextGroup(group))

    def get_cp_size(self) -> int:
        """How many ranks share the positions of a batch."""
        return super().get_cp_size() * self.context_parallel_size

    def _take_over_smoothing(self) -> None:
        """Label smoothing, which `Trainer` would do by itself, comparing logits with the labels of the same places."""
        if self.args.label_smoothing_factor and self.has_own_loss():
            raise ValueError(
                f"`label_smoothing_factor={self.args.label_smoothing_factor}` is not for a loss function of your own: "
                "smooth labels in it, and leave the option at 0."
            )
        self.label_smoother = None

    def has_own_loss(self) -> bool:
        """Whether the user has given a loss function, to the trainer or to the model."""
        return self.compute_loss_func is not None or getattr(self.model, "_loss_function", None) is not None

    def means_labels(self, inputs: Mapping[str, Any]) -> bool:
        """Whether the loss of a batch is the model's own, a weighted mean over labels."""
        return "labels" in inputs and not self.has_own_loss()

    def loss_options(self, inputs: Mapping[str, Any], training: bool) -> dict[str, Any]:
        """Arguments of the model for the loss of a batch with labels."""
        if not self.means_labels(inputs):
            return {}
        smoothing = self.args.label_smoothing_factor
        options = {"smoothing": smoothing} if smoothing else {}
        return options if training or "loss_weight" in inputs else {**options, "loss_reduction": "token"}

    def _open_cache(self, folder: str | os.PathLike, max_bytes: int | None) -> FeatureCache:
        """The cache of the model. The collator and the data sets use it, too."""
        autocast = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.accelerator.mixed_precision]
        if self.is_fsdp_enabled:
            raise ValueError("A feature cache needs the whole tower on every rank: use DDP or ZeRO-2, not FSDP.")
        cache = FeatureCache(folder, self.model, autocast=autocast, max_bytes=max_bytes)
        evaluated = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        for data in (self.train_dataset, *evaluated.values()):
            if hasattr(data, "use_features"):
                data.use_features(cache.store)
        self.data_collator = cache.collator(self.data_collator)
        return cache

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        return inputs if self.feature_cache is None else self.feature_cache.encode_new(inputs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.feature_cache is not None:  # the collator's, not the model's
            self._signature_columns += [name for name in NEW_TILES if name not in self._signature_columns]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, with groups by part and depth where they were asked for."""
        if self.optimizer is None and (self.part_learning_rates or self.layer_decay):
            model = self.model if model is None else model
            groups = parameter_groups(
                model, self.args.learning_rate, self.args.weight_decay, self.part_learning_rates, self.layer_decay
            )
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer: torch.optim.Optimizer = optimizer_class(groups, **options)
        return super().create_optimizer(model)

    def default_collator(self, dataset: Any) -> PackingCollator | PaddingCollator | None:
        """Packs are joined, with the weights that the model's config names; samples are padded to rows."""
        if isinstance(dataset, PackedDataset):
            return PackingCollator(self.model.config.loss_reduction)
        if isinstance(dataset, (ChatDataset, StreamedDataset)):
            return PaddingCollator(dataset.encoder.processor.tokenizer.pad_token_id or 0)
        return None

    def default_eval_collator(self, dataset: Any) -> PackingCollator | PaddingCollator | None:
        """The same, with a label's weight of 1 in packs as in rows."""
        return PackingCollator("token") if isinstance(dataset, PackedDataset) else self.default_collator(dataset)

    def eval_collator(self, data: Any) -> Any:
        """The collator for data that are evaluated; with a feature cache, it reads features, too."""
        collator = super().eval_collator(data)
        if self.feature_cache is None or isinstance(collator, FeatureCollator):
            return collator
        return self.feature_cache.collator(collator)

    def empty_batch(self) -> Batch:
        """Two positions without a label. The model adds the empty tile that keeps its tower in step."""
        ids = torch.zeros(1, 2, dtype=torch.long)  # (1, L)
        places = torch.arange(2)[None]
        return {"input_ids": ids, "labels": ids + IGNORE_INDEX, "position_ids": places, "is_empty": True}

    def step_weight(self, batches: list[Batch]) -> torch.Tensor | None:
        """The sum of the weights of all pieces, each of which gets its own; for a user's loss the number of labels."""
        if "labels" not in batches[0]:
            return None
        if self.has_own_loss():
            return label_count(batches)
        for batch in batches:
            labels = batch.get("shift_labels", batch["labels"])
            batch.setdefault("loss_weight", token_weights(labels, self.model.config.loss_reduction))
        return weight_of(batches)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """As `Trainer`'s; weights that a batch for evaluation brings are normalized within it."""
        if self.has_own_loss():
            inputs.pop("loss_weight", None)
        elif not model.training and self.means_labels(inputs):
            return self._evaluated_loss(model, inputs, return_outputs)
        empty = inputs.pop("is_empty", False)
        inputs = {**inputs, **self.loss_options(inputs, model.training)}
        if empty:  # nothing of it counts, nor how it is spread over experts
            return 0.0 * super().compute_loss(model, inputs, False, num_items_in_batch)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _evaluated_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """The mean over a batch, which enters that over all with its weight."""
        weight = weight_of([inputs]) if "loss_weight" in inputs else label_count([inputs])
        loss, outputs = super().compute_loss(model, {**inputs, **self.loss_options(inputs, False)}, True, None)
        self.note_evaluated(loss, weight)
        return (loss, outputs) if return_outputs else loss

    def note_evaluated(self, loss: torch.Tensor, weight: torch.Tensor) -> None:
        """Let the mean loss of a batch enter that of the evaluation that is going on, with its weight, a scalar."""
        if self._evaluated is not None:
            self._evaluated.append(torch.stack([loss.detach().float() * weight, weight.float()]))

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As `Trainer`'s. Its loss is a mean of the batches' means, this one's the mean over all of their labels."""
        parts: list[torch.Tensor] = []
        self._evaluated = parts
        try:
            options = (prediction_loss_only, ignore_keys, metric_key_prefix)
            found = super().evaluation_loop(dataloader, description, *options)
        finally:
            self._evaluated = None
        sums = torch.stack(parts).cpu().double().sum(dim=0) if parts else torch.zeros(2)
        total, weight = self.accelerator.reduce(sums.float().to(self.args.device), "sum").tolist()
        if weight and found.metrics is not None:
            found.metrics[f"{metric_key_prefix}_loss"] = total / weight
        return found

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> Any:
        """As `Trainer`'s; where only the loss is wanted, no logits are made but at labels."""
        if prediction_loss_only and "labels" in inputs:
            inputs = {**inputs, "skip_logits": True}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)


def check_context_ranks(size: int, ranks: int) -> None:
    """Raise `ValueError` if groups of `size` ranks cannot be made of all ranks."""
    if size < 1 or ranks % size:
        raise ValueError(
            f"`context_parallel_size` is {size}, of which {ranks} rank(s) are no multiple: start as many ranks with "
            "torchrun, or set it to 1."
        )


def label_count(batches: Iterable[Mapping[str, torch.Tensor]]) -> torch.Tensor:
    """The number of labels that are predicted in batches with `labels` or `shift_labels`, both `(B, L)`."""
    labels = [predicted(batch.get("shift_labels", batch["labels"]), "shift_labels" in batch) for batch in batches]
    return torch.stack([(part != IGNORE_INDEX).sum() for part in labels]).sum()


def weight_of(batches: Iterable[Mapping[str, torch.Tensor]]) -> torch.Tensor:
    """The sum of the weights of batches, as the loss counts them.

    Args:
        batches: each with `loss_weight` `(B, L)`, aligned with `labels` (the first position is predicted from nothing
            and does not count) or, where there are any, with `shift_labels`.

    Returns:
        A float32 scalar tensor.
    """
    weights = [predicted(batch["loss_weight"], "shift_labels" in batch) for batch in batches]
    return torch.stack([weight.float().sum() for weight in weights]).sum()


__all__ = ["InternVLTrainer", "check_context_ranks", "label_count", "weight_of"]
