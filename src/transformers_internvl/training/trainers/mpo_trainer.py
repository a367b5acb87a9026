# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""`Trainer` for mixed preference optimization.

    trainer = MPOTrainer(model, recipe.to_training_arguments("out"), train_dataset=pairs, data_collator=collator)
    trainer.train()

Pairs come from a `ChatDataset` of preference rows, or from any data set of such rows. A batch of them is what
`mpo.join_pairs` takes. Its tiles are encoded once for the chosen and the rejected answer, and
log probabilities are made in chunks, at the answers' tokens only.

Source: arXiv:2411.10442; `internvl_chat_mpo.py` and `trainer_dpo.py` of the original repository.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainingArguments

from ..adapted import adapters_change_nothing, has_adapters
from ..data.dataset import ChatDataset
from ..data.streamed import StreamedDataset
from .data_trainer import Batch
from .mpo import IGNORE_INDEX, MPOLoss, MPOTerms, RunningMean, pair_log_probs
from .reference import ReferenceTrainer, evaluating

REFERENCE = ("reference_chosen_log_probs", "reference_rejected_log_probs")
METRICS = tuple(f"rewards/{name}" for name in ("chosen", "rejected", "accuracies", "margins")) + tuple(
    f"loss/{name}" for name in ("preference", "quality", "generation")
)


class MPOTrainer(ReferenceTrainer):
    """Trains on pairs of a chosen and a rejected answer. The loss of a step is the mean over its pairs on all ranks.

    Args:
        model: the policy.
        args: training arguments.
        reference: the model that rewards are measured against. None: the policy as it is now. With fresh adapters
            (peft) that is the model without them; otherwise, also of adapters that have learned already, a frozen
            copy.
        precomputed: batches bring `reference_chosen_log_probs` and `reference_rejected_log_probs` `(B,)`, as
            [`reference_log_probs`] gives them, and no reference model is kept in memory.
        loss: weights, `beta`, and the running mean of the rewards, which checkpoints keep.
        **kwargs: [`DataTrainer`]'s.

    Raises:
        ValueError: a reference model together with `precomputed`; positions that are drawn at random (V2PE);
            `label_smoothing_factor`, `compute_loss_func` or `compute_metrics`, which MPO has no use for.
    """

    STATE_FILE: ClassVar[str] = "mpo_state.json"

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments | None = None,
        *,
        reference: nn.Module | None = None,
        precomputed: bool = False,
        loss: MPOLoss | None = None,
        **kwargs: Any,
    ):
        if precomputed and reference is not None:
            raise ValueError("Give a `reference` model or `precomputed=True`, not both.")
        if getattr(model.config, "rope_pos_id_version", "default") == "v2pe_rnd":
            raise ValueError(
                "`rope_pos_id_version='v2pe_rnd'` draws positions anew for every answer and model, so that their log "
                "probabilities could not be compared: set it to 'v2pe_fix' or 'default' in the model's configuration."
            )
        super().__init__(model, args, **kwargs)
        if self.compute_loss_func is not None:
            raise ValueError("MPO has a loss of its own: leave `compute_loss_func` out, or subclass `MPOLoss`.")
        if self.compute_metrics is not None:
            raise ValueError(
                "MPO predicts nothing that `compute_metrics` could be called with: leave it out. Evaluation reports "
                f"{', '.join('eval_' + name for name in METRICS)}."
            )
        if reference is None and not precomputed:
            reference = self._as_it_is_now(model)
        self.mpo_loss = MPOLoss() if loss is None else loss
        self.precomputed = precomputed
        self.args.remove_unused_columns = False  # no column of a pair is an argument of the model
        self.begin_comparing(reference, "`MPOLoss(label_smoothing=...)` is that of the preference")
        self._metrics: dict[str, list[float]] = defaultdict(list)

    def _as_it_is_now(self, model: nn.Module) -> nn.Module | None:
        """A frozen copy of the policy; None where it is what its adapters leave when they are switched off."""
        if not has_adapters(model):
            return copy.deepcopy(model)
        if hasattr(model, "disable_adapter") and adapters_change_nothing(model):
            return None
        return self.frozen_copy(model)

    def default_collator(self, dataset: Any) -> "PairCollator | None":
        """Pairs are padded."""
        if isinstance(dataset, (ChatDataset, StreamedDataset)):
            return PairCollator(dataset.encoder.processor.tokenizer.pad_token_id or 0)
        return None

    def empty_batch(self) -> Batch:
        """One pair of answers without a label."""
        ids = torch.zeros(1, 2, dtype=torch.long)  # (1, L)
        values = {"input_ids": ids, "labels": ids + IGNORE_INDEX, "attention_mask": ids + 1}
        pair = {f"{side}_{key}": value for side in ("chosen", "rejected") for key, value in values.items()}
        return {**pair, **{key: torch.zeros(1) for key in REFERENCE}, "is_empty": True}

    def step_weight(self, batches: list[Batch]) -> torch.Tensor:
        """The number of pairs."""
        counts = [len(batch["chosen_input_ids"]) for batch in batches if "is_empty" not in batch]
        return torch.tensor(float(sum(counts)))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch of pairs. In training, its rewards enter the running mean.

        With `num_items_in_batch`, the pairs of the step, it is this batch's part in the mean over them.
        """
        empty = inputs.pop("is_empty", False)
        log_probs, generation, outputs = pair_log_probs(model, inputs)
        chosen, rejected = log_probs.chunk(2)
        reference_chosen, reference_rejected = self._reference(model, inputs)
        if empty:  # only the other ranks have pairs
            self.mpo_loss.rewards.update(log_probs[:0])
            self._record("", None, generation.detach())
            return 0.0 * (log_probs.sum() + generation)
        terms = self.mpo_loss(
            chosen, rejected, reference_chosen, reference_rejected, generation, update=model.training
        )
        loss = terms.loss
        if outputs.aux_loss is not None:
            loss = loss + self.model.config.text_config.router_aux_loss_coef * outputs.aux_loss
        self._record("" if model.training else "eval_", terms, generation.detach())
        loss = loss * self.share_of_step(len(chosen), num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _reference(self, model: nn.Module, inputs: dict[str, Any]) -> Sequence[torch.Tensor]:
        """Log probabilities of the reference for chosen and rejected, `(B,)` each."""
        if self.precomputed:
            missing = [key for key in REFERENCE if inputs.get(key) is None]
            if missing:
                raise ValueError(f"`precomputed=True`, but a batch lacks {' and '.join(missing)}.")
            return [inputs[key] for key in REFERENCE]
        if self.reference is not None:
            return reference_log_probs(self.reference, inputs, without_adapters=False)
        return reference_log_probs(self.accelerator.unwrap_model(model), inputs)

    def _record(self, prefix: str, terms: MPOTerms | None, generation: torch.Tensor) -> None:
        """Note the means over the pairs of all ranks; None where this one has no pair."""
        sums = dict.fromkeys(METRICS, generation.new_zeros(()))
        pairs = 0
        if terms is not None:
            margin, pairs = terms.chosen_rewards - terms.rejected_rewards, len(terms.preference)
            rewards = [terms.chosen_rewards, terms.rejected_rewards, (margin > 0).float(), margin]
            found = [*rewards, terms.preference, terms.quality, generation * pairs]
            sums = dict(zip(METRICS, (value.float().sum() for value in found), strict=True))
        *values, total = self.accelerator.reduce(
            torch.stack([*sums.values(), generation.new_full((), pairs)]), "sum"
        ).tolist()
        for name, value in zip(METRICS, values, strict=True):
            if total:
                self._metrics[prefix + name].append(value / total)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As `Trainer`'s, with the means of rewards and terms since the last time."""
        prefix = "eval_" if any(name.startswith("eval_") for name in logs) else ""
        for name in [name for name in self._metrics if name.startswith("eval_") == bool(prefix)]:
            values = self._metrics.pop(name)
            logs[name] = sum(values) / len(values)
        super().log(logs, start_time)

    def own_state(self) -> dict[str, Any]:
        """The running mean of the rewards."""
        return self.mpo_loss.rewards.state()

    def take_state(self, state: dict[str, Any]) -> None:
        """The running mean continues from the checkpoint."""
        self.mpo_loss.rewards = RunningMean(**state)


@torch.no_grad()
def reference_log_probs(
    model: nn.Module, batch: Mapping[str, torch.Tensor], *, without_adapters: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log probabilities `(B,)` of the chosen and of the rejected answers under a reference model.

    Args:
        model: the reference.
        batch: as for [`mpo.join_pairs`].
        without_adapters: of a model with adapters (peft), the model without them. False: the model as it is, for
            adapters that have learned something before.
    """
    switched_off = getattr(model, "disable_adapter", nullcontext) if without_adapters else nullcontext
    with evaluating(model), switched_off():
        chosen, rejected = pair_log_probs(model, batch)[0].chunk(2)
    return chosen, rejected


class PairCollator:
    """Pads pairs to a batch.

    A row has `chosen_` and `rejected_` `input_ids` and `labels`, each `(L,)`; `pixel_values` `(T, 3, height, width)`
    and `image_flags` `(T,)` where it has tiles; numbers `reference_chosen_log_probs` and
    `reference_rejected_log_probs` where they are precomputed.

    Args:
        pad_token_id: fills rows on the right, where the attention mask is 0.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = {}
        for side in ("chosen", "rejected"):
            for key, fill in (("input_ids", self.pad_token_id), ("labels", IGNORE_INDEX)):
                tensors = [torch.as_tensor(row[f"{side}_{key}"]) for row in rows]
                batch[f"{side}_{key}"] = pad_sequence(tensors, batch_first=True, padding_value=fill)
            masks = [torch.ones(len(row[f"{side}_input_ids"]), dtype=torch.long) for row in rows]
            batch[f"{side}_attention_mask"] = pad_sequence(masks, batch_first=True)
        for key in ("pixel_values", "image_flags"):
            tiles = [row[key] for row in rows if row.get(key) is not None]
            if tiles:
                batch[key] = torch.cat(tiles)
        for key in REFERENCE:
            if key in rows[0]:
                batch[key] = torch.tensor([float(row[key]) for row in rows])
        return batch


__all__ = ["MPOTrainer", "PairCollator", "reference_log_probs"]
