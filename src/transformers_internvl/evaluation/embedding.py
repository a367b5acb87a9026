# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Images, texts and videos as vectors of the shared space of InternVL-C and InternVL-G, in batches.

Shape letters: N items, E width of the shared space.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from ..processing.images.pixels import error_context
from ..processing.videos.frame_sampling import frame_indices
from ..processing.videos.video_decoding import VideoReader
from ..processing.videos.video_frames import frame_files

FITS = ("crop", "squash")
"""How an image becomes a square: shorter side and centre crop, or resized without keeping its aspect ratio."""


@torch.no_grad()
def embed_images(
    model: Any,
    processor: Any,
    images: Sequence[Any],
    *,
    mode: str = "InternVL-C",
    batch_size: int = 32,
    fit: str = "crop",
) -> torch.Tensor:
    """Vectors of images.

    Args:
        model: [`InternVLDualEncoderModel`], or its vision half for mode InternVL-C.
        processor: [`InternVLDualEncoderProcessor`].
        images: PIL images, arrays, paths or URLs, read one by one: a sequence that opens its images
            on access needs little memory.
        mode: `"InternVL-C"` or `"InternVL-G"`.
        batch_size: images at a time.
        fit: `"crop"`, resized by the shorter side and cropped at the centre, as the original code classifies;
            `"squash"`, resized to the square, as the original code retrieves and captions.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no image, an image that cannot be read, an unknown mode or fit.
    """
    options = fit_options(processor, fit)
    parts = []
    for where, batch in in_batches(images, batch_size, "images"):
        with error_context(where):
            inputs = processor(images=batch, return_tensors="pt", **options)
        parts.append(_image_vectors(model, inputs, mode))
    return torch.cat(parts)


@torch.no_grad()
def embed_texts(
    model: Any, processor: Any, texts: Sequence[str], *, batch_size: int = 32, truncation: bool = False
) -> torch.Tensor:
    """Vectors of texts, which are the same for both modes.

    Args:
        model: [`InternVLDualEncoderModel`] or its text half.
        processor: [`InternVLDualEncoderProcessor`], which adds `summarize:` and the end token.
        texts: in any language.
        batch_size: texts at a time.
        truncation: truncate texts to 80 tokens, as the original code does.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no text, or a text that is too long, without `truncation`.
    """
    parts = []
    for where, batch in in_batches(texts, batch_size, "texts"):
        with error_context(where):
            inputs = processor(text=batch, truncation=truncation, return_tensors="pt").to(model.device)
        features = model.get_text_features(inputs["input_ids"], inputs["attention_mask"], return_dict=True)
        parts.append(_vectors(features))
    return torch.cat(parts)


@torch.no_grad()
def embed_videos(
    model: Any,
    processor: Any,
    videos: Sequence[Any],
    *,
    num_frames: int = 8,
    mode: str = "InternVL-C",
    batch_size: int = 32,
    fit: str = "crop",
) -> torch.Tensor:
    """Vectors of videos: the mean of the normalized vectors of their frames, normalized again (section 4.3).

    Args:
        model, processor, mode, fit: see [`embed_images`].
        videos: paths, URLs or open binary files (read with PyAV), or frames: folders of images, or lists of them in
            any form.
        num_frames: frames of a video, each the middle of an equal part of it: 1 is the centre frame, the paper also
            uses 8. Of a video with fewer frames, all are used.
        batch_size: frames at a time.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no video, one that cannot be read or has no frame, fewer than one frame asked for.
        ImportError: an encoded video, and PyAV is missing.
    """
    options = fit_options(processor, fit)
    parts = []
    for where, (video,) in in_batches(videos, 1, "videos"):
        with error_context(f"{where}, {video}" if isinstance(video, (str, os.PathLike)) else where):
            frames = _middle_frames(video, num_frames)
            inputs = processor(images=frames, return_tensors="pt", **options)
        chunks = inputs["pixel_values"].split(batch_size)
        vectors = [_image_vectors(model, {"pixel_values": chunk}, mode) for chunk in chunks]
        parts.append(torch.cat(vectors).mean(dim=0))
    return torch.nn.functional.normalize(torch.stack(parts), dim=-1)


def fit_options(processor: Any, fit: str) -> dict[str, Any]:
    """The options of the image processor for a fit; see [`embed_images`].

    Raises:
        ValueError: an unknown fit.
    """
    if fit not in FITS:
        raise ValueError(f"`fit` must be one of {', '.join(FITS)}, got {fit!r}.")
    if fit == "crop":
        return {}
    square = processor.image_processor.crop_size
    return {"size": {"height": square["height"], "width": square["width"]}, "do_center_crop": False}


def in_batches(items: Sequence[Any], batch_size: int, what: str) -> Iterator[tuple[str, list[Any]]]:
    """The items in batches, read one batch at a time, with a progress bar if stderr is a terminal
    and there are several batches.

    Args:
        items: anything with a length and an index.
        batch_size: how many at a time.
        what: what they are, in the plural.

    Yields:
        The name of the batch for messages (`images 32 to 63`, counted from 0), and its items.

    Raises:
        ValueError: no items, or a size below 1.
    """
    if not len(items):
        raise ValueError(f"There are no {what}.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    with tqdm(total=len(items), desc=what, leave=False, disable=None if len(items) > batch_size else True) as bar:
        for start in range(0, len(items), batch_size):
            batch = [items[index] for index in range(start, min(start + batch_size, len(items)))]
            last = start + len(batch) - 1
            yield (f"{what} {start} to {last}" if last > start else f"{what} {start}"), batch
            bar.update(len(batch))


def _image_vectors(model: Any, inputs: Any, mode: str) -> torch.Tensor:
    pixel_values = inputs["pixel_values"].to(model.device, model.dtype)
    return _vectors(model.get_image_features(pixel_values, mode=mode, return_dict=True))


def _vectors(features: Any) -> torch.Tensor:
    return torch.nn.functional.normalize(features.pooler_output.float(), dim=-1).cpu()


def _middle_frames(video: Any, num_frames: int) -> list[Any]:
    """The selected frames, in order, each once."""
    if isinstance(video, (str, os.PathLike)) and os.path.isdir(video):
        video = frame_files(video)
    if isinstance(video, (list, tuple)):
        return [video[index] for index in _chosen(len(video), num_frames)]
    with VideoReader(video) as reader:
        return [frame for _, frame in reader.frames(_chosen(reader.metadata.total_num_frames, num_frames))]


def _chosen(total: int, num_frames: int) -> list[int]:
    return sorted(set(frame_indices(total, sampling="middle", num_frames=num_frames)))


__all__ = ["FITS", "embed_images", "embed_texts", "embed_videos", "fit_options", "in_batches"]
