# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Captions of images by InternVL-G, whose QLLaMA writes them (arXiv:2312.14238, section 4.3)."""

from collections.abc import Sequence
from typing import Any

import torch

from ..processing.images.pixels import error_context
from .embedding import fit_options, in_batches


@torch.no_grad()
def caption_images(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    *,
    prompt: str | None = None,
    num_beams: int = 5,
    min_new_tokens: int = 8,
    max_new_tokens: int = 30,
    batch_size: int = 8,
    fit: str = "squash",
) -> list[str]:
    """One caption for each image, without the prompt. The defaults are those of the original evaluation.

    Args:
        model: [`InternVLDualEncoderModel`].
        processor: [`InternVLDualEncoderProcessor`].
        images: see [`embed_images`].
        prompt: the beginning that the caption continues; None is `English caption:`.
        num_beams: beams of the search; 1 is greedy.
        min_new_tokens, max_new_tokens: minimum and maximum number of tokens of a caption.
        batch_size: images at a time.
        fit: see [`embed_images`].

    Raises:
        ValueError: as [`embed_images`], or numbers out of range.
    """
    if not 0 <= min_new_tokens <= max_new_tokens or num_beams < 1:
        raise ValueError(
            "`min_new_tokens` must lie between 0 and `max_new_tokens`, and `num_beams` be at least 1, got "
            f"{min_new_tokens}, {max_new_tokens} and {num_beams}."
        )
    options = fit_options(processor, fit)
    captions: list[str] = []
    for where, batch in in_batches(images, batch_size, "images"):
        with error_context(where):
            inputs = processor(images=batch, text=prompt, task="caption", return_tensors="pt", **options)
        ids = model.generate(
            **inputs.to(model.device, dtype=model.dtype),
            do_sample=False,
            num_beams=num_beams,
            min_new_tokens=min_new_tokens,
            max_new_tokens=max_new_tokens,
        )
        captions += [text.strip() for text in processor.batch_decode(ids, skip_special_tokens=True)]
    return captions


__all__ = ["caption_images"]
