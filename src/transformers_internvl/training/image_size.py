# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""The end of InternVL-C's training: larger images, and whole ones (arXiv:2312.14238, section 3.3: 196 to 224 pixels).

    Trainer(model, ...).train()                    # 196 pixels, half of the patches
    show_whole_images(model, 224)
    Trainer(model, ...).train()                    # the rest; the processor gives 224 pixels now

A loop of one's own goes on with its optimizer: `show_whole_images(model, 224, optimizer)`.
"""

from typing import Any

import torch


def show_whole_images(model: Any, image_size: int, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Fit the tower's position table to larger images for good, and end the patch masking.

    Args:
        model: [`InternVLDualEncoderModel`] or its vision half, not yet wrapped for several ranks.
        image_size: side of the images in pixels from now on; the processor must give that size.
        optimizer: one that trains the model and goes on. The table is a new parameter: it takes the old one's place
            in its group, and its moments begin anew. All others keep theirs.

    Raises:
        ValueError: a size that no whole number of patches fits, a model without a tower, or an optimizer that does
            not hold the table although it trains.
    """
    embeddings = getattr(getattr(model, "vision_model", None), "embeddings", None)
    before = getattr(embeddings, "position_embeddings", None)
    holds = [group for group in optimizer.param_groups if _place(group, before) is not None] if optimizer else []
    if optimizer is not None and before is not None and before.requires_grad and not holds:
        raise ValueError(
            "The optimizer does not hold the model's position table: give the one that trains this very model."
        )
    model.set_image_size(image_size)
    model.vision_model.config.patch_dropout = 0.0
    for group in holds:
        group["params"][_place(group, before)] = model.vision_model.embeddings.position_embeddings
    if optimizer is not None:
        optimizer.state.pop(before, None)


def _place(group: dict[str, Any], parameter: Any) -> int | None:
    """Where a parameter stands in a group."""
    return next((place for place, other in enumerate(group["params"]) if other is parameter), None)


__all__ = ["show_whole_images"]
