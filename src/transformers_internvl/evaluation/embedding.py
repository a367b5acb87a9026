# Copyright 2026 The transformers_internvl authors. Licensed under the Apache License, Version 2.0.
"""Pictures, texts and videos as vectors of the shared space of InternVL-C and InternVL-G, in batches.

Shape letters: N items, E width of the shared space.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tqdm.auto import tqdm

from ..processing.frame_sampling import frame_indices
from ..processing.pixels import naming
from ..processing.video_decoding import VideoReader

FITS = ("crop", "squash")
"""How a picture becomes a square: shorter side and centre crop, or without regard to its shape."""


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
    """Vectors of pictures.

    Args:
        model: [`InternVLDualEncoderModel`], or its vision half for mode InternVL-C.
        processor: [`InternVLDualEncoderProcessor`].
        images: PIL images, arrays, paths or URLs, one by one as they are needed: a sequence that opens its pictures
            when they are asked for keeps memory small.
        mode: `"InternVL-C"` or `"InternVL-G"`.
        batch_size: pictures at a time.
        fit: `"crop"`, the shorter side scaled and the centre cut out, as the authors classify; `"squash"`, scaled to
            the square without regard to the shape, as they retrieve and caption.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no picture, a picture that cannot be read, an unknown mode or fit.
    """
    options = fit_options(processor, fit)
    batches = in_batches(images, batch_size, "images")
    return torch.cat([_encode(model, processor, batch, mode, options) for batch in batches])


@torch.no_grad()
def embed_texts(model: Any, processor: Any, texts: Sequence[str], *, batch_size: int = 32) -> torch.Tensor:
    """Vectors of texts, which are the same for both modes.

    Args:
        model: [`InternVLDualEncoderModel`] or its text half.
        processor: [`InternVLDualEncoderProcessor`], which adds `summarize:` and the end token.
        texts: in any language.
        batch_size: texts at a time.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no text, or one that is too long.
    """
    parts = []
    for batch in in_batches(texts, batch_size, "texts"):
        inputs = processor(text=batch, return_tensors="pt").to(model.device)
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
        model, processor, mode, fit: as of [`embed_images`].
        videos: paths, URLs or open binary files (read with PyAV), or lists of frames in any form of a picture.
        num_frames: frames of a video, each the middle of an equal part of it: 1 is the centre frame, the paper's other
            choice is 8. A video with fewer frames gives all it has.
        batch_size: frames at a time.

    Returns:
        `(N, E)`, float32, normalized, on the CPU.

    Raises:
        ValueError: no video, one that cannot be read or has no frame, fewer than one frame asked for.
        ImportError: an encoded video, and PyAV is missing.
    """
    options = fit_options(processor, fit)
    parts = []
    for position, (video,) in enumerate(in_batches(videos, 1, "videos")):
        with naming(f"Video {position}"):
            frames = _middle_frames(video, num_frames)
        chunks = [frames[start : start + batch_size] for start in range(0, len(frames), batch_size)]
        vectors = [_encode(model, processor, chunk, mode, options) for chunk in chunks]
        parts.append(torch.cat(vectors).mean(dim=0))
    return torch.nn.functional.normalize(torch.stack(parts), dim=-1)


def fit_options(processor: Any, fit: str) -> dict[str, Any]:
    """What to tell the image processor for a fit; see [`embed_images`].

    Raises:
        ValueError: an unknown fit.
    """
    if fit not in FITS:
        raise ValueError(f"`fit` must be one of {', '.join(FITS)}, got {fit!r}.")
    if fit == "crop":
        return {}
    square = processor.image_processor.crop_size
    return {"size": {"height": square["height"], "width": square["width"]}, "do_center_crop": False}


def in_batches(items: Sequence[Any], batch_size: int, what: str) -> Iterator[list[Any]]:
    """The items, `batch_size` at a time and not before they are needed, with a bar where stderr is a terminal.

    Raises:
        ValueError: no items, or a size below 1.
    """
    if not len(items):
        raise ValueError(f"There are no {what}.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    with tqdm(total=len(items), desc=what, leave=False, disable=None) as bar:
        for start in range(0, len(items), batch_size):
            batch = [items[index] for index in range(start, min(start + batch_size, len(items)))]
            yield batch
            bar.update(len(batch))


def _encode(model: Any, processor: Any, pictures: list[Any], mode: str, options: dict[str, Any]) -> torch.Tensor:
    """Vectors of one batch of pictures."""
    inputs = processor(images=pictures, return_tensors="pt", **options)
    pixel_values = inputs["pixel_values"].to(model.device, model.dtype)
    return _vectors(model.get_image_features(pixel_values, mode=mode, return_dict=True))


def _vectors(features: Any) -> torch.Tensor:
    return torch.nn.functional.normalize(features.pooler_output.float(), dim=-1).cpu()


def _middle_frames(video: Any, num_frames: int) -> list[Any]:
    """The frames to look at, in order, each once."""
    if isinstance(video, (list, tuple)):
        return [video[index] for index in _chosen(len(video), num_frames)]
    with VideoReader(video) as reader:
        return [frame for _, frame in reader.frames(_chosen(reader.metadata.total_num_frames, num_frames))]


def _chosen(total: int, num_frames: int) -> list[int]:
    return sorted(set(frame_indices(total, sampling="middle", num_frames=num_frames)))


__all__ = ["FITS", "embed_images", "embed_texts", "embed_videos", "fit_options", "in_batches"]
