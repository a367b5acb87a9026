# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Visual consistency learning (ViCO): how InternVL3.5-Flash learns to answer from compressed tiles, and its router.

The code of this stage is not public. This follows the formulas of arXiv:2508.18265, section 2.3 (ViCO), and is a short
form: full logits, rows that are not packed. What the paper leaves open is an argument here: the percentile, the length
of the window, learning rates.

    flash = add_resolution_router(model, 0.5, 0.5)                   # or a checkpoint of InternVL3.5-Flash
    ConsistencyTrainer(flash, arguments, reference=model, ...).train()
    RouterTrainer(flash, arguments, reference=model, ...).train()

1. Consistency. All tiles of an image are drawn to be compressed or not, with equal chances, and the model learns to
   give the distributions of a frozen reference, which sees whole tiles:

       L = mean over answer tokens of KL(reference(y | whole tiles) || model(y | drawn tiles))

2. Router. What compression costs a sample is the ratio `r = L(compressed) / L(whole)`. A sample whose ratio reaches
   the k-th percentile of those before it is to be kept whole, the others to be compressed; of k = 50 both are equally
   many. The router alone learns it, as two classes, with cross entropy.

Shape letters: B rows, L positions, T tiles, N answer tokens, V vocabulary.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import TrainingArguments

from ...modeling.flash.shortening import IGNORED, at_kept, tokens_per_tile
from ..parameters import freeze, part_of, set_trainable
from .data_trainer import Batch
from .reference import ReferenceTrainer, evaluating
from .trainer import InternVLTrainer, label_count

SMALLEST_LOSS = 1e-6
"""What a loss on whole tiles counts at least: a ratio to nothing would say nothing."""
KEEP, COMPRESS = 1, 0
"""Labels of a tile, and columns of the router."""


def divergences(reference: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """KL divergence of the model's distributions from the reference's: logits `(N, V)` both, to `(N,)` float32."""
    expected = reference.float().log_softmax(-1)
    return (expected.exp() * (expected - logits.float().log_softmax(-1))).sum(-1)


def tiles_of_images(placeholders: torch.Tensor, num_tiles: int) -> list[int]:
    """How many tiles every image has: a run of image tokens is an image.

    Args:
        placeholders: `(B, L)`, True at image tokens.
        num_tiles: T.
    """
    per_tile = tokens_per_tile(placeholders, num_tiles)
    before = torch.nn.functional.pad(placeholders[:, :-1], (1, 0), value=False)
    starts = (placeholders & ~before).cumsum(-1)  # number of the run, within its row
    runs = [torch.bincount(row[mask])[1:] for row, mask in zip(starts, placeholders, strict=True) if mask.any()]
    return [int(length) // per_tile for length in torch.cat(runs)]


def answer_logits(outputs: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the positions that predict a label, in order.

    Args:
        outputs: of a chat model, with logits of all positions.
        labels: `(B, L)`, -100 where nothing is learned.

    Returns:
        `(N, V)`, and the row that each belongs to, `(N,)`.
    """
    if outputs.kept_positions is not None:
        labels = at_kept(labels, outputs.kept_positions, IGNORED)
    places = labels[:, 1:] != IGNORED
    return outputs.logits[:, :-1][places], places.nonzero()[:, 0]


class RatioWindow:
    """The ratios of the samples before, and what a ratio says among them.

    Args:
        percentile: k, above 0 and below 100.
        size: how many ratios are remembered.
    """

    def __init__(self, percentile: float = 50.0, size: int = 1024):
        if not 0 < percentile < 100:
            raise ValueError(f"`percentile` must be above 0 and below 100, got {percentile}.")
        if size < 1:
            raise ValueError(f"`size` must be at least 1, got {size}.")
        self.percentile, self.ratios = percentile, deque(maxlen=size)  # type: ignore[var-annotated]

    def labels(self, ratios: Iterable[float], remember: bool = True) -> list[int]:
        """`KEEP` for ratios that reach the percentile of those before, else `COMPRESS`.

        The first ones are compared among themselves.

        Args:
            ratios: of samples.
            remember: whether they enter the window, as in training.
        """
        ratios = list(ratios)
        known = torch.tensor(list(self.ratios) or ratios, dtype=torch.float64)
        threshold = torch.quantile(known, self.percentile / 100).item() if len(known) else 0.0
        if remember:
            self.ratios.extend(ratios)
        return [KEEP if ratio >= threshold else COMPRESS for ratio in ratios]


class ConsistencyTrainer(ReferenceTrainer, InternVLTrainer):
    """The first stage: the model answers from compressed tiles as the reference does from whole ones.

    What trains is what is marked so, without the router, which this loss does not reach. The loss of a step is
    the mean over the answer tokens of all ranks.

    Args:
        model: with a router (`config.flash_mode`).
        args: training arguments.
        reference: the model that is imitated; None: a frozen copy of `model` as it is now.
        **kwargs: [`InternVLTrainer`]'s.

    Raises:
        ValueError: a model without router; packed data; a loss of the user's own, smoothing, or a feature cache.
    """

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments | None = None,
        *,
        reference: nn.Module | None = None,
        **kwargs: Any,
    ):
        if getattr(getattr(model, "config", None), "flash_mode", None) is None:
            raise ValueError(
                "ViCO trains InternVL3.5-Flash: this model has no router. `add_resolution_router` gives it one."
            )
        if kwargs.get("feature_cache") is not None:
            raise ValueError("ViCO encodes every tile in two ways: leave `feature_cache` out.")
        if any(parameter.requires_grad for name, parameter in model.named_parameters() if part_of(name) == "router"):
            freeze(model, "router")
        super().__init__(model, args, **kwargs)
        if self.has_own_loss():
            raise ValueError("ViCO has a loss of its own: leave `compute_loss_func` and `loss_function` out.")
        reference = self.frozen_copy(model) if reference is None else reference
        self.begin_comparing(reference, "the reference's distributions are what is learned")

    def step_weight(self, batches: list[Batch]) -> torch.Tensor | None:
        """The number of answer tokens."""
        return label_count(batches)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean divergence over the answer tokens of a batch, or its part in that over the step.

        In evaluation it is the mean of those of whole and of compressed tiles, so that nothing is drawn.
        """
        inputs, labels = _without_labels(inputs)
        reference = _divergent_logits(self.reference, inputs, labels)
        choices = [self._drawn(inputs)] if model.training else _both(_tile_count(inputs))
        found = []
        for chosen in choices:
            outputs = model(**inputs, **chosen)
            found.append(divergences(reference, answer_logits(outputs, labels)[0]))
        losses = torch.stack(found).mean(dim=0)  # (N,)
        loss = losses.sum() / max(len(losses), 1) * self.share_of_step(len(losses), num_items_in_batch)
        if not model.training:
            self.note_evaluated(loss, torch.tensor(len(losses), device=loss.device))
        return (loss, outputs) if return_outputs else loss

    def _drawn(self, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Which tiles of a batch are compressed: all of an image, or none."""
        num_tiles = _tile_count(inputs)
        if not num_tiles:
            return {}
        placeholders = inputs["input_ids"] == self.model.config.image_token_id
        tiles = torch.tensor(tiles_of_images(placeholders, num_tiles))
        return {"compressed_tiles": (torch.rand(len(tiles)) < 0.5).repeat_interleave(tiles)}


class RouterTrainer(ConsistencyTrainer):
    """The second stage: the router learns which samples need whole tiles. Nothing else trains.

    Args:
        model: after the first stage.
        args: training arguments.
        reference: the model that the first stage imitated.
        window: of the ratios; checkpoints keep it.
        **kwargs: [`InternVLTrainer`]'s.

    Raises:
        ValueError: no reference; as [`ConsistencyTrainer`].
    """

    STATE_FILE: ClassVar[str] = "router_ratios.json"

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments | None = None,
        *,
        reference: nn.Module | None = None,
        window: RatioWindow | None = None,
        **kwargs: Any,
    ):
        if reference is None:
            raise ValueError(
                "The router learns from what the model differs by from the `reference` of the first stage: give it. "
                "From itself a model differs by nothing."
            )
        super().__init__(model, args, reference=reference, **kwargs)
        set_trainable(model, ["router"])
        self.window = RatioWindow() if window is None else window

    def step_weight(self, batches: list[Batch]) -> torch.Tensor | None:
        """The number of tiles."""
        return torch.tensor(float(max(sum(map(_tile_count, batches)), 1)))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean cross entropy of the router over the tiles of a batch, or its part in that over the step."""
        empty = inputs.get("is_empty", False)
        inputs, labels = _without_labels(inputs)
        num_tiles = _tile_count(inputs)
        if empty:  # only the other ranks have samples
            trained = [parameter.sum() for parameter in model.parameters() if parameter.requires_grad]
            return 0.0 * (model(**inputs).logits.sum() + torch.stack(trained).sum())
        if not num_tiles:
            raise ValueError("A batch has no tiles, from which the router could learn: leave out rows of text alone.")
        tiles = _tiles_of_rows(inputs["input_ids"] == self.model.config.image_token_id, num_tiles)
        none = torch.zeros(num_tiles, dtype=torch.bool)
        outputs = model(**inputs, compressed_tiles=none)  # whole tiles, and the gate
        reference = _divergent_logits(self.reference, inputs, labels)
        with evaluating(model):
            compressed = _divergent_logits(model, {**inputs, "compressed_tiles": ~none}, labels)
            whole = _divergent_logits(model, inputs, labels)
        rows = answer_logits(outputs, labels)[1]
        costs = [_means(divergences(reference, logits), rows, len(tiles)) for logits in (compressed, whole)]
        ratios = costs[0] / costs[1].clamp(min=SMALLEST_LOSS)  # (B,)
        wanted = torch.tensor(self.window.labels(ratios.tolist(), model.training)).repeat_interleave(
            torch.tensor(tiles)
        )
        gate = outputs.image_outputs.gate.float()  # (T, 2): compress, keep
        losses = -gate.gather(1, wanted[:, None].to(gate.device)).clamp(min=1e-12).log()
        loss = losses.mean() * self.share_of_step(num_tiles, num_items_in_batch)
        if not model.training:
            self.note_evaluated(loss, torch.tensor(num_tiles, device=loss.device))
        return (loss, outputs) if return_outputs else loss

    def own_state(self) -> dict[str, Any]:
        """The ratios of the samples before."""
        return {"ratios": list(self.window.ratios)}

    def take_state(self, state: dict[str, Any]) -> None:
        """The window goes on where the checkpoint left it."""
        self.window.ratios.extend(state["ratios"])


def _without_labels(inputs: dict[str, Any]) -> tuple[dict[str, Any], torch.Tensor]:
    """The inputs of the model, and the labels `(B, L)`."""
    if inputs.get("labels") is None or inputs.get("shift_labels") is not None:
        raise ValueError("ViCO needs rows with `labels` that are not packed: collate them with `PaddingCollator`.")
    own = ("labels", "loss_weight", "is_empty", "skip_logits")
    return {name: value for name, value in inputs.items() if name not in own}, inputs["labels"]


@torch.no_grad()
def _divergent_logits(model: nn.Module, inputs: dict[str, Any], labels: torch.Tensor) -> torch.Tensor:
    """Logits `(N, V)` at the answers' tokens."""
    return answer_logits(model(**inputs, use_cache=False), labels)[0]


def _both(num_tiles: int) -> list[dict[str, torch.Tensor]]:
    """Arguments of the model for whole tiles, and for compressed ones; without tiles both are the same."""
    whole = torch.zeros(num_tiles, dtype=torch.bool)
    return [{"compressed_tiles": whole}, {"compressed_tiles": ~whole}] if num_tiles else [{}]


def _tile_count(inputs: dict[str, Any]) -> int:
    pixel_values, flags = inputs.get("pixel_values"), inputs.get("image_flags")
    if pixel_values is None:
        return 0
    return len(pixel_values) if flags is None else int((flags == 1).sum())


def _tiles_of_rows(placeholders: torch.Tensor, num_tiles: int) -> list[int]:
    per_tile = tokens_per_tile(placeholders, num_tiles)
    return [count // per_tile for count in placeholders.sum(-1).tolist()]


def _means(losses: torch.Tensor, rows: torch.Tensor, count: int) -> torch.Tensor:
    """The mean of every row, of losses `(N,)` of the rows `(N,)`: `(count,)`."""
    sums = losses.new_zeros(count).index_add(0, rows, losses)
    return sums / torch.bincount(rows, minlength=count).clamp(min=1)


__all__ = [
    "ConsistencyTrainer",
    "RatioWindow",
    "RouterTrainer",
    "answer_logits",
    "divergences",
    "tiles_of_images",
]
