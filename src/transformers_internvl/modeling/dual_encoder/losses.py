# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Image against text: the contrastive loss over all ranks, and the captions that are hard to distinguish.

Shape letters: B pairs of this rank, R ranks, E width of the shared space.

Source: arXiv:2312.14238, section 3.3; `internvl_stage2/modeling_internvl.py` of the original repository.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..losses import IGNORE_INDEX


def contrastive_loss(
    image_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    label_smoothing: float = 0.0,
    ignore: torch.Tensor | None = None,
    copies: int = 1,
) -> torch.Tensor:
    """Which text belongs to which image, and the other way round, among the pairs of all ranks.

    In a process group every rank gets the loss of its own pairs against the pairs of all ranks. The gradients go back
    to the rank a vector came from, so that averaging them over the ranks, as DDP and FSDP do, gives those of one
    process that holds all pairs.

    Args:
        image_embeds, text_embeds: `(B, E)`, normalized; row `i` of one belongs to row `i` of the other.
        logit_scale: the factor on the cosines (not its logarithm).
        label_smoothing: how much of the target is spread over all pairs.
        ignore: `(B,)`, True where a pair is no question of its own (an empty caption). It still is an answer to choose
            from.
        copies: how many ranks in a row hold the same pairs, as those of tensor parallelism do. They count once.

    Returns:
        The mean of both directions, float32; zero when every pair is ignored.

    Raises:
        ValueError: images and texts that do not pair up, or ranks with different numbers of pairs.
    """
    if image_embeds.shape != text_embeds.shape:
        raise ValueError(
            "The contrastive loss needs one text per image: got embeddings of shapes "
            f"{tuple(image_embeds.shape)} and {tuple(text_embeds.shape)}."
        )
    pairs = len(image_embeds)
    all_images = gather_with_gradient(image_embeds, copies)  # (R*B, E)
    all_texts = gather_with_gradient(text_embeds, copies)  # (R*B, E)
    scale = logit_scale.to(image_embeds.device)
    per_image = (scale * image_embeds @ all_texts.T).float()  # (B, R*B)
    per_text = (scale * text_embeds @ all_images.T).float()  # (B, R*B)
    first = dist.get_rank() // copies * pairs if _is_distributed() else 0
    targets = torch.arange(first, first + pairs, device=image_embeds.device)
    if ignore is not None:
        targets = targets.masked_fill(ignore, IGNORE_INDEX)
    return (
        mean_cross_entropy(per_image, targets, label_smoothing)
        + mean_cross_entropy(per_text, targets, label_smoothing)
    ) / 2


def mean_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy over the rows whose target is not -100; zero, with a gradient path, when there are none."""
    total = nn.functional.cross_entropy(
        logits, targets, ignore_index=IGNORE_INDEX, label_smoothing=label_smoothing, reduction="sum"
    )
    return total / (targets != IGNORE_INDEX).sum().clamp(min=1)


def gather_with_gradient(embeds: torch.Tensor, copies: int = 1) -> torch.Tensor:
    """The rows of all ranks, `(B, E)` to `(R*B, E)`; the tensor itself outside a process group.

    Args:
        embeds: rows of this rank.
        copies: how many ranks in a row hold the same rows, which are taken once.

    Raises:
        ValueError: on every rank, if the ranks hold different numbers of rows.
    """
    if not _is_distributed():
        return embeds
    counts = [torch.zeros(1, dtype=torch.long, device=embeds.device) for _ in range(dist.get_world_size())]
    dist.all_gather(counts, torch.tensor([len(embeds)], device=embeds.device))
    rows = [int(count) for count in counts]
    if len(set(rows)) > 1:
        raise ValueError(
            f"Every rank must bring the same number of pairs, got {rows}: drop the last, smaller batch "
            "(`dataloader_drop_last=True`)."
        )
    return _Gather.apply(embeds, copies)


class _Gather(torch.autograd.Function):
    """All-gather whose backward sums what every rank wants of a row; copies of a rank want the same."""

    @staticmethod
    def forward(ctx: Any, embeds: torch.Tensor, copies: int) -> torch.Tensor:
        ctx.copies = copies
        parts = [torch.empty_like(embeds) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, embeds.contiguous())
        return torch.cat(parts[::copies])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        different = dist.get_world_size() // ctx.copies
        return gradient.chunk(different)[dist.get_rank() // ctx.copies] / ctx.copies, None


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@torch.no_grad()
def draw_hard_negatives(
    logits_per_image: torch.Tensor, caption_ids: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """For every image the caption of another, the likelier the more it resembles its own (arXiv:2107.07651).

    In a process group every rank draws among its own pairs, from its own random numbers: similarities of other ranks'
    captions are not asked for. So losses of stage 2 on several ranks equal those of one process when negatives are
    given, and in distribution over batches of the ranks' size when they are drawn.

    Args:
        logits_per_image: `(B, B)`, scaled similarities.
        caption_ids: `(B, L)`; a caption with the same ids is not a negative.
        generator: for the draw.

    Returns:
        `(B,)`, the row of the caption that was drawn.

    Raises:
        ValueError: an image without a different caption in the batch.
    """
    same = (caption_ids[:, None] == caption_ids[None]).all(dim=-1)  # (B, B)
    alone = same.all(dim=-1)
    if alone.any():
        raise ValueError(
            f"Row {int(alone.nonzero()[0])} of the batch has no caption but its own to be mismatched with: hard "
            "negatives need at least two different captions in a batch."
        )
    chances = logits_per_image.float().masked_fill(same, -torch.inf).softmax(dim=-1)
    return torch.multinomial(chances, 1, generator=generator).squeeze(-1)


__all__ = ["contrastive_loss", "draw_hard_negatives", "gather_with_gradient", "mean_cross_entropy"]
